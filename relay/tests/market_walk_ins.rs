//! Providers as existing frameworks are: they subscribe and answer, and never advertise to this relay.

mod market_world;

use market_world::{World, pubkey};
use mercato::nostr::EventId;

const CUSTOMER: u8 = 1;
const WALK_IN: u8 = 2;
const OTHER: u8 = 3;
/// A connection.
const FIRST: u64 = 1;
const SECOND: u64 = 2;

fn listen(world: &mut World, who: u8, connection: u64, kinds: &[u16]) {
    let output = world.market.on_listening(world.now_ms, &pubkey(who), connection, kinds.to_vec());
    world.commit(None, output);
}

fn ask(world: &mut World) -> EventId {
    world.say(CUSTOMER, 5050, tags!["i", "hello", "text"]).unwrap()
}

#[test]
fn who_has_listened_for_a_second_gets_the_jobs_of_its_kinds() {
    let mut world = World::new();
    world.connect(WALK_IN);
    listen(&mut world, WALK_IN, FIRST, &[5050]);
    let job = ask(&mut world);
    world.wait_ms(999);
    assert_eq!(world.state(job).0, "queued", "it may only be looking");
    world.wait_ms(1);
    assert_eq!(world.state(job), ("leased".to_owned(), Some(pubkey(WALK_IN))));
    assert!(world.may_see(job, WALK_IN) && world.deliveries.len() == 1);
    world.say(WALK_IN, 6050, tags!["e", job]).unwrap();
    assert_eq!(world.state(job).0, "succeeded");
}

#[test]
fn who_only_looked_gets_nothing() {
    let mut world = World::new();
    world.connect(WALK_IN);
    listen(&mut world, WALK_IN, FIRST, &[5050]);
    listen(&mut world, WALK_IN, FIRST, &[]);
    let job = ask(&mut world);
    world.wait_ms(5_000);
    assert_eq!(world.state(job).0, "queued");
    assert!(world.market.scheduler().state().providers().is_empty());
}

#[test]
fn what_its_connections_listen_for_counts_together() {
    let mut world = World::new();
    world.connect(WALK_IN);
    world.connect(WALK_IN);
    listen(&mut world, WALK_IN, FIRST, &[5100]);
    listen(&mut world, WALK_IN, SECOND, &[5050]);
    world.wait_ms(1_000);
    listen(&mut world, WALK_IN, FIRST, &[]);
    world.disconnect(WALK_IN);
    let job = ask(&mut world);
    assert_eq!(world.state(job).0, "leased");
}

#[test]
fn an_advert_goes_before_and_when_it_is_deleted_listening_counts_again() {
    let mut world = World::new();
    world.connect(WALK_IN);
    listen(&mut world, WALK_IN, FIRST, &[5050]);
    world.wait_ms(1_000);
    let advert = world.say(WALK_IN, 31990, tags!["k", 5051]).unwrap();
    let job = ask(&mut world);
    assert_eq!(world.state(job).0, "queued");
    world.say(WALK_IN, 5, tags!["e", advert]).unwrap();
    world.wait_ms(1_000);
    assert_eq!(world.state(job), ("leased".to_owned(), Some(pubkey(WALK_IN))));
}

#[test]
fn an_operator_may_want_adverts_only() {
    let mut world = World::with(|config| config.walk_ins = false);
    world.connect(WALK_IN);
    listen(&mut world, WALK_IN, FIRST, &[5050]);
    let job = ask(&mut world);
    world.wait_ms(2_000);
    assert_eq!(world.state(job).0, "queued");
}

#[test]
fn who_listened_when_the_market_was_thrown_away_is_known_to_the_next() {
    let mut world = World::new();
    world.connect(WALK_IN);
    listen(&mut world, WALK_IN, FIRST, &[5050]);
    world.wait_ms(1_000);
    let presence = std::mem::replace(&mut world.market, World::new().market).into_presence();
    world.restart();
    let output = world.market.resume(world.now_ms, presence);
    world.commit(None, output);
    world.wait_ms(1_000);
    let job = ask(&mut world);
    assert_eq!(world.state(job).0, "leased");
}

#[test]
fn a_plain_request_that_nobody_serves_is_shown_to_everybody_and_anybody_may_answer() {
    let mut world = World::new();
    let job = ask(&mut world);
    assert!(!world.may_see(job, OTHER));
    world.wait_ms(10_000);
    assert_eq!(world.state(job).0, "open");
    assert!(world.may_see(job, OTHER));
    world.say(OTHER, 6050, tags!["e", job]).unwrap();
    assert_eq!(world.state(job), ("succeeded".to_owned(), Some(pubkey(OTHER))));
}

#[test]
fn a_request_that_says_who_may_answer_stays_with_those() {
    for tags in [tags!["dispatch", "leased"], tags!["require", "gpu", "has"], tags!["replicas", 2]] {
        let mut world = World::new();
        let job = world.say(CUSTOMER, 5050, tags.clone()).unwrap();
        world.wait_ms(60_000);
        assert_eq!(world.state(job).0, "queued", "{tags:?}");
    }
    let mut world = World::with(|config| config.open_after_s = 0);
    let job = ask(&mut world);
    world.wait_ms(60_000);
    assert_eq!(world.state(job).0, "queued", "the operator leases everything");
}

#[test]
fn a_restart_does_not_forget_when_a_job_is_for_everybody() {
    let mut world = World::new();
    let job = ask(&mut world);
    world.wait_ms(5_000);
    world.restart();
    world.wait_ms(5_000);
    assert_eq!(world.state(job).0, "open");
    world.restart();
    assert!(world.may_see(job, OTHER));
}
