//! A straggler gets company when its job has no time to lose.

use crate::bench::*;
use mercato_scheduler::*;

/// The kind takes up to 27 ms; runs may take 81.
fn known_kind() -> Bench {
    let config = Config { job_timeout_ms: 100_000, job_timeout_max_ms: 100_000, ended_retention_ms: 1, ..config() };
    let mut bench = Bench::with(config);
    bench.online(1, advert(None));
    for _ in 0..20 {
        bench.ask(100, request());
        bench.say(100, 1, processing()).expect("heard");
        bench.now_ms += 24;
        bench.deliver(100, 1).expect("accepted");
        bench.now_ms += 1;
        bench.tick(bench.now_ms);
    }
    bench
}

/// A job that has so much time, and somebody at work on it.
fn running(time_ms: u64) -> Bench {
    let mut bench = known_kind();
    bench.ask(1, Request { deadline_ms: Some(bench.now_ms + time_ms), ..request() });
    bench.say(1, 1, processing()).expect("heard");
    bench.online(2, advert(None));
    bench.online(3, advert(None));
    bench
}

/// As `running`, and the backup has begun, too.
fn backed_up() -> (Bench, u8) {
    let mut bench = running(90);
    let straggles_ms = bench.now_ms + 27;
    bench.tick(straggles_ms);
    let backup = bench.view(1).leases[1].provider.0[0];
    bench.say(1, backup, processing()).expect("heard");
    (bench, backup)
}

fn backups(effects: &[Effect]) -> Vec<(ProviderId, u64)> {
    let backup = |effect: &Effect| match effect {
        Effect::AnnounceLease { provider, backs_up, .. } => Some((*provider, (*backs_up)?)),
        Effect::AnnounceWithdrawal { .. }
        | Effect::AnnounceVerdict { .. }
        | Effect::AnnounceEnd { .. }
        | Effect::AnnounceState { .. }
        | Effect::AnnouncePayment { .. }
        | Effect::OrderValidation { .. } => None,
    };
    effects.iter().filter_map(backup).collect()
}

#[test]
fn a_run_that_is_slow_gets_company_when_there_is_no_time_for_another_after_it() {
    let mut bench = running(90);
    let slow = bench.view(1).leases[0].number;
    let at_ms = bench.now_ms + 27;
    assert_eq!(bench.scheduler.next_deadline_ms(), Some(at_ms));
    assert_eq!(leases(&bench.tick(at_ms - 1)), []);
    let effects = bench.tick(at_ms);
    let [(by, of)] = backups(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!((of, bench.view(1).leases.len()), (slow, 2));
    assert_ne!(by, provider(1));
    assert_eq!(bench.view(1).leases[0].expires_at_ms, at_ms - 27 + 81, "the straggler keeps its time");
}

#[test]
fn a_job_with_time_enough_or_an_operator_who_wants_none_gets_no_backup() {
    let mut bench = running(81 + 27);
    assert_eq!(leases(&bench.tick(bench.now_ms + 80)), []);
    let mut bench = running(90);
    let config = Config { backups: false, ..bench.scheduler.config().clone() };
    bench.scheduler = Scheduler::restore(config, bench.scheduler.checkpoint().into_iter()).expect("restored");
    bench.online(4, advert(None));
    bench.ask(2, Request { deadline_ms: Some(bench.now_ms + 90), providers: vec![provider(4)], ..request() });
    bench.say(2, 4, processing()).expect("heard");
    assert_eq!(bench.scheduler.state().jobs()[&job(2)].leases[0].straggles_at_ms, None);
}

#[test]
fn who_delivers_first_wins_and_the_other_is_withdrawn_without_blame() {
    for winner_is_backup in [true, false] {
        let (mut bench, backup) = backed_up();
        let (winner, other) = if winner_is_backup { (backup, 1) } else { (1, backup) };
        let effects = bench.deliver(1, winner).expect("accepted");
        assert_eq!(withdrawals(&effects), [(provider(other), Reason::Outrun)]);
        assert_eq!(ends(&effects), [(End::Succeeded { result: result(winner) }, Some(provider(winner)))]);
        assert_eq!(bench.row(other).failed, 0);
        assert_eq!(bench.row(other).free_slots(), 1);
        assert!(matches!(bench.deliver(1, other), Err(Refusal::AlreadyEnded { .. })));
    }
}

#[test]
fn a_job_has_one_backup_in_its_life() {
    let (mut bench, backup) = backed_up();
    let effects = bench.say(1, backup, error("no")).expect("heard");
    assert_eq!(leases(&effects), [], "the straggler is still at it");
    let effects = bench.say(1, 1, error("no")).expect("heard");
    let [(_, third)] = leases(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!(backups(&effects), [], "an ordinary lease");
    bench.say(1, third.0[0], processing()).expect("heard");
    assert_eq!(bench.scheduler.state().jobs()[&job(1)].leases[0].straggles_at_ms, None);
}

#[test]
fn the_backup_of_a_straggler_that_fails_takes_its_place() {
    let (mut bench, backup) = backed_up();
    let effects = bench.say(1, 1, error("no")).expect("heard");
    assert_eq!(leases(&effects), []);
    assert_eq!(bench.holder(1), Some(provider(backup)));
    // And the straggler, its time over, is first after all.
    let effects = bench.deliver(1, 1).expect("accepted");
    assert_eq!(withdrawals(&effects), [(provider(backup), Reason::LateResultWon)]);
}

#[test]
fn a_backup_waits_for_a_provider_as_long_as_the_straggler_works() {
    let mut bench = running(90);
    bench.offline(2);
    bench.offline(3);
    let at_ms = bench.now_ms + 27;
    assert_eq!(leases(&bench.tick(at_ms)), []);
    assert_eq!(backups(&bench.online(4, advert(None))).len(), 1);
    let mut bench = running(90);
    bench.offline(2);
    bench.offline(3);
    bench.tick(at_ms);
    bench.say(1, 1, error("no")).expect("heard");
    assert_eq!(backups(&bench.online(4, advert(None))), []);
    assert_eq!(bench.holder(1), Some(provider(4)));
}

#[test]
fn who_was_asked_for_money_gets_no_company() {
    let mut bench = running(90);
    bench.say(1, 1, Feedback::PaymentRequired { amount_msat: Some(5) }).expect("heard");
    bench.say(1, 1, processing()).expect("heard");
    assert_eq!(leases(&bench.tick(bench.now_ms + 40)), []);
}

#[test]
fn a_heartbeat_does_not_make_a_straggler_fast() {
    let mut bench = known_kind();
    let deadline_ms = Some(bench.now_ms + 90);
    bench.ask(1, Request { deadline_ms, heartbeat_timeout_ms: Some(20), ..request() });
    bench.say(1, 1, processing()).expect("heard");
    bench.online(2, advert(None));
    let at_ms = bench.now_ms + 27;
    bench.at(at_ms - 10).say(1, 1, Feedback::Partial).expect("heard");
    assert_eq!(backups(&bench.tick(at_ms)).len(), 1);
}

#[test]
fn a_backup_survives_a_restart() {
    let (bench, _) = backed_up();
    for journal in [bench.journal.clone(), bench.scheduler.checkpoint()] {
        let restored = Scheduler::restore(config(), journal.into_iter()).expect("restored");
        assert_eq!(restored.state(), bench.scheduler.state());
    }
}
