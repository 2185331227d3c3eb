//! `mercato sync` between two relays, with and without a relay on its own store.

use std::collections::BTreeSet;

use mercato_tests::claim;
use mercato_tests::client::Client;
use mercato_tests::data::to_jsonl;
use mercato_tests::event::{Draft, Event, now_s};
use mercato_tests::link::{Peer, Socket, hear, say};
use mercato_tests::relay::{Relay, binary, run_verb};
use nostr::Keys;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A store of one's own with these events, and no relay.
struct Shelf(TempDir);

impl Shelf {
    fn new(events: &[Event]) -> anyhow::Result<Self> {
        let shelf = Self(tempfile::tempdir()?);
        shelf.run(&["import"], &to_jsonl(events))?;
        Ok(shelf)
    }

    fn run(&self, verb: &[&str], input: &[u8]) -> anyhow::Result<String> {
        let set = format!("store.path={}", self.0.path().display());
        run_verb(&[&["--set", &set], verb].concat(), input)
    }

    /// What the verb says when it fails, as it must.
    fn fails(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let set = format!("store.path={}", self.0.path().display());
        let output = std::process::Command::new(binary()?).args(["--set", &set, "sync"]).args(arguments).output()?;
        anyhow::ensure!(!output.status.success(), "{arguments:?}");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn ids(&self) -> anyhow::Result<BTreeSet<String>> {
        ids(&self.run(&["export"], b"")?)
    }
}

fn ids(jsonl: &str) -> anyhow::Result<BTreeSet<String>> {
    jsonl.lines().map(|line| Ok(Event::from_json(&serde_json::from_str(line)?)?.id)).collect()
}

fn stored(relay: &Relay) -> anyhow::Result<BTreeSet<String>> {
    let set = format!("store.path={}", Relay::store_in(relay.folder()).display());
    ids(&run_verb(&["--set", &set, "export"], b"")?)
}

/// `ago` seconds apart, so that ranges can be told from each other.
fn notes(count: u64, ago: u64) -> Vec<Event> {
    let keys = Keys::generate();
    (0..count).map(|n| Draft::note(n.to_string()).at(now_s() - n * ago).sign(&keys)).collect()
}

fn of(events: &[&[Event]]) -> BTreeSet<String> {
    events.iter().flat_map(|events| events.iter()).map(|event| event.id.clone()).collect()
}

async fn relay_with(events: &[&[Event]]) -> anyhow::Result<Relay> {
    let relay = Relay::start(Relay::settings())?;
    let mut client = Client::connect(&relay).await?;
    for event in events.iter().flat_map(|events| events.iter()) {
        client.store(event).await?;
    }
    Ok(relay)
}

#[tokio::test]
async fn each_side_gets_what_it_lacks_in_the_direction_asked_for() -> anyhow::Result<()> {
    let (common, ours, theirs) = (notes(50, 7), notes(130, 3), notes(240, 5));
    let relay = relay_with(&[&common, &theirs]).await?;
    let shelf = Shelf::new(&[&common[..], &ours].concat())?;
    let missing = shelf.run(&["sync", &relay.url(), "--print-missing"], b"")?;
    let told = |side: &str| -> BTreeSet<String> {
        missing.lines().filter_map(|line| line.strip_prefix(side)).map(str::to_owned).collect()
    };
    assert_eq!((told("have,"), told("need,")), (of(&[&ours]), of(&[&theirs])));
    let said = shelf.run(&["sync", &relay.url(), "--dir=none"], b"")?;
    assert!(said.starts_with("have 130, need 240; down: 0 stored"), "{said}");
    assert_eq!(shelf.ids()?, of(&[&common, &ours]));
    shelf.run(&["sync", &relay.url(), "--dir=down"], b"")?;
    assert_eq!(shelf.ids()?, of(&[&common, &ours, &theirs]));
    assert_eq!(stored(&relay)?, of(&[&common, &theirs]));
    let said = shelf.run(&["sync", &relay.url(), "--dir=up"], b"")?;
    assert!(said.contains("up: 130 taken, 0 refused"), "{said}");
    assert_eq!(stored(&relay)?, of(&[&common, &ours, &theirs]));
    let said = shelf.run(&["sync", &relay.url()], b"")?;
    assert!(said.starts_with("have 0, need 0;"), "{said}");
    Ok(())
}

#[tokio::test]
async fn two_running_relays_are_brought_together_and_the_trees_agree() -> anyhow::Result<()> {
    let (ours, theirs) = (notes(60, 3), notes(60, 5));
    let (own, other) = (relay_with(&[&ours]).await?, relay_with(&[&theirs]).await?);
    let set = |relay: &Relay| format!("store.path={}", Relay::store_in(relay.folder()).display());
    run_verb(&["--set", &set(&own), "sync", &other.url()], b"")?;
    assert_eq!((stored(&own)?, stored(&other)?), (of(&[&ours, &theirs]), of(&[&ours, &theirs])));
    let trees = |relay: &Relay| run_verb(&["--set", &set(relay), "negentropy", "list"], b"");
    let listed = trees(&own)?;
    assert!(listed.contains("state: ready") && listed.contains("events: 120"), "{listed}");
    assert_eq!(listed, trees(&other)?);
    run_verb(&["--set", &set(&own), "negentropy", "add", r#"{"kinds":[1]}"#], b"")?;
    run_verb(&["--set", &set(&own), "negentropy", "build", "{}"], b"")?;
    assert!(trees(&own)?.contains(r#"filter: {"kinds":[1]}"#));
    assert!(run_verb(&["--set", &set(&own), "negentropy", "add", "{}"], b"").is_err(), "it is kept already");
    Ok(())
}

#[tokio::test]
async fn a_filter_and_a_range_bound_what_is_handed_over() -> anyhow::Result<()> {
    let theirs = notes(40, 600);
    let profile = Draft::new(0).sign(&Keys::generate());
    let relay = relay_with(&[&theirs, std::slice::from_ref(&profile)]).await?;
    let shelf = Shelf::new(&[])?;
    shelf.run(&["sync", &relay.url(), "--filter", r#"{"kinds":[0]}"#], b"")?;
    assert_eq!(shelf.ids()?, BTreeSet::from([profile.id.clone()]));
    // Half a minute on either side of each bound is left to a busy machine.
    shelf.run(&["sync", &relay.url(), "--range", "105m-45m", "--filter", r#"{"kinds":[1]}"#], b"")?;
    assert_eq!(shelf.ids()?, of(&[&theirs[5..11], std::slice::from_ref(&profile)]));
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_synced_fails_with_a_reason() -> anyhow::Result<()> {
    let relay = Relay::settings().set("limits.max_sync_events", 5).set("negentropy.filters", "[]").start()?;
    let mut client = Client::connect(&relay).await?;
    for event in notes(10, 1) {
        client.store(&event).await?;
    }
    let shelf = Shelf::new(&[])?;
    let fails = |arguments: &[&str]| shelf.fails(arguments).expect("it fails");
    assert!(fails(&[&relay.url()]).contains("blocked: too many query results"));
    assert!(fails(&["ws://127.0.0.1:1"]).contains("connecting"));
    assert!(fails(&[&relay.url(), "--range", "1d-2d"]).contains("older end"));
    assert!(fails(&[&relay.url(), "--print-missing", "--dir=up"]).contains("leave out --dir"));
    Ok(())
}

#[tokio::test]
async fn what_the_other_side_refuses_is_counted_and_the_rest_goes_up() -> anyhow::Result<()> {
    let good = notes(5, 1);
    let late = Draft::note("from a far future").at(now_s() + 100_000).sign(&Keys::generate());
    let relay = Relay::start(Relay::settings())?;
    let shelf = Shelf::new(&[&good[..], std::slice::from_ref(&late)].concat())?;
    let said = shelf.run(&["sync", &relay.url(), "--dir=up"], b"")?;
    assert!(said.starts_with("have 6, need 0;") && said.contains("up: 5 taken, 1 refused"), "{said}");
    assert_eq!(stored(&relay)?, of(&[&good]));
    Ok(())
}

#[tokio::test]
async fn a_relay_that_wants_to_know_who_asks_is_told_with_the_key_of_links() -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let (ours, theirs) = (notes(3, 1), notes(3, 2));
    let folder = tempfile::tempdir()?;
    let key = folder.path().join("link.key");
    std::fs::write(&key, Keys::generate().secret_key().to_secret_hex())?;
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600))?;
    let key = format!("router.key_file={}", key.display());
    for greet in [true, false] {
        let settings = Relay::settings().set("access.auth_to_read", true).set("access.auth_to_write", true);
        let relay = settings.set("access.greet", greet).start()?;
        let set = format!("store.path={}", Relay::store_in(relay.folder()).display());
        run_verb(&["--set", &set, "import"], &to_jsonl(&theirs))?;
        let shelf = Shelf::new(&ours)?;
        assert!(shelf.fails(&[&relay.url()])?.contains("auth-required:"), "greet = {greet}");
        shelf.run(&["--set", &key, "sync", &relay.url()], b"")?;
        assert_eq!((shelf.ids()?, stored(&relay)?), (of(&[&ours, &theirs]), of(&[&ours, &theirs])), "greet = {greet}");
    }
    Ok(())
}

/// A relay that says to each message what `answers` says.
async fn played(answers: impl Fn(&Value) -> Vec<Value> + Clone + Send + Sync + 'static) -> anyhow::Result<Peer> {
    Peer::new(move |mut socket: Socket| {
        let answers = answers.clone();
        async move {
            loop {
                let message = hear(&mut socket).await?;
                for answer in answers(&message) {
                    say(&mut socket, answer).await?;
                }
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_does_not_sync_or_lies_is_left_with_a_reason() -> anyhow::Result<()> {
    let shelf = Shelf::new(&notes(3, 1))?;
    for (answer, reason) in [
        (json!(["NOTICE", "could not parse command"]), "seems not to support negentropy"),
        (json!(["NEG-ERR", "N", "blocked: this relay does not sync"]), "this relay does not sync"),
        (json!(["CLOSED", "N", "error: what is this"]), "what is this"),
        (json!(["NEG-MSG", "N", "zz"]), "no negentropy version"),
        (json!(["NEG-MSG", "N", "62"]), "version 1"),
        (json!(["EOSE", "N"]), "did nothing for 1 s"),
    ] {
        let peer = played(move |message| if message[0] == "NEG-OPEN" { vec![answer.clone()] } else { Vec::new() });
        let said = shelf.fails(&[&peer.await?.url(), "--timeout=1"])?;
        assert!(said.contains(reason), "{reason}: {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_never_handed_over_are_not_waited_for() -> anyhow::Result<()> {
    let unasked = notes(1, 1).remove(0);
    let peer = played(move |message| match message[0].as_str() {
        Some("NEG-OPEN") => vec![json!(["NEG-MSG", "N", claim::ids((0..250).map(|n: u8| [n; 32]))])],
        Some("REQ") => vec![json!(["EVENT", message[1], unasked.to_json()]), json!(["EOSE", message[1]])],
        _ => Vec::new(),
    })
    .await?;
    let shelf = Shelf::new(&[])?;
    let said = shelf.run(&["sync", &peer.url()], b"")?;
    assert!(said.starts_with("have 0, need 250; down: 0 stored"), "{said}");
    assert_eq!(shelf.ids()?, BTreeSet::new());
    Ok(())
}
