//! A job that fails again and again rests in between.

use crate::bench::*;
use mercato_scheduler::*;

fn resting_config() -> Config {
    Config { retry_base_ms: 16, retry_max_ms: 64, attempts_default: 8, ..config() }
}

/// Providers that give up at once, and a job that meets them.
fn crowd() -> Bench {
    let mut bench = Bench::with(resting_config());
    for n in 1..=9 {
        bench.online(n, advert(None));
    }
    bench.ask(1, request());
    bench
}

/// The leaseholder gives up; until when the job rests then.
fn give_up(bench: &mut Bench) -> Option<u64> {
    let holder = bench.holder(1).expect("it is leased").0[0];
    bench.say(1, holder, error("no")).expect("heard");
    bench.view(1).rests_until_ms
}

#[test]
fn the_first_failure_is_followed_at_once_and_later_ones_after_longer_and_longer_rests() {
    let mut bench = crowd();
    assert_eq!(give_up(&mut bench), None);
    let mut longest = [0; 6];
    for ceiling_ms in [16, 32, 64, 64, 64, 64].into_iter().zip(&mut longest) {
        let (ceiling_ms, longest) = ceiling_ms;
        let Some(until_ms) = give_up(&mut bench) else {
            assert!(bench.holder(1).is_some(), "a rest of nothing is none");
            continue;
        };
        *longest = until_ms - bench.now_ms;
        assert!(*longest <= ceiling_ms, "{longest} of {ceiling_ms}");
        assert_eq!((bench.status(1), bench.holder(1)), (Status::Queued, None));
        assert_eq!(leases(&bench.tick(until_ms - 1)), []);
        assert_eq!(leases(&bench.tick(until_ms)).len(), 1);
        assert_eq!(bench.view(1).rests_until_ms, None);
    }
    assert!(longest.iter().any(|ms| *ms > 0), "it never rested");
    assert_eq!(give_up(&mut bench), None);
    assert_eq!(bench.status(1), Status::Failed);
}

#[test]
fn a_rest_is_drawn_for_each_job_apart() {
    let mut rests = std::collections::BTreeSet::new();
    for n in 0..40 {
        let mut bench = Bench::with(resting_config());
        for n in 1..=3 {
            bench.online(n, advert(None));
        }
        bench.ask(n, request());
        for _ in 0..2 {
            let holder = bench.holder(n).expect("it is leased").0[0];
            bench.say(n, holder, error("no")).expect("heard");
        }
        rests.insert(bench.view(n).rests_until_ms);
    }
    assert!(rests.len() > 8, "{rests:?}");
}

#[test]
fn a_newcomer_does_not_end_a_rest_and_a_late_result_does() {
    let mut bench = crowd();
    give_up(&mut bench);
    while give_up(&mut bench).is_none() {}
    bench.offline(9);
    assert_eq!(leases(&bench.online(10, advert(None))), []);
    let past = bench.scheduler.state().jobs()[&job(1)].attempts[0].provider;
    let effects = bench.deliver(1, past.0[0]).expect("accepted");
    assert_eq!(ends(&effects), [(End::Succeeded { result: result(past.0[0]) }, Some(past))]);
    assert_eq!(bench.view(1).rests_until_ms, None);
}

#[test]
fn no_rest_takes_more_than_half_of_the_time_that_is_left() {
    for n in 0..40 {
        let mut bench = Bench::with(Config { retry_base_ms: 1_000, retry_max_ms: 1_000, ..resting_config() });
        for n in 1..=3 {
            bench.online(n, advert(None));
        }
        bench.ask(n, Request { deadline_ms: Some(20), ..request() });
        for _ in 0..2 {
            let holder = bench.holder(n).expect("it is leased").0[0];
            bench.say(n, holder, error("no")).expect("heard");
        }
        assert!(bench.view(n).rests_until_ms.is_none_or(|until_ms| until_ms <= 10));
    }
}

#[test]
fn each_replica_has_its_first_failure() {
    let mut bench = Bench::with(resting_config());
    for n in 1..=7 {
        bench.online(n, advert(None));
    }
    bench.ask(1, Request { replicas: 3, quorum: 2, ..request() });
    for _ in 0..3 {
        give_up(&mut bench);
        assert_eq!(bench.view(1).leases.len(), 3, "the place is filled at once");
    }
}

#[test]
fn a_rest_survives_a_restart() {
    let mut bench = crowd();
    give_up(&mut bench);
    while give_up(&mut bench).is_none() {}
    let until_ms = bench.view(1).rests_until_ms.expect("it rests");
    for journal in [bench.journal.clone(), bench.scheduler.checkpoint()] {
        let mut restored = Bench::with(resting_config());
        restored.scheduler = Scheduler::restore(resting_config(), journal.into_iter()).expect("restored");
        assert_eq!(restored.scheduler.state(), bench.scheduler.state());
        restored.step(Input::Restarted).expect("restarted");
        restored.step(Input::Online { provider: provider(9) }).expect("online");
        restored.step(Input::Online { provider: provider(8) }).expect("online");
        assert_eq!(leases(&restored.tick(until_ms - 1)), []);
        assert_eq!(leases(&restored.tick(until_ms)).len(), 1);
    }
}
