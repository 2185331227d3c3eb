//! Deadlines: who is freed, who is blamed, who is told.

use crate::bench::*;
use mercato_scheduler::*;

fn leased() -> Bench {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    bench.ask(1, request());
    assert_eq!(bench.status(1), Status::Leased);
    bench
}

#[test]
fn the_next_deadline_is_the_earliest() {
    let mut bench = Bench::new();
    assert_eq!(bench.scheduler.next_deadline_ms(), None);
    bench.ask(1, request());
    assert_eq!(bench.scheduler.next_deadline_ms(), Some(1_000));
    bench.online(1, advert(None));
    assert_eq!(bench.scheduler.next_deadline_ms(), Some(10));
    bench.say(1, 1, processing()).expect("heard");
    assert_eq!(bench.scheduler.next_deadline_ms(), Some(100));
    bench.deliver(1, 1).expect("accepted");
    assert_eq!(bench.scheduler.next_deadline_ms(), Some(500));
    bench.tick(500);
    assert_eq!(bench.scheduler.next_deadline_ms(), None);
}

#[test]
fn a_tick_before_the_deadline_does_nothing() {
    let mut bench = leased();
    assert_eq!(bench.tick(9), []);
    assert_eq!(withdrawals(&bench.tick(10)), [(provider(1), Reason::AcceptTimeout)]);
}

#[test]
fn an_accept_timeout_gives_the_job_to_the_next_at_once() {
    let mut bench = leased();
    bench.online(2, advert(None));
    let effects = bench.tick(10);
    assert_eq!(withdrawals(&effects), [(provider(1), Reason::AcceptTimeout)]);
    assert_eq!(leases(&effects), [(job(1), provider(2))]);
    assert_eq!(bench.row(1).failed, 1);
}

#[test]
fn the_run_begins_with_the_first_word() {
    for word in [processing(), Feedback::Partial, Feedback::Success] {
        let mut bench = leased();
        bench.at(9).say(1, 1, word).expect("heard");
        assert_eq!(bench.status(1), Status::Running);
        assert_eq!(bench.tick(108), []);
        assert_eq!(withdrawals(&bench.tick(109)), [(provider(1), Reason::RunTimeout)]);
    }
}

#[test]
fn what_comes_before_the_tick_is_in_time() {
    let mut bench = leased();
    bench.at(60).say(1, 1, processing()).expect("heard");
    assert_eq!(bench.tick(60), []);
    assert_eq!(bench.status(1), Status::Running);
}

#[test]
fn a_heartbeat_is_needed_only_when_asked_for() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    bench.ask(1, Request { heartbeat_timeout_ms: Some(20), ..request() });
    bench.say(1, 1, processing()).expect("heard");
    bench.at(19).say(1, 1, Feedback::Success).expect("heard");
    assert_eq!(bench.tick(38), []);
    assert_eq!(withdrawals(&bench.tick(39)), [(provider(1), Reason::HeartbeatTimeout)]);
}

#[test]
fn the_run_stands_still_while_waiting_for_money() {
    let mut bench = leased();
    bench.say(1, 1, processing()).expect("heard");
    let ask = Feedback::PaymentRequired { amount_msat: Some(7) };
    bench.at(60).say(1, 1, ask).expect("heard");
    assert_eq!(bench.status(1), Status::AwaitingPayment);
    assert_eq!(bench.view(1).amount_msat, Some(7));
    assert_eq!(bench.tick(105), []);
    bench.at(109).say(1, 1, processing()).expect("heard");
    assert_eq!(bench.tick(148), []);
    assert_eq!(withdrawals(&bench.tick(149)), [(provider(1), Reason::RunTimeout)]);
}

#[test]
fn an_unpaid_job_fails_and_the_provider_is_free_and_not_blamed() {
    let mut bench = leased();
    bench.online(2, advert(None));
    bench.say(1, 1, Feedback::PaymentRequired { amount_msat: None }).expect("heard");
    let effects = bench.tick(50);
    assert_eq!(withdrawals(&effects), [(provider(1), Reason::Unpaid)]);
    assert_eq!(ends(&effects), [(End::Failed, Some(provider(1)))]);
    assert_eq!(leases(&effects), []);
    assert_eq!((bench.row(1).failed, bench.row(1).free_slots()), (0, 1));
}

#[test]
fn asking_again_changes_the_amount_but_not_the_time() {
    let mut bench = leased();
    let ask = |n| Feedback::PaymentRequired { amount_msat: Some(n) };
    bench.say(1, 1, ask(7)).expect("heard");
    bench.at(40).say(1, 1, ask(8)).expect("heard");
    assert_eq!(bench.view(1).amount_msat, Some(8));
    assert_eq!(ends(&bench.tick(50)).len(), 1);
}

#[test]
fn success_without_a_result_is_no_payment() {
    let mut bench = leased();
    bench.say(1, 1, Feedback::PaymentRequired { amount_msat: None }).expect("heard");
    bench.say(1, 1, Feedback::Success).expect("heard");
    assert_eq!(bench.status(1), Status::AwaitingPayment);
}

#[test]
fn attempts_exhausted_fails_the_job_with_every_reason() {
    let mut bench = Bench::new();
    for n in 1..=4 {
        bench.online(n, advert(None));
    }
    bench.ask(1, request());
    let mut tried = Vec::new();
    tried.extend(bench.holder(1));
    bench.say(1, tried[0].0[0], error("no")).expect("heard");
    tried.extend(bench.holder(1));
    bench.tick(10);
    tried.extend(bench.holder(1));
    bench.say(1, tried[2].0[0], processing()).expect("heard");
    let effects = bench.tick(110);
    let Some(Effect::AnnounceEnd { end, provider, reasons, .. }) = effects.get(1) else {
        panic!("no end: {effects:?}");
    };
    assert_eq!((end, *provider), (&End::Failed, Some(tried[2])));
    let expected = [
        (1, tried[0], Reason::Error("no".to_owned())),
        (2, tried[1], Reason::AcceptTimeout),
        (3, tried[2], Reason::RunTimeout),
    ];
    assert_eq!(*reasons, expected);
}

#[test]
fn a_queued_job_expires_and_is_told() {
    let mut bench = Bench::new();
    bench.ask(1, request());
    assert_eq!(ends(&bench.tick(1_000)), [(End::Expired, None)]);
}

#[test]
fn a_running_job_expires_and_nobody_is_blamed() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    bench.ask(1, Request { deadline_ms: Some(30), ..request() });
    bench.say(1, 1, processing()).expect("heard");
    assert_eq!(bench.view(1).leases[0].expires_at_ms, 30);
    let effects = bench.tick(30);
    assert_eq!(withdrawals(&effects), [(provider(1), Reason::Expired)]);
    assert_eq!(ends(&effects), [(End::Expired, Some(provider(1)))]);
    assert_eq!(bench.row(1).failed, 0);
}

#[test]
fn a_lease_ends_no_later_than_its_job() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    let effects = bench.ask(1, Request { deadline_ms: Some(4), ..request() });
    let expires = effects.iter().find_map(|effect| match effect {
        Effect::AnnounceLease { expires_at_ms, .. } => Some(*expires_at_ms),
        Effect::AnnounceWithdrawal { .. }
        | Effect::AnnounceVerdict { .. }
        | Effect::AnnounceEnd { .. }
        | Effect::AnnounceState { .. }
        | Effect::AnnouncePayment { .. }
        | Effect::OrderValidation { .. } => None,
    });
    assert_eq!(expires, Some(4));
}

#[test]
fn a_request_may_set_its_times_within_bounds() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    let wishes = Request {
        accept_timeout_ms: Some(3),
        run_timeout_ms: Some(9_999),
        pay_timeout_ms: Some(70),
        attempts: Some(100),
        deadline_ms: Some(u64::MAX),
        ..request()
    };
    bench.ask(1, wishes);
    let terms = bench.scheduler.state().jobs()[&job(1)].terms;
    let expected = Terms {
        accept_ms: 3,
        run_ms: 500,
        pay_ms: 70,
        heartbeat_ms: None,
        attempts: 8,
        deadline_ms: 2_000,
        open_at_ms: None,
        customer_rank: 12,
        span: Span { start: 0, end: (1 << 20) / 12 },
    };
    assert_eq!(terms, expected);
}

#[test]
fn a_request_after_its_deadline_is_refused() {
    let mut bench = Bench::new();
    bench.now_ms = 30;
    let late = Request { deadline_ms: Some(30), ..request() };
    assert_eq!(bench.try_ask(1, 1, late), Err(Refusal::DeadlinePassed));
}

#[test]
fn time_that_steps_back_counts_as_the_last() {
    let mut bench = Bench::new();
    bench.tick(100);
    bench.at(40).ask(1, request());
    assert_eq!(bench.view(1).deadline_ms, 1_100);
    assert_eq!(bench.journal[0].at_ms, 100);
}

#[test]
fn very_late_times_do_not_overflow() {
    let mut bench = Bench::new();
    bench.now_ms = u64::MAX - 1;
    bench.online(1, advert(None));
    bench.ask(1, request());
    bench.say(1, 1, processing()).expect("heard");
    assert_eq!(ends(&bench.tick(u64::MAX)).len(), 1);
}
