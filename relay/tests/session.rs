//! One client's conversation without a socket.

use std::sync::Arc;

use mercato::access::Access;
use mercato::config::{AccessConfig, Config, LimitsConfig};
use mercato::nostr::{Event, Verifier, kind};
use mercato::policy::rate::Rates;
use mercato::session::{Action, Rules, Session};
use mercato::store::Store;
use mercato::store::memory::MemoryStore;
use secp256k1::Keypair;

const NOW: u64 = 1_800_000_000;

fn session() -> Session {
    session_with(LimitsConfig::default(), None)
}

fn session_with(limits: LimitsConfig, store: Option<Arc<dyn Store>>) -> Session {
    let verifier = Verifier::default();
    let access = Arc::new(Access::open(&Config::default()).expect("no lists"));
    let (auth, rates) = (AccessConfig::default(), Rates::new(&limits));
    let rules = Rules { limits, auth, rates, access, url: String::new(), searches: false, verifier, store };
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

/// What the session says to an EVENT with the signature changed when `spoilt`; `None`: it is to be published.
fn offer(session: &mut Session, event: &Event, spoilt: bool) -> Option<String> {
    let mut body = std::str::from_utf8(event.body()).expect("UTF-8").to_owned();
    if spoilt {
        let signature = const_hex::encode(event.signature);
        let other = if signature.starts_with('0') { "1" } else { "0" };
        body = body.replace(&signature, &format!("{other}{}", &signature[1..]));
    }
    let mut actions = Vec::new();
    session.on_text(&format!("[\"EVENT\",{body}]"), NOW, &mut actions);
    match &actions[..] {
        [Action::Send(answer)] => Some(answer.clone()),
        [Action::Publish(_)] => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_stored_is_a_duplicate_and_a_bad_signature_is_never_new() {
    let store = Arc::new(MemoryStore::default());
    let mut session = session_with(LimitsConfig::default(), Some(store.clone()));
    let key = Keypair::from_secret_bytes([1; 32]).expect("a key");
    let event = Event::sign(&key, NOW, 1, &[], "hello");
    let said = offer(&mut session, &event, true);
    assert!(said.is_some_and(|said| said.contains("false,\"invalid: bad signature")));
    assert_eq!(offer(&mut session, &event, false), None, "a forgery does not keep the event out");
    let said = offer(&mut session, &event, true);
    assert!(said.is_some_and(|said| said.contains("false,\"invalid: bad signature")), "known, and still not stored");
    let mut txn = store.begin().expect("a transaction");
    txn.insert(&event).expect("stored");
    txn.commit().expect("committed");
    let said = offer(&mut session, &event, false);
    assert!(said.is_some_and(|said| said.contains("true,\"duplicate: ")));
}

#[test]
fn a_flood_of_bad_signatures_is_cut_off_at_the_door() {
    let limits = LimitsConfig { exempt: Vec::new(), invalid_burst_ip: 3, ..LimitsConfig::default() };
    let mut session = session_with(limits, None);
    let key = Keypair::from_secret_bytes([1; 32]).expect("a key");
    let events: Vec<Event> = (0..5).map(|nth| Event::sign(&key, NOW, 1, &[], &nth.to_string())).collect();
    for event in &events[..4] {
        let said = offer(&mut session, event, true);
        assert!(said.is_some_and(|said| said.contains("invalid: bad signature")));
    }
    let said = offer(&mut session, &events[4], false);
    assert!(said.is_some_and(|said| said.contains("false,\"rate-limited: too many bad signatures")));
}
