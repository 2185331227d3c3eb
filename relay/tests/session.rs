//! One client's conversation without a socket.

use std::sync::Arc;

use mercato::config::LimitsConfig;
use mercato::nostr::{Event, kind};
use mercato::policy::rate::Rates;
use mercato::session::{Action, Rules, Session};
use secp256k1::Keypair;

const NOW: u64 = 1_800_000_000;

fn session() -> Session {
    let limits = LimitsConfig::default();
    let rules = Rules { rates: Rates::new(&limits), limits, host: None };
    Session::new(Arc::new(rules), [127, 0, 0, 1].into(), "relay.example".to_owned(), "challenge".to_owned())
}

/// The answer to an AUTH by this key, and whether the relay is told to count it.
fn authenticate(session: &mut Session, who: u8) -> (String, bool) {
    let tags = [["relay", "wss://relay.example/"], ["challenge", "challenge"]];
    let tags: Vec<_> = tags.iter().map(|tag| tag.iter().map(|part| (*part).to_owned()).collect()).collect();
    let key = Keypair::from_secret_bytes([who; 32]).expect("a key");
    let event = Event::sign(&key, NOW, kind::AUTH, &tags, "");
    let body = std::str::from_utf8(event.body()).expect("UTF-8");
    let mut actions = Vec::new();
    session.on_text(&format!("[\"AUTH\",{body}]"), NOW, &mut actions);
    let [Action::Send(answer), rest @ ..] = &actions[..] else { panic!("{actions:?}") };
    (answer.clone(), matches!(rest, [Action::Authenticate(pubkey)] if *pubkey == event.pubkey))
}

#[test]
fn a_connection_proves_a_bounded_number_of_keys_and_each_counts_once() {
    let mut session = session();
    for who in 1..=64 {
        let (answer, counted) = authenticate(&mut session, who);
        assert!(answer.contains(",true,") && counted, "{who}: {answer}");
    }
    let (answer, counted) = authenticate(&mut session, 65);
    assert!(answer.contains("false,\"restricted: 64 keys") && !counted, "{answer}");
    let (answer, counted) = authenticate(&mut session, 64);
    assert!(answer.contains(",true,") && !counted, "a key that is known stays welcome: {answer}");
}
