//! What outcomes say about providers and customers, and what that changes.

use crate::bench::*;
use mercato_scheduler::*;

const DAY: u64 = 86_400_000;

/// Provider `n` does a job for this customer.
fn serve(bench: &mut Bench, job: u8, by: u8, customer: u8) {
    let named = Request { providers: vec![provider(by)], ..request() };
    bench.try_ask(job, customer, named).expect("requested");
    bench.deliver(job, by).expect("delivered");
}

fn low(bench: &Bench, n: u8) -> i64 {
    bench.scheduler.state().low_permille(bench.row(n), KIND)
}

#[test]
fn a_newcomer_is_trusted_a_little_and_each_outcome_moves_that() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    assert_eq!(low(&bench, 1), 120);
    serve(&mut bench, 1, 1, 1);
    assert_eq!(low(&bench, 1), 253);
    bench.ask(2, request());
    bench.say(2, 1, error("no")).expect("heard");
    assert_eq!(low(&bench, 1), 182);
    bench.now_ms = 365 * DAY;
    bench.online(2, advert(None));
    assert!(low(&bench, 1).abs_diff(120) < 2, "a year later nothing of it counts: {}", low(&bench, 1));
}

#[test]
fn each_kind_has_a_record_of_its_own() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    serve(&mut bench, 1, 1, 1);
    assert_eq!(bench.scheduler.state().low_permille(bench.row(1), KIND + 1), 120);
}

#[test]
fn what_a_key_says_of_itself_does_not_count() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    serve(&mut bench, 1, 1, 1);
    let before = low(&bench, 1);
    let own = CustomerId(provider(1).0);
    bench.step(Input::Request { job: job(2), customer: own, request: request() }).expect("requested");
    bench.deliver(2, 1).expect("delivered");
    assert_eq!((low(&bench, 1), bench.row(1).succeeded), (before, 2));
    assert!(!bench.scheduler.state().customers().contains_key(&own));
}

#[test]
fn a_hundred_fresh_customers_of_one_provider_say_half_as_much_as_one_known_may() {
    let mut bench = Bench::with(Config { ended_max: 1_000, ..config() });
    bench.online(1, advert(None));
    for n in 2..102 {
        serve(&mut bench, n, 1, n);
    }
    let evidence = bench.row(1).reputation.evidence(0, HALF_LIFE_MS);
    assert_eq!(evidence.total(), 4 * OUTCOME);
    assert!(bench.scheduler.state().customers().values().all(|row| !row.is_established()));
}

#[test]
fn a_customer_that_several_served_has_a_word_of_its_own() {
    let mut bench = Bench::new();
    for n in 1..=4 {
        bench.online(n, advert(None));
    }
    for n in 1..=3 {
        serve(&mut bench, n, n, 9);
    }
    serve(&mut bench, 4, 4, 9);
    let tally = &bench.row(4).reputation.tallies[&KIND];
    assert_eq!(tally.shares[&customer(9).0], Evidence { good: OUTCOME, bad: 0 });
    assert_eq!(bench.row(3).reputation.tallies[&KIND].newcomers.good, OUTCOME);
}

#[test]
fn the_customers_heard_of_longest_ago_are_forgotten_beyond_the_bound() {
    let mut bench = Bench::with(Config { customers_max: 2, ..config() });
    bench.online(9, advert(None));
    for n in 1..=3 {
        bench.now_ms += 1;
        serve(&mut bench, n, 9, n);
    }
    let known: Vec<_> = bench.scheduler.state().customers().keys().copied().collect();
    assert_eq!(known, [customer(2), customer(3)]);
}

#[test]
fn the_operators_half_life_is_part_of_the_journal() {
    let mut bench = Bench::with(Config { half_life_ms: 10 * DAY, ..config() });
    bench.online(1, advert(None));
    serve(&mut bench, 1, 1, 1);
    assert_eq!(bench.scheduler.state().half_life_ms(), 10 * DAY);
    for journal in [bench.journal.clone(), bench.scheduler.checkpoint()] {
        let other = Config { half_life_ms: DAY, ..config() };
        let restored = Scheduler::restore(other, journal.into_iter()).expect("restored");
        assert_eq!(restored.state(), bench.scheduler.state());
    }
}
