//! Restoring from a journal.

use crate::bench::*;
use mercato_scheduler::*;

fn busy() -> Bench {
    let mut bench = Bench::new();
    bench.online(1, advert_with(&[("gpu", text("h100"))], 2));
    bench.advertise(2, advert(Some(5)));
    for n in 1..=5 {
        bench.ask(n, Request { dispatch: Dispatch::Leased, ..request() });
    }
    bench.ask(6, Request { dispatch: Dispatch::Open, ..request() });
    let holder = |bench: &Bench, n| bench.holder(n).map_or(1, |provider| provider.0[0]);
    let one = holder(&bench, 1);
    bench.at(3).say(1, one, processing()).expect("heard");
    let two = holder(&bench, 2);
    bench.say(2, two, Feedback::PaymentRequired { amount_msat: Some(9) }).expect("heard");
    bench.tick(10);
    bench.at(11).offline(1);
    bench.cancel(5, 1).expect("cancelled");
    bench
}

#[test]
fn a_journal_restores_the_state() {
    let bench = busy();
    let restored = Scheduler::restore(config(), bench.journal.iter().cloned()).expect("restored");
    assert_eq!(restored.state(), bench.scheduler.state());
}

#[test]
fn a_checkpoint_restores_the_state() {
    let bench = busy();
    let rows = bench.scheduler.checkpoint();
    let restored = Scheduler::restore(config(), rows.into_iter()).expect("restored");
    assert_eq!(restored.state(), bench.scheduler.state());
}

#[test]
fn another_configuration_restores_the_same_state() {
    let bench = busy();
    let restored = Scheduler::restore(Config::default(), bench.journal.iter().cloned());
    assert_eq!(restored.expect("restored").state(), bench.scheduler.state());
}

#[test]
fn a_restored_scheduler_serves_those_who_wait() {
    let mut bench = Bench::new();
    bench.ask(1, request());
    bench.scheduler = Scheduler::restore(config(), bench.journal.drain(..)).expect("restored");
    bench.step(Input::Restarted).expect("restarted");
    assert_eq!(leases(&bench.online(1, advert(None))), [(job(1), provider(1))]);
}

#[test]
fn a_journal_that_lost_a_request_or_a_lease_is_refused() {
    let is_request = |row: &Record| matches!(row.fact, Fact::Requested { .. });
    let is_lease = |row: &Record| matches!(row.fact, Fact::Leased { .. });
    for lost in [is_request, is_lease] {
        let mut journal = busy().journal;
        let at = journal.iter().position(lost).expect("there is one");
        journal.remove(at);
        let restored = Scheduler::restore(config(), journal.into_iter());
        assert!(matches!(restored, Err(RestoreError::Misfit { .. })));
    }
}

#[test]
fn a_journal_out_of_order_is_refused() {
    let mut journal = busy().journal;
    journal.reverse();
    let restored = Scheduler::restore(config(), journal.into_iter());
    assert!(matches!(restored, Err(RestoreError::Misfit { .. })));
}

#[test]
fn a_checkpoint_that_lost_a_row_is_refused() {
    let mut rows = busy().scheduler.checkpoint();
    rows.remove(1);
    let restored = Scheduler::restore(config(), rows.into_iter());
    assert!(matches!(restored, Err(RestoreError::Impossible(_))));
}
