//! NIP-90 events as found on public relays are taken as they are.

mod market_world;

use std::path::Path;

use market_world::World;
use mercato::nostr::{Event, kind};

/// Real events, when they are at hand.
fn wild_events() -> Option<Vec<Event>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/dvm_events.jsonl");
    let Ok(text) = std::fs::read_to_string(&file) else {
        eprintln!("skipped: {} is not there", file.display());
        return None;
    };
    Some(text.lines().map(|line| Event::parse(line).unwrap()).collect())
}

#[test]
fn every_real_request_becomes_a_job_when_it_is_new() {
    let Some(events) = wild_events() else { return };
    let requests: Vec<_> = events.iter().filter(|event| kind::is_job_request(event.kind)).collect();
    assert_eq!(requests.len(), 50);
    for event in requests {
        let mut world = World::at(event.created_at, |_| ());
        let answer = world.publish(event);
        assert_eq!(answer, Ok(()), "{event:?}");
        assert_eq!(world.state(event.id).0, "queued", "{event:?}");
    }
}

#[test]
fn real_feedback_results_and_old_requests_are_ordinary_events() {
    let Some(events) = wild_events() else { return };
    let mut world = World::new();
    let mut counts = [0; 3];
    for event in &events {
        assert_eq!(world.publish(event), Ok(()), "{event:?}");
        assert!(world.events.is_empty(), "{event:?}");
        match event.kind {
            kind::JOB_FEEDBACK => counts[0] += 1,
            result if kind::is_job_result(result) => counts[1] += 1,
            _ => counts[2] += 1,
        }
    }
    assert_eq!(counts, [28, 40, 50]);
}
