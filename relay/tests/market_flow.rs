//! How jobs flow: chains of them, and auctions; one test for each claim of docs/market.md.

#[macro_use]
mod market_world;

use market_world::{START_S, World, pubkey, tag, value};
use mercato::nostr::{Event, EventId};

const CUSTOMER: u8 = 1;
const ALICE: u8 = 2;
const BOB: u8 = 3;
const CAROL: u8 = 4;
const STRANGER: u8 = 5;

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

/// An auction with Alice's, Bob's and Carol's offers.
fn auctioned() -> (World, EventId, Vec<EventId>) {
    let mut world = World::new();
    for who in [ALICE, BOB, CAROL] {
        world.provider(who, &[5050]);
    }
    let job = ask(&mut world, tags!["auction", 20, "second-price"; "bid", 900]).unwrap();
    let offers = [(ALICE, 700), (BOB, 300), (CAROL, 500)];
    let offers = offers.map(|(who, msat)| world.say(who, 7000, tags!["status", "offer"; "e", job; "amount", msat]));
    (world, job, offers.into_iter().map(Result::unwrap).collect())
}

#[test]
fn an_auctioned_request_is_for_all_until_its_offers_are_judged_and_the_lease_names_the_price() {
    let (mut world, job, _) = auctioned();
    assert_eq!(world.state(job).0, "bidding");
    assert_eq!(value(&world.stored_state(job).unwrap(), "offers_until"), Some((START_S + 20).to_string()));
    assert!(world.may_see(job, STRANGER), "nobody could make an offer");
    world.wait_ms(20_000);
    let lease = world.told("assigned").unwrap();
    assert_eq!(value(lease, "p"), Some(pubkey(BOB).to_hex()));
    assert_eq!(value(lease, "amount"), Some("500".to_owned()));
    assert!(!world.may_see(job, STRANGER) && world.may_see(job, BOB));
}

#[test]
fn offers_are_sealed_until_their_time_is_over_also_after_a_restart() {
    let (mut world, _, offers) = auctioned();
    for restarts in [false, true] {
        if restarts {
            world.restart();
            for who in [ALICE, BOB, CAROL] {
                world.connect(who);
            }
        }
        for (offer, who) in offers.iter().zip([ALICE, BOB, CAROL]) {
            assert!(world.audiences.may_read(offer, &[pubkey(who)]), "its author");
            assert!(!world.audiences.may_read(offer, &[pubkey(CUSTOMER), pubkey(STRANGER)]), "and nobody else");
        }
    }
    world.wait_ms(20_000);
    assert!(offers.iter().all(|offer| world.audiences.may_read(offer, &[])));
}

#[test]
fn offers_are_released_when_the_customer_cancels() {
    let (mut world, job, offers) = auctioned();
    world.say(CUSTOMER, 5, tags!["e", job]).unwrap();
    assert!(offers.iter().all(|offer| world.audiences.may_read(offer, &[])));
    assert_eq!(world.releases.len(), offers.len());
}

#[test]
fn offers_that_cannot_be_are_refused_with_the_reason() {
    let (mut world, job, _) = auctioned();
    let mut offer = |who, tags: Vec<Vec<String>>| world.say(who, 7000, tags).unwrap_err();
    let cases = [
        (ALICE, tags!["status", "offer"; "e", job], "invalid: amount: an offer names its price in millisatoshi"),
        (ALICE, tags!["status", "offer"; "e", job; "amount", 901], "invalid: this job pays 900 msat at most"),
        (STRANGER, tags!["status", "offer"; "e", job; "amount", 1], "restricted: you could not have this job"),
    ];
    for (who, tags, expected) in cases {
        let refused = offer(who, tags);
        assert!(refused.starts_with(expected), "{refused}");
    }
    world.wait_ms(20_000);
    let late = world.say(CAROL, 7000, tags!["status", "offer"; "e", job; "amount", 1]).unwrap_err();
    assert_eq!(late, "blocked: no offers are taken for this job now");
    for (auction, expected) in [
        (tags!["auction"], "invalid: auction: needs seconds"),
        (tags!["auction", 0], "invalid: auction: must not be zero"),
        (tags!["auction", 5, "highest"], "invalid: auction: \"highest\" is neither best-value nor second-price"),
        (tags!["auction", 5; "dispatch", "open"], "invalid: only a leased job takes offers"),
    ] {
        let refused = ask(&mut world, auction).unwrap_err();
        assert!(refused.starts_with(expected), "{refused}");
    }
}
