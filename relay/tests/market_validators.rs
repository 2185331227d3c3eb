//! Results that wait for validators, from the request's tag to what is told.

mod market_world;

use market_world::{World, pubkey, someone, tag, value};
use mercato::nostr::{Event, EventId, Filter};

const CUSTOMER: u8 = 1;
const ALICE: u8 = 2;
const BOB: u8 = 3;
const CAROL: u8 = 4;
const VERA: u8 = 5;
const VITO: u8 = 6;
const STRANGER: u8 = 7;

fn ask(world: &mut World, tags: Vec<Vec<String>>) -> EventId {
    world.say(CUSTOMER, 5050, tags).unwrap()
}

fn deliver(world: &mut World, who: u8, job: EventId, kind: u16, content: &str) -> Result<EventId, String> {
    let result = Event::sign(&someone(who), world.now_s(), kind, &tags!["e", job], content);
    world.publish(&result).map(|()| result.id)
}

/// Alice works, Bob waits to, Vera and Vito validate.
fn market() -> World {
    let mut world = World::new();
    world.provider(ALICE, &[5050]);
    for who in [VERA, VITO] {
        world.provider(who, &[5702]);
    }
    world
}

/// The order for validators that the job waits for.
fn order(world: &World, job: EventId) -> EventId {
    let by = world.view(job).unwrap().examination.unwrap().by;
    EventId(by.expect("validators are ordered").0)
}

fn stored(world: &World, id: EventId) -> Event {
    world.find(Filter { ids: Some(vec![id]), ..Filter::default() }).remove(0)
}

/// Who holds a lease on the order.
fn validator(world: &World, order: EventId) -> u8 {
    let holder = world.view(order).unwrap().leases[0].provider;
    [VERA, VITO, ALICE, BOB].into_iter().find(|who| pubkey(*who).0 == holder.0).unwrap()
}

#[test]
fn a_result_is_accepted_when_a_validator_lets_it_pass() {
    let mut world = market();
    let job = ask(&mut world, tags!["validate", "validator"; "i", "x", "text"]);
    let result = deliver(&mut world, ALICE, job, 6050, "42").unwrap();
    assert_eq!(world.state(job).0, "validating");
    let by = order(&world, job);
    let request = stored(&world, by);
    assert_eq!((request.kind, request.pubkey), (5702, world.keys.public()));
    let inputs: Vec<_> = request.tags().into_iter().filter(|tag| tag[0] == "i").collect();
    assert_eq!(inputs, tags!["i", result, "event", "", "result"; "i", job, "event", "", "request"]);
    assert_eq!(value(&request, "bid"), Some("0".to_owned()));
    assert_eq!(value(&request, "scheduler"), Some(world.keys.public().to_hex()));
    assert_eq!(tag(&world.stored_state(job).unwrap(), "validation").unwrap()[1], by.to_hex());
    let lease = world.told("assigned").unwrap();
    assert_eq!(value(lease, "e"), Some(by.to_hex()));
    assert_eq!(Event::parse(&value(lease, "request").unwrap()).unwrap().id, by);

    let who = validator(&world, by);
    let refused = deliver(&mut world, who, by, 6702, "looks fine").unwrap_err();
    assert_eq!(refused, "invalid: content: a validator says pass, fail, outlier or copy");
    assert!(deliver(&mut world, STRANGER, by, 6702, "pass").unwrap_err().starts_with("restricted: "));
    deliver(&mut world, who, by, 6702, " pass\n").unwrap();
    assert_eq!(world.state(job).0, "succeeded");
    let end =
        world.events.iter().find(|event| value(event, "e") == Some(job.to_hex()) && value(event, "end").is_some());
    let end = end.unwrap();
    assert_eq!(value(end, "validated"), Some("pass".to_owned()));
    assert_eq!(tag(end, "verdict"), Some(tags!["verdict", result, pubkey(ALICE), "pass", 120].remove(0)));
    assert_eq!(value(&world.stored_state(job).unwrap(), "validated"), Some("pass".to_owned()));
}

#[test]
fn a_result_that_validators_reject_is_told_as_such_and_another_provider_gets_the_job() {
    let mut world = market();
    let job = ask(&mut world, tags!["validate", "validator"]);
    let result = deliver(&mut world, ALICE, job, 6050, "42").unwrap();
    let by = order(&world, job);
    world.provider(BOB, &[5050]);
    let who = validator(&world, by);
    deliver(&mut world, who, by, 6702, "fail").unwrap();
    let label = world.events.iter().find(|event| event.kind == 1985 && value(event, "e") == Some(result.to_hex()));
    assert_eq!(value(label.unwrap(), "l"), Some("fail".to_owned()));
    assert_eq!(world.state(job), ("leased".to_owned(), Some(pubkey(BOB))));
    deliver(&mut world, BOB, job, 6050, "43").unwrap();
    let second = order(&world, job);
    assert_ne!(second, by);
    let who = validator(&world, second);
    deliver(&mut world, who, second, 6702, "pass").unwrap();
    assert_eq!(world.state(job), ("succeeded".to_owned(), Some(pubkey(BOB))));
}

#[test]
fn nobody_validates_in_time_and_the_customer_is_told_so() {
    let mut world = World::new();
    world.provider(ALICE, &[5050]);
    // Who worked does not validate.
    world.say(ALICE, 31990, tags!["d", "more"; "k", 5702]).unwrap();
    let job = ask(&mut world, tags!["validate", "validator"]);
    let result = deliver(&mut world, ALICE, job, 6050, "42").unwrap();
    world.wait_ms(599_000);
    assert_eq!(world.state(job).0, "validating");
    world.wait_ms(1_000);
    assert_eq!(world.state(job).0, "succeeded");
    let state = world.stored_state(job).unwrap();
    assert_eq!(value(&state, "validated"), Some("none".to_owned()));
    assert_eq!(value(&state, "result"), Some(result.to_hex()));
}

#[test]
fn several_validators_decide_by_quorum_for_what_the_customer_offers() {
    let mut world = market();
    world.provider(CAROL, &[5702]);
    let job = ask(&mut world, tags!["validate", "validator", 3, 2, 500]);
    deliver(&mut world, ALICE, job, 6050, "42").unwrap();
    let by = order(&world, job);
    let request = stored(&world, by);
    assert_eq!(tag(&request, "replicas"), Some(tags!["replicas", 3, 2].remove(0)));
    assert_eq!(value(&request, "bid"), Some("500".to_owned()));
    let word = deliver(&mut world, VERA, by, 6702, "pass").unwrap();
    assert!(!world.audiences.may_read(&word, &[pubkey(VITO)]), "validators do not copy each other");
    deliver(&mut world, VITO, by, 6702, "copy").unwrap();
    assert_eq!(world.state(job).0, "validating");
    deliver(&mut world, CAROL, by, 6702, "pass").unwrap();
    assert_eq!(world.state(job).0, "succeeded");
}

#[test]
fn while_validators_look_results_are_for_everybody_and_no_more_are_taken_also_after_a_restart() {
    let mut world = market();
    world.provider(BOB, &[5050]);
    let job = ask(&mut world, tags!["validate", "validator"; "replicas", 2, 2]);
    let first = deliver(&mut world, ALICE, job, 6050, "42").unwrap();
    assert!(!world.audiences.may_read(&first, &[pubkey(VERA)]));
    deliver(&mut world, BOB, job, 6050, "42").unwrap();
    assert_eq!(world.releases.len(), 2);
    for restarts in [false, true] {
        if restarts {
            world.restart();
            [ALICE, BOB, VERA, VITO].into_iter().for_each(|who| world.connect(who));
        }
        assert!(world.audiences.may_read(&first, &[pubkey(VERA)]));
        let again = world.sign(BOB, 6050, tags!["e", job; "again", restarts]);
        assert!(world.publish(&again).unwrap_err().starts_with("blocked: "));
    }
    let by = order(&world, job);
    let who = validator(&world, by);
    deliver(&mut world, who, by, 6702, "pass").unwrap();
    assert_eq!(world.state(job).0, "succeeded");
}

#[test]
fn panels_that_cannot_be_are_refused_with_the_reason() {
    let mut world = market();
    let cases = [
        (tags!["validate", "validator", "two"], "invalid: validate: "),
        (tags!["validate", "validator", 2, 3], "invalid: the quorum of validators must be from 1 to their number"),
        (tags!["validate", "validator", 0], "invalid: the quorum of validators must be from 1 to their number"),
        (tags!["validate", "validator", 9], "invalid: a result has at most 8 validators here"),
        (tags!["validate", "validator", 1, 1, 5, 6], "invalid: validate: validator has at most"),
        (tags!["validate", "validator"; "validate", "validator"], "invalid: validate: stands twice"),
        (tags!["validate", "validator"; "dispatch", "open"], "invalid: only a leased job has validators"),
    ];
    for (tags, expected) in cases {
        let refused = world.say(CUSTOMER, 5050, tags.clone()).unwrap_err();
        assert!(refused.starts_with(expected), "{tags:?}: {refused}");
    }
}
