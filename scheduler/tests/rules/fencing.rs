//! Who may speak about a job, and which result counts.

use crate::bench::*;
use mercato_scheduler::*;

/// Job 1: provider 1 timed out (lease 0), provider 2 holds lease 1.
fn reassigned() -> Bench {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    bench.ask(1, request());
    bench.online(2, advert(None));
    bench.tick(10);
    assert_eq!(bench.holder(1), Some(provider(2)));
    bench
}

fn stale(named: u64, own: u64, reason: Option<Reason>) -> Refusal {
    Refusal::StaleLease { named, own, reason }
}

#[test]
fn an_unknown_job_is_refused() {
    let mut bench = Bench::new();
    assert_eq!(bench.say(1, 1, processing()), Err(Refusal::UnknownJob));
    assert_eq!(bench.deliver(1, 1), Err(Refusal::UnknownJob));
    assert_eq!(bench.cancel(1, 1), Err(Refusal::UnknownJob));
}

#[test]
fn a_stranger_is_refused() {
    let mut bench = reassigned();
    assert_eq!(bench.say(1, 3, processing()), Err(Refusal::NeverLeased));
    assert_eq!(bench.deliver(1, 3), Err(Refusal::NeverLeased));
}

#[test]
fn feedback_of_an_earlier_leaseholder_is_refused_with_the_reason() {
    let mut bench = reassigned();
    let refusal = stale(0, 0, Some(Reason::AcceptTimeout));
    assert_eq!(bench.say(1, 1, processing()), Err(refusal.clone()));
    let words = "lease 0 does not count: the provider did not accept in time";
    assert_eq!(refusal.to_string(), words);
}

#[test]
fn feedback_under_another_lease_number_is_refused() {
    let mut bench = reassigned();
    for feedback in [processing(), error("no"), Feedback::PaymentRequired { amount_msat: None }] {
        assert_eq!(bench.say_under(1, 2, Some(0), feedback), Err(stale(0, 1, None)));
    }
    assert_eq!(bench.status(1), Status::Leased);
    bench.say_under(1, 2, Some(1), processing()).expect("heard");
}

#[test]
fn a_result_under_another_lease_number_is_refused() {
    let mut bench = reassigned();
    let wrong = bench.deliver_as(1, 2, Some(0), KIND + 1_000, 2);
    assert_eq!(wrong, Err(stale(0, 1, None)));
    let wrong = bench.deliver_as(1, 1, Some(1), KIND + 1_000, 2);
    assert_eq!(wrong, Err(stale(1, 0, Some(Reason::AcceptTimeout))));
}

#[test]
fn a_result_must_have_the_right_kind() {
    let mut bench = reassigned();
    let wrong = bench.deliver_as(1, 2, None, KIND, 2);
    assert_eq!(wrong, Err(Refusal::WrongResultKind { expected: KIND + 1_000, got: KIND }));
}

#[test]
fn a_result_of_the_leaseholder_ends_the_job() {
    let mut bench = reassigned();
    let effects = bench.deliver(1, 2).expect("accepted");
    let success = End::Succeeded { result: result(2) };
    assert_eq!(ends(&effects), [(success, Some(provider(2)))]);
    assert_eq!(withdrawals(&effects), []);
    assert_eq!((bench.row(2).succeeded, bench.row(2).free_slots()), (1, 1));
    let view = bench.view(1);
    assert_eq!((view.status, view.result), (Status::Succeeded, Some(result(2))));
}

#[test]
fn a_late_result_wins_while_the_job_is_open() {
    let mut bench = reassigned();
    bench.say(1, 2, processing()).expect("heard");
    let effects = bench.deliver(1, 1).expect("accepted");
    assert_eq!(withdrawals(&effects), [(provider(2), Reason::LateResultWon)]);
    assert_eq!(ends(&effects), [(End::Succeeded { result: result(1) }, Some(provider(1)))]);
    let (one, two) = (bench.row(1), bench.row(2));
    assert_eq!((one.succeeded, one.failed, one.late), (0, 1, 1));
    assert_eq!((two.succeeded, two.failed, two.late, two.free_slots()), (0, 0, 0, 1));
}

#[test]
fn a_late_result_wins_in_the_queue_too() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    bench.ask(1, request());
    bench.tick(10);
    assert_eq!(bench.status(1), Status::Queued);
    bench.deliver(1, 1).expect("accepted");
    assert_eq!(bench.status(1), Status::Succeeded);
}

#[test]
fn after_the_end_results_are_refused() {
    let mut bench = reassigned();
    bench.deliver(1, 2).expect("accepted");
    let end = End::Succeeded { result: result(2) };
    assert_eq!(bench.deliver(1, 2), Err(Refusal::DuplicateResult));
    let another = bench.deliver_as(1, 2, None, KIND + 1_000, 9);
    assert_eq!(another, Err(Refusal::AlreadyEnded { end: end.clone() }));
    assert_eq!(bench.deliver(1, 1), Err(Refusal::AlreadyEnded { end: end.clone() }));
    assert_eq!(bench.deliver(1, 3), Err(Refusal::NeverLeased));
    assert_eq!(bench.say(1, 2, processing()), Err(Refusal::AlreadyEnded { end }));
}

#[test]
fn only_the_customer_cancels() {
    let mut bench = reassigned();
    assert_eq!(bench.cancel(1, 2), Err(Refusal::NotTheCustomer));
    let effects = bench.cancel(1, 1).expect("cancelled");
    assert_eq!(withdrawals(&effects), [(provider(2), Reason::Cancelled)]);
    assert_eq!(ends(&effects), [(End::Cancelled, Some(provider(2)))]);
    assert_eq!((bench.row(2).failed, bench.row(2).free_slots()), (0, 1));
}

#[test]
fn cancelling_twice_is_harmless() {
    let mut bench = reassigned();
    bench.cancel(1, 1).expect("cancelled");
    assert_eq!(bench.cancel(1, 1), Ok(vec![]));
    assert_eq!(bench.cancel(1, 2), Err(Refusal::NotTheCustomer));
}

#[test]
fn an_error_is_cut_and_told() {
    let mut bench = reassigned();
    let effects = bench.say(1, 2, error(&"é".repeat(500))).expect("heard");
    let expected = Reason::Error("é".repeat(REASON_MAX / 2));
    assert_eq!(withdrawals(&effects), [(provider(2), expected)]);
    assert_eq!(bench.row(2).failed, 1);
}

#[test]
fn lease_numbers_only_grow() {
    let mut bench = Bench::new();
    let mut last = None;
    for n in 1..=20 {
        bench.online(n, advert(None));
        bench.ask(n, request());
        let holder = bench.holder(n).expect("leased");
        bench.deliver(n, holder.0[0]).expect("accepted");
        let next = Some(bench.scheduler.state().next_lease());
        assert!(next > last);
        last = next;
    }
}

#[test]
fn an_ended_job_names_how_many_leases_it_took() {
    let attempts = |bench: &Bench| bench.scheduler.view(job(1)).expect("it is remembered").attempt;
    let mut on_time = reassigned();
    on_time.deliver(1, 2).expect("delivered");
    assert_eq!(attempts(&on_time), 2);
    let mut late = reassigned();
    late.deliver(1, 1).expect("delivered");
    assert_eq!(attempts(&late), 2);
    let mut cancelled = reassigned();
    cancelled.cancel(1, 1).expect("cancelled");
    assert_eq!(attempts(&cancelled), 2);
}
