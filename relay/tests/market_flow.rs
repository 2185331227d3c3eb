//! How jobs flow: chains of them, and auctions; one test for each claim of docs/market.md.

#[macro_use]
mod market_world;

use market_world::{START_S, World, pubkey, tag, value};
use mercato::nostr::{Event, EventId};

const CUSTOMER: u8 = 1;
const ALICE: u8 = 2;
const BOB: u8 = 3;

fn ask(world: &mut World, tags: Vec<Vec<String>>) -> Result<EventId, String> {
    world.say(CUSTOMER, 5050, tags)
}

fn deliver(world: &mut World, who: u8, job: EventId) -> EventId {
    world.say(who, 6050, tags!["e", job]).unwrap()
}

fn provided() -> World {
    let mut world = World::new();
    world.say(ALICE, 31990, tags!["k", 5050; "slots", 9]).unwrap();
    world.connect(ALICE);
    world
}

#[test]
fn a_job_waits_for_another_and_its_lease_hands_on_the_result() {
    let mut world = provided();
    let first = ask(&mut world, tags!["i", "text", "text"]).unwrap();
    let second = ask(&mut world, tags!["i", first, "job", "wss://elsewhere", "draft"]).unwrap();
    assert_eq!(world.state(second).0, "blocked");
    assert_eq!(tag(&world.stored_state(second).unwrap(), "input"), Some(vec!["input".into(), first.to_hex()]));
    let result = deliver(&mut world, ALICE, first);
    let lease = world.events.iter().rfind(|event| value(event, "status").as_deref() == Some("assigned")).unwrap();
    assert_eq!(value(lease, "e"), Some(second.to_hex()));
    let expected = Some(vec!["input".to_owned(), first.to_hex(), result.to_hex()]);
    assert_eq!(tag(lease, "input"), expected);
    assert_eq!(tag(&world.stored_state(second).unwrap(), "input"), expected);
    assert_eq!(world.state(second), ("leased".to_owned(), Some(pubkey(ALICE))));
}

#[test]
fn a_job_whose_input_fails_fails_and_says_so() {
    let mut world = provided();
    let first = ask(&mut world, tags!["attempts", 1]).unwrap();
    let second = ask(&mut world, tags!["i", first, "job"]).unwrap();
    world.feedback(ALICE, first, "error").unwrap();
    let end = world.events.iter().find(|event| tag(event, "upstream-failed").is_some()).unwrap();
    assert_eq!((value(end, "e"), value(end, "end")), (Some(second.to_hex()), Some("failed".to_owned())));
    assert_eq!(value(end, "upstream-failed"), Some(first.to_hex()));
    assert!(end.content().contains(&first.to_hex()), "{}", end.content());
    let refused = ask(&mut world, tags!["i", first, "job"; "t", "again"]).unwrap_err();
    assert!(refused.starts_with("blocked: a job that this one waits for"), "{refused}");
}

#[test]
fn the_signed_state_remembers_inputs_that_the_scheduler_has_forgotten() {
    let mut world = provided();
    let first = ask(&mut world, vec![]).unwrap();
    let lost = ask(&mut world, tags!["t", "lost"]).unwrap();
    let result = deliver(&mut world, ALICE, first);
    world.say(CUSTOMER, 5, tags!["e", lost]).unwrap();
    world.wait_ms(2 * 3_600 * 1_000);
    assert!(world.view(first).is_none(), "it is still known");
    let deadline = world.now_s() + 1_000;
    let second = ask(&mut world, tags!["i", first, "job"; "deadline", deadline]).unwrap();
    let expected = Some(vec!["input".to_owned(), first.to_hex(), result.to_hex()]);
    assert_eq!(tag(world.told("assigned").unwrap(), "input"), expected, "{second}");
    let refused = ask(&mut world, tags!["i", lost, "job"; "deadline", deadline]).unwrap_err();
    assert!(refused.starts_with("blocked: the job") && refused.ends_with("it is cancelled"), "{refused}");
}

#[test]
fn a_request_that_is_no_job_here_hands_on_its_first_stored_result() {
    let mut world = provided();
    let elsewhere = ask(&mut world, tags!["scheduler", pubkey(BOB)]).unwrap();
    let refused = ask(&mut world, tags!["i", elsewhere, "job"]).unwrap_err();
    assert!(refused.ends_with("it is not scheduled here and has no result"), "{refused}");
    let result = deliver(&mut world, BOB, elsewhere);
    ask(&mut world, tags!["i", elsewhere, "job"; "t", "again"]).unwrap();
    let expected = Some(vec!["input".to_owned(), elsewhere.to_hex(), result.to_hex()]);
    assert_eq!(tag(world.told("assigned").unwrap(), "input"), expected);
}

#[test]
fn inputs_of_another_sort_and_of_open_jobs_are_for_the_provider() {
    let mut world = provided();
    let unknown = "ab".repeat(32);
    let open = ask(&mut world, tags!["i", unknown, "job"; "dispatch", "open"]).unwrap();
    let event = ask(&mut world, tags!["i", unknown, "event"]).unwrap();
    assert_eq!((world.state(open).0, world.state(event).0), ("open".to_owned(), "leased".to_owned()));
    let blocked = ask(&mut world, tags!["i", unknown, "job"]).unwrap();
    assert_eq!(world.state(blocked).0, "blocked");
    for id in ["", "abc"] {
        let refused = ask(&mut world, tags!["i", id, "job"]).unwrap_err();
        assert!(refused.starts_with("invalid: i:"), "{refused}");
    }
    let many: Vec<Vec<String>> =
        (10..27).map(|n| vec!["i".to_owned(), format!("{n}").repeat(32), "job".to_owned()]).collect();
    assert_eq!(ask(&mut world, many).unwrap_err(), "invalid: a job has at most 16 other jobs as inputs");
}

#[test]
fn a_chain_survives_a_restart() {
    let mut world = provided();
    let first = ask(&mut world, vec![]).unwrap();
    let second = ask(&mut world, tags!["i", first, "job"]).unwrap();
    world.restart();
    world.connect(ALICE);
    assert_eq!(world.state(second).0, "blocked");
    deliver(&mut world, ALICE, first);
    assert_eq!(world.state(second).0, "leased");
}

#[test]
fn a_blocked_job_ends_by_its_deadline() {
    let mut world = provided();
    let tags = tags!["i", "cd".repeat(32), "job"; "deadline", START_S + 5];
    let request: Event = world.sign(CUSTOMER, 5050, tags);
    world.publish(&request).unwrap();
    world.wait_ms(5_000);
    assert_eq!(world.state(request.id).0, "expired");
}
