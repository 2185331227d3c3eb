//! NIP-90 events as found on public relays are taken as they are: what becomes of each is a golden table.

mod market_world;

use std::path::{Path, PathBuf};

use market_world::{START_S, World, pubkey, someone, value};
use mercato::config::LimitsConfig;
use mercato::ingest;
use mercato::nostr::{Event, EventId, Filter, kind};

const STRANGER: u8 = 7;
const PROVIDER: u8 = 8;
/// Far behind whatever the market may still wait for.
const LONG_MS: u64 = 30 * 86_400 * 1_000;

/// Real events, when they are at hand.
fn wild_events() -> Option<Vec<Event>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/dvm_events.jsonl");
    let Ok(text) = std::fs::read_to_string(&file) else {
        eprintln!("skipped: {} is not there", file.display());
        return None;
    };
    Some(text.lines().map(|line| Event::parse(line).unwrap()).collect())
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dvm_events.tsv")
}

/// What became of an event after `publish` said this.
fn outcome(world: &World, id: EventId, answer: Result<(), String>) -> String {
    match (answer, world.state(id).0) {
        (Err(text), _) => text,
        (Ok(()), state) if state.is_empty() => "event".to_owned(),
        (Ok(()), state) => state,
    }
}

/// As it is, dated years ago: through the door and the market.
fn published(event: &Event) -> String {
    let mut world = World::new();
    let answer = ingest::check(event, &LimitsConfig::default(), &[], world.now_s()).and_then(|()| world.publish(event));
    outcome(&world, event.id, answer)
}

/// As it is, by `mercato import`.
fn imported(event: &Event) -> String {
    let mut world = World::new();
    let answer = ingest::check_import(event, &LimitsConfig::default(), "");
    if answer.is_ok() {
        world.import(event);
    }
    outcome(&world, event.id, answer)
}

/// The same content and tags, signed just now by a key of ours.
fn renewed(event: &Event) -> Event {
    Event::sign(&someone(STRANGER), START_S, event.kind, &event.tags(), &event.content())
}

/// As a live event where nobody offers its kind, and how it ends.
fn alone(event: &Event) -> (String, String) {
    let mut world = World::new();
    let event = renewed(event);
    let answer =
        ingest::check(&event, &LimitsConfig::default(), &[], world.now_s()).and_then(|()| world.publish(&event));
    let first = outcome(&world, event.id, answer.clone());
    world.wait_ms(LONG_MS);
    (first, outcome(&world, event.id, answer))
}

/// As a live event where somebody offers its kind for nothing.
fn offered(event: &Event) -> String {
    let mut world = World::new();
    world.provider(PROVIDER, &[event.kind]);
    let event = renewed(event);
    let answer = world.publish(&event);
    outcome(&world, event.id, answer)
}

fn row(event: &Event) -> String {
    let (alone, ended) = alone(event);
    [event.id.to_hex(), event.kind.to_string(), published(event), imported(event), alone, ended, offered(event)]
        .join("\t")
}

/// `MERCATO_GOLDEN=write` writes the table anew, to be read through before it is committed.
#[test]
fn what_becomes_of_every_real_event_is_as_the_table_says() {
    let Some(events) = wild_events() else { return };
    let head = ["event", "kind", "published as it is", "imported", "asked now", "in the end", "with a provider there"];
    let rows = events.iter().map(row);
    let table: String = [head.join("\t")].into_iter().chain(rows).map(|row| row + "\n").collect();
    if std::env::var_os("MERCATO_GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(golden(), &table).unwrap();
    }
    let expected = std::fs::read_to_string(golden()).unwrap();
    for (row, expected) in table.lines().zip(expected.lines()) {
        assert_eq!(row, expected);
    }
    assert_eq!(table.lines().count(), expected.lines().count());
    let requests = events.iter().filter(|event| kind::is_job_request(event.kind)).count();
    assert_eq!((events.len(), requests), (118, 50));
}

#[test]
fn every_real_request_is_delivered_when_its_customer_and_a_provider_are_there() {
    let Some(events) = wild_events() else { return };
    for event in events.iter().filter(|event| kind::is_job_request(event.kind)) {
        let mut world = World::new();
        world.provider(PROVIDER, &[event.kind]);
        let mut tags = event.tags();
        // Who is named there is not here, and neither are the jobs that it builds upon.
        tags.retain(|tag| {
            !matches!(tag.first().map(String::as_str), Some("p")) && tag.get(2).is_none_or(|kind| kind != "job")
        });
        let job = Event::sign(&someone(STRANGER), START_S, event.kind, &tags, &event.content());
        world.publish(&job).unwrap();
        assert_eq!(world.state(job.id), ("leased".to_owned(), Some(pubkey(PROVIDER))), "{event:?}");
        let lease = world.told("assigned").unwrap();
        assert_eq!(value(lease, "request").as_deref(), std::str::from_utf8(job.body()).ok());
        world.say(PROVIDER, event.kind + 1_000, tags!["e", job.id]).unwrap();
        assert_eq!(world.state(job.id).0, "succeeded", "{event:?}");
    }
}

/// A market that has seen all of it goes on as after a restart.
#[test]
fn a_market_full_of_real_events_is_restored_as_it_was() {
    let Some(events) = wild_events() else { return };
    let mut world = World::new();
    for event in &events {
        let event = renewed(event);
        assert_eq!(world.publish(&event), Ok(()), "{event:?}");
    }
    let before = world.market.scheduler().state().clone();
    let states = world.find(Filter { kinds: Some(vec![30383]), ..Filter::default() }).len();
    assert_eq!(states, 50);
    world.restart();
    assert_eq!(world.market.scheduler().state().jobs(), before.jobs());
}

#[test]
fn requests_are_taken_however_clients_write_the_tags_of_nip_90() {
    let named = pubkey(PROVIDER).to_hex();
    let oddities: &[&[&str]] = &[
        &["bid"],
        &["bid", ""],
        &["bid", "", "max"],
        &["bid", "1000.5"],
        &["bid", "100_000", "200000"],
        &["p"],
        &["p", ""],
        &["p", &named, "wss://relay.example.com"],
        &["p", &named.to_uppercase()],
        &["p", &named, &named],
        &["param"],
        &["param", ""],
        &["param", "a", "b", "c", "d"],
        &["i"],
        &["i", "", "", "", ""],
        &["i", "text", "no such type"],
        &["output", ""],
        &["relays"],
        &["relays", "not a url"],
        &["encrypted", "nip44"],
        &["t", ""],
        &["wss://relay.damus.io", "wss://other"],
        &[""],
    ];
    for tag in oddities {
        let mut world = World::new();
        world.provider(PROVIDER, &[5050]);
        let tag = tag.iter().map(|text| (*text).to_owned()).collect();
        let job = world.say(STRANGER, 5050, vec![tag]).unwrap_or_else(|text| panic!("{text}"));
        assert_eq!(world.state(job), ("leased".to_owned(), Some(pubkey(PROVIDER))), "{job:?}");
    }
}

#[test]
fn words_that_only_some_providers_use_keep_a_lease_alive() {
    for status in [tags!["status", "chain-scheduled"], tags!["status", ""], Vec::new()] {
        let mut world = World::new();
        world.provider(PROVIDER, &[5050]);
        let job = world.say(STRANGER, 5050, Vec::new()).unwrap();
        world.say(PROVIDER, 7000, [status.clone(), tags!["e", job]].concat()).unwrap();
        assert_eq!(world.state(job).0, "running", "{status:?}");
    }
}
