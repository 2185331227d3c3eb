//! Jobs that several providers do, each on its own: what docs/market.md says of replicas, one test for each claim.

#[macro_use]
mod market_world;

use market_world::{World, pubkey, someone, tag, value};
use mercato::market::Release;
use mercato::nostr::{Event, EventId};

const CUSTOMER: u8 = 1;
const ALICE: u8 = 2;
const BOB: u8 = 3;
const CAROL: u8 = 4;
const STRANGER: u8 = 9;

/// Alice, Bob and Carol hold leases on a job on which two of them must agree.
fn replicated(validate: Vec<Vec<String>>) -> (World, EventId) {
    let mut world = World::new();
    for who in [ALICE, BOB, CAROL] {
        world.provider(who, &[5050]);
    }
    let tags = [tags!["replicas", 3, 2], validate].concat();
    let job = world.say(CUSTOMER, 5050, tags).unwrap();
    assert_eq!(world.view(job).unwrap().leases.len(), 3);
    (world, job)
}

fn result(world: &World, who: u8, job: EventId, content: &str, more: Vec<Vec<String>>) -> Event {
    let tags = [tags!["e", job], more].concat();
    Event::sign(&someone(who), world.now_s(), 6050, &tags, content)
}

fn deliver(world: &mut World, who: u8, job: EventId, content: &str) -> Result<EventId, String> {
    let event = result(world, who, job, content, vec![]);
    world.publish(&event).map(|()| event.id)
}

fn may_read(world: &World, result: EventId, who: u8) -> bool {
    world.audiences.may_read(&result, &[pubkey(who)])
}

#[test]
fn each_provider_gets_a_lease_and_the_state_names_them_all() {
    let (world, job) = replicated(vec![]);
    let state = world.stored_state(job).unwrap();
    let leases: Vec<_> = state.tags().into_iter().filter(|tag| tag[0] == "lease").collect();
    assert_eq!(leases.len(), 3);
    for who in [ALICE, BOB, CAROL] {
        let named = |tag: &&Vec<String>| tag[2] == pubkey(who).to_hex();
        assert_eq!(leases.iter().filter(named).count(), 1);
        assert!(state.tags().contains(&tags!["p", pubkey(who)].remove(0)));
        assert!(world.may_see(job, who));
    }
    assert_eq!(tag(&state, "replicas"), Some(tags!["replicas", 3, 2].remove(0)));
    assert_eq!(value(&state, "results").as_deref(), Some("0"));
}

#[test]
fn results_are_kept_from_all_but_author_and_customer_until_the_job_ends() {
    let (mut world, job) = replicated(vec![]);
    let first = deliver(&mut world, ALICE, job, "42").unwrap();
    for (who, expected) in [(CUSTOMER, true), (ALICE, true), (BOB, false), (CAROL, false), (STRANGER, false)] {
        assert_eq!(may_read(&world, first, who), expected, "{who}");
    }
    assert!(!world.audiences.may_read(&first, &[]), "one who has not authenticated");
    world.restart();
    assert!(!may_read(&world, first, BOB) && may_read(&world, first, CUSTOMER), "also after a restart");
    let second = deliver(&mut world, BOB, job, "42").unwrap();
    assert_eq!(world.state(job).0, "succeeded");
    assert!(may_read(&world, first, STRANGER) && may_read(&world, second, STRANGER));
    let released: Vec<EventId> = world.releases.iter().map(|Release { event, .. }| *event).collect();
    assert_eq!(released, [first, second]);
    let mut told = world.releases[0].told.clone();
    told.sort_unstable();
    let mut expected = vec![pubkey(CUSTOMER), pubkey(ALICE)];
    expected.sort_unstable();
    assert_eq!(told, expected);
}

#[test]
fn a_quorum_is_told_with_a_verdict_on_each_result() {
    let (mut world, job) = replicated(vec![]);
    let wrong = deliver(&mut world, CAROL, job, "43").unwrap();
    let right = deliver(&mut world, BOB, job, "42").unwrap();
    let last = deliver(&mut world, ALICE, job, "42").unwrap();
    let end = world.told("success").unwrap();
    assert_eq!(value(end, "result"), Some(right.to_hex()));
    let verdicts: Vec<_> = end.tags().into_iter().filter(|tag| tag[0] == "verdict").collect();
    let expected = tags![
        "verdict", wrong, pubkey(CAROL), "outlier", 120;
        "verdict", right, pubkey(BOB), "pass", 120;
        "verdict", last, pubkey(ALICE), "pass", 120;
    ];
    assert_eq!(verdicts, expected);
    let labels: Vec<_> = world.events.iter().filter(|event| event.kind == 1985).collect();
    assert_eq!(labels.len(), 3);
    let expected = tags![
        "L", "mercato.validation"; "l", "outlier", "mercato.validation"; "e", wrong; "p", pubkey(CAROL); "job", job;
        "quorum", 2, 3
    ];
    assert_eq!(labels[0].tags(), expected);
    assert!(labels.iter().all(|label| label.pubkey == world.keys.public()));
}

#[test]
fn a_straggler_is_withdrawn_without_blame_and_its_result_refused() {
    let (mut world, job) = replicated(vec![]);
    deliver(&mut world, ALICE, job, "42").unwrap();
    deliver(&mut world, BOB, job, "42").unwrap();
    let withdrawn = world.told("withdrawn").unwrap();
    assert_eq!(tag(withdrawn, "reason").unwrap()[2..4], [pubkey(CAROL).to_hex(), "quorum-reached".to_owned()]);
    let answer = deliver(&mut world, CAROL, job, "42").unwrap_err();
    assert!(answer.starts_with("blocked: this job has ended"), "{answer}");
}

#[test]
fn without_agreement_another_is_asked_and_then_the_job_fails_with_reasons() {
    let mut world = World::new();
    for who in [ALICE, BOB] {
        world.provider(who, &[5050]);
    }
    let job = world.say(CUSTOMER, 5050, tags!["replicas", 2; "attempts", 3]).unwrap();
    deliver(&mut world, ALICE, job, "1").unwrap();
    deliver(&mut world, BOB, job, "2").unwrap();
    assert_eq!(world.state(job).0, "validating");
    world.provider(CAROL, &[5050]);
    assert_eq!(world.state(job).0, "leased");
    deliver(&mut world, CAROL, job, "3").unwrap();
    assert_eq!(world.state(job).0, "failed");
    let end = world.told("error").unwrap();
    let reasons: Vec<_> = end.tags().into_iter().filter(|tag| tag[0] == "reason").map(|tag| tag[3].clone()).collect();
    assert_eq!(reasons, ["no-quorum"; 3]);
    let undecided = end.tags().into_iter().filter(|tag| tag[0] == "verdict" && tag[3] == "undecided");
    assert_eq!(undecided.count(), 3);
    assert_eq!(world.events.iter().filter(|event| event.kind == 1985).count(), 0);
    assert_eq!(world.releases.len(), 3);
}

#[test]
fn a_blob_is_compared_by_its_x_tag() {
    let (mut world, job) = replicated(vec![]);
    let x = "ab".repeat(32);
    for (who, url) in [(ALICE, "https://a"), (BOB, "https://b")] {
        let event = result(&world, who, job, url, tags!["x", x]);
        world.publish(&event).unwrap();
    }
    assert_eq!(world.state(job).0, "succeeded");
    let (mut world, job) = replicated(vec![]);
    for bad in ["", "ab", &"AB".repeat(32), &"zz".repeat(32)] {
        let event = result(&world, ALICE, job, "", tags!["x", bad]);
        let answer = world.publish(&event).unwrap_err();
        assert!(answer.starts_with("invalid: x:"), "{answer}");
    }
    assert_eq!(world.state(job).0, "leased");
}

#[test]
fn numbers_agree_within_the_tolerance() {
    let (mut world, job) = replicated(tags!["validate", "tolerance", "0.001", "0.01"]);
    deliver(&mut world, ALICE, job, "[100.0, 0.0004]").unwrap();
    let answer = deliver(&mut world, BOB, job, "hundred").unwrap_err();
    assert!(answer.starts_with("invalid: content: \"hundred\" is not a decimal number"), "{answer}");
    let answer = deliver(&mut world, BOB, job, "").unwrap_err();
    assert!(answer.starts_with("invalid: a result of this job is 1 to 256 decimal numbers"), "{answer}");
    deliver(&mut world, BOB, job, "102 0").unwrap();
    assert_eq!(world.state(job).0, "leased");
    deliver(&mut world, CAROL, job, "1.009e2, -0.0005").unwrap();
    assert_eq!(world.state(job).0, "succeeded");
}

#[test]
fn nobody_shows_the_others_a_part_of_its_result() {
    let (mut world, job) = replicated(vec![]);
    let event = Event::sign(&someone(ALICE), world.now_s(), 7000, &tags!["e", job; "status", "partial"], "4");
    let answer = world.publish(&event).unwrap_err();
    assert!(answer.starts_with("blocked: others work on this job too"), "{answer}");
    world.feedback(ALICE, job, "partial").unwrap();
    assert_eq!(world.state(job).0, "running");
}

#[test]
fn a_provider_delivers_once() {
    let (mut world, job) = replicated(vec![]);
    deliver(&mut world, ALICE, job, "1").unwrap();
    let answer = deliver(&mut world, ALICE, job, "2").unwrap_err();
    assert_eq!(answer, "blocked: you delivered a result for this job already");
    world.feedback(ALICE, job, "success").unwrap();
}

#[test]
fn replicas_are_compared_by_a_method_that_the_relay_knows() {
    let mut world = World::new();
    let ask = |world: &mut World, tags| world.say(CUSTOMER, 5050, tags);
    let answer = ask(&mut world, tags!["replicas", 2; "validate", "loss"]).unwrap_err();
    assert!(answer.starts_with("invalid: validate: \"loss\" is neither exact nor tolerance"), "{answer}");
    let answer = ask(&mut world, tags!["replicas", 2; "validate", "exact"; "validate", "exact"]).unwrap_err();
    assert_eq!(answer, "invalid: validate: stands twice");
    let answer = ask(&mut world, tags!["replicas", 2; "dispatch", "open"]).unwrap_err();
    assert_eq!(answer, "invalid: only a leased job has replicas");
    ask(&mut world, tags!["validate", "loss"]).unwrap();
    ask(&mut world, tags!["replicas", 2, 1; "validate", "loss"]).unwrap();
}

#[test]
fn adaptive_validation_begins_with_one_lease_and_asks_for_a_second_opinion_of_a_newcomer() {
    let mut world = World::new();
    for who in [ALICE, BOB] {
        world.provider(who, &[5050]);
    }
    let job = world.say(CUSTOMER, 5050, tags!["validate", "adaptive"]).unwrap();
    let view = world.view(job).unwrap();
    assert_eq!((view.leases.len(), view.replicas), (1, (2, 2)));
    let first = if view.provider == Some(mercato_scheduler::ProviderId(pubkey(ALICE).0)) { ALICE } else { BOB };
    world.say(first, 6050, tags!["e", job]).unwrap();
    assert_eq!(world.view(job).unwrap().leases.len(), 1, "the other one");
    world.say(ALICE + BOB - first, 6050, tags!["e", job]).unwrap();
    assert_eq!(world.state(job).0, "succeeded");
}
