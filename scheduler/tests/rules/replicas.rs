//! Several providers do one job, each on its own, and a quorum decides.

use crate::bench::*;
use mercato_scheduler::*;

fn digest(n: u8) -> Answer {
    Answer::Digest([n; 32])
}

fn numbers(numbers: &[i128]) -> Answer {
    Answer::Numbers(numbers.to_vec())
}

fn replicated(replicas: u32, quorum: u32) -> Request {
    Request { replicas, quorum, ..request() }
}

/// Providers 1 to `providers` are there, and job 1 is asked for.
fn asked(providers: u8, request: Request) -> Bench {
    let mut bench = Bench::new();
    for n in 1..=providers {
        bench.online(n, advert(None));
    }
    bench.ask(1, request);
    bench
}

fn holders(bench: &Bench) -> Vec<u8> {
    let leases = &bench.scheduler.state().jobs()[&job(1)].leases;
    let mut holders: Vec<u8> = leases.iter().map(|lease| lease.provider.0[0]).collect();
    holders.sort_unstable();
    holders
}

fn success(by: u8) -> (End, Option<ProviderId>) {
    (End::Succeeded { result: result(by) }, Some(provider(by)))
}

#[test]
fn each_replica_goes_to_another_provider_at_once() {
    let bench = asked(3, replicated(3, 2));
    assert_eq!(holders(&bench), [1, 2, 3]);
    let view = bench.view(1);
    assert_eq!((view.status, view.replicas, view.attempt), (Status::Leased, (3, 2), 3));
    let numbers: Vec<_> = view.leases.iter().map(|lease| (lease.number, lease.attempt)).collect();
    assert_eq!(numbers, [(0, 1), (1, 2), (2, 3)]);
}

#[test]
fn replicas_that_find_nobody_wait_for_the_next_provider() {
    let mut bench = asked(1, replicated(2, 2));
    assert_eq!(holders(&bench), [1]);
    assert_eq!(leases(&bench.online(2, advert(None))), [(job(1), provider(2))]);
    assert_eq!(leases(&bench.online(3, advert(None))), []);
}

#[test]
fn a_provider_with_many_slots_gets_one_replica() {
    let mut bench = Bench::new();
    bench.online(1, advert_with(&[], 4));
    bench.ask(1, replicated(3, 2));
    assert_eq!(holders(&bench), [1]);
}

#[test]
fn a_quorum_decides_and_the_one_who_differs_is_an_outlier() {
    let mut bench = asked(3, replicated(3, 2));
    assert_eq!(ends(&bench.answer(1, 2, digest(7)).expect("taken")), []);
    assert_eq!(ends(&bench.answer(1, 1, digest(9)).expect("taken")), []);
    let effects = bench.answer(1, 3, digest(9)).expect("taken");
    let expected = [(provider(2), Verdict::Outlier), (provider(1), Verdict::Pass), (provider(3), Verdict::Pass)];
    assert_eq!(verdicts(&effects), expected);
    assert_eq!(ends(&effects), [success(1)]);
    let counts = [1, 2, 3].map(|n| (bench.row(n).succeeded, bench.row(n).failed, bench.row(n).free_slots()));
    assert_eq!(counts, [(1, 0, 1), (0, 1, 1), (1, 0, 1)]);
}

#[test]
fn a_straggler_does_not_hold_up_a_quorum_and_is_not_blamed() {
    let mut bench = asked(3, replicated(3, 2));
    bench.answer(1, 1, digest(9)).expect("taken");
    let effects = bench.answer(1, 2, digest(9)).expect("taken");
    assert_eq!(withdrawals(&effects), [(provider(3), Reason::QuorumReached)]);
    assert_eq!(ends(&effects), [success(1)]);
    assert_eq!((bench.row(3).failed, bench.row(3).free_slots()), (0, 1));
    let end = End::Succeeded { result: result(1) };
    assert_eq!(bench.answer(1, 3, digest(9)), Err(Refusal::AlreadyEnded { end }));
}

#[test]
fn without_a_quorum_one_more_is_asked() {
    let mut bench = asked(2, replicated(2, 2));
    bench.answer(1, 1, digest(1)).expect("taken");
    bench.answer(1, 2, digest(2)).expect("taken");
    assert_eq!(bench.status(1), Status::Validating);
    assert_eq!(leases(&bench.online(3, advert(None))), [(job(1), provider(3))]);
    bench.online(4, advert(None));
    assert_eq!(holders(&bench), [3], "one more, not two");
    assert_eq!(ends(&bench.answer(1, 3, digest(2)).expect("taken")), [success(2)]);
}

#[test]
fn as_many_more_are_asked_as_a_quorum_of_three_needs() {
    let mut bench = asked(5, replicated(3, 3));
    let first = holders(&bench);
    assert_eq!(first.len(), 3);
    for (n, by) in (1..).zip(first) {
        bench.answer(1, by, digest(n)).expect("taken");
    }
    assert_eq!(holders(&bench).len(), 2);
}

#[test]
fn the_job_fails_when_no_quorum_can_come_any_more() {
    let mut bench = asked(3, Request { attempts: Some(3), ..replicated(2, 2) });
    let [one, two] = holders(&bench)[..] else { panic!("two replicas") };
    bench.answer(1, one, digest(1)).expect("taken");
    bench.answer(1, two, digest(2)).expect("taken");
    let [three] = holders(&bench)[..] else { panic!("one more") };
    let effects = bench.answer(1, three, digest(3)).expect("taken");
    assert_eq!(ends(&effects), [(End::Failed, Some(provider(three)))]);
    assert_eq!(verdicts(&effects), []);
    let Some(Effect::AnnounceEnd { reasons, judged, .. }) = effects.first() else { panic!("no end: {effects:?}") };
    let told: Vec<_> = reasons.iter().map(|(attempt, _, reason)| (*attempt, reason.clone())).collect();
    assert_eq!(told, [1, 2, 3].map(|attempt| (attempt, Reason::NoQuorum)));
    assert!(judged.len() == 3 && judged.iter().all(|judged| judged.verdict.is_none()));
    assert_eq!([1, 2, 3].map(|n| bench.row(n).failed), [0; 3], "nobody knows who was wrong");
}

#[test]
fn those_who_still_work_are_freed_when_hope_is_gone() {
    let mut bench = asked(3, Request { attempts: Some(3), ..replicated(3, 3) });
    bench.answer(1, 1, digest(1)).expect("taken");
    let effects = bench.answer(1, 2, digest(2)).expect("taken");
    assert_eq!(withdrawals(&effects), [(provider(3), Reason::NoQuorum)]);
    let told: Vec<_> = ends(&effects).into_iter().map(|(end, _)| end).collect();
    assert_eq!(told, [End::Failed]);
    assert_eq!((bench.row(3).failed, bench.row(3).free_slots()), (0, 1));
}

#[test]
fn a_failed_replica_is_replaced_while_the_others_go_on() {
    let mut bench = asked(4, replicated(3, 2));
    let held = holders(&bench);
    bench.say(1, held[0], error("no")).expect("heard");
    let now = holders(&bench);
    assert_eq!(now.len(), 3);
    assert!(!now.contains(&held[0]) && now.contains(&held[1]) && now.contains(&held[2]));
}

#[test]
fn each_lease_has_deadlines_of_its_own() {
    let mut bench = asked(2, replicated(2, 2));
    bench.at(5).say(1, 1, processing()).expect("heard");
    assert_eq!(withdrawals(&bench.tick(10)), [(provider(2), Reason::AcceptTimeout)]);
    assert_eq!((holders(&bench), bench.status(1)), (vec![1], Status::Running));
    assert_eq!(withdrawals(&bench.tick(105)), [(provider(1), Reason::RunTimeout)]);
}

#[test]
fn the_grace_of_one_is_not_that_of_another() {
    let mut bench = asked(2, replicated(2, 2));
    for n in [1, 2] {
        bench.say(1, n, processing()).expect("heard");
    }
    bench.at(20).offline(1);
    assert_eq!(withdrawals(&bench.tick(25)), [(provider(1), Reason::Disconnected)]);
    assert_eq!(holders(&bench), [2]);
}

#[test]
fn feedback_moves_only_the_senders_lease() {
    let mut bench = asked(2, replicated(2, 2));
    bench.say(1, 1, Feedback::PaymentRequired { amount_msat: Some(7) }).expect("heard");
    let view = bench.view(1);
    assert_eq!((view.status, view.amount_msat), (Status::AwaitingPayment, Some(7)));
    let other = bench.scheduler.state().jobs()[&job(1)].lease_of(provider(2)).map(|lease| lease.phase.clone());
    assert_eq!(other, Some(Phase::Offered { accept_by_ms: 10 }));
    let own = bench.scheduler.state().jobs()[&job(1)].lease_of(provider(2)).map_or(9, |lease| lease.number);
    let wrong = bench.say_under(1, 1, Some(own), processing());
    assert!(matches!(wrong, Err(Refusal::StaleLease { .. })), "{wrong:?}");
}

#[test]
fn one_who_delivered_may_say_so_and_not_deliver_again() {
    let mut bench = asked(2, replicated(2, 2));
    bench.answer(1, 1, digest(1)).expect("taken");
    assert_eq!(bench.row(1).free_slots(), 1);
    assert_eq!(bench.say(1, 1, Feedback::Success), Ok(vec![]));
    assert_eq!(bench.answer(1, 1, digest(1)), Err(Refusal::DuplicateResult));
    let again = Input::Result {
        job: job(1),
        provider: provider(1),
        lease: None,
        result: result(9),
        kind: KIND + 1_000,
        answer: digest(2),
    };
    assert_eq!(bench.step(again), Err(Refusal::SecondResult));
}

#[test]
fn a_late_result_counts_in_the_quorum() {
    let mut bench = asked(2, replicated(2, 2));
    bench.say(1, 2, processing()).expect("heard");
    bench.tick(10);
    bench.answer(1, 1, digest(1)).expect("taken");
    let effects = bench.answer(1, 2, digest(1)).expect("taken");
    assert_eq!(ends(&effects), [success(1)]);
    assert_eq!((bench.row(1).failed, bench.row(1).late, bench.row(1).succeeded), (1, 1, 0));
    assert_eq!(bench.view(1).attempt, 2);
}

#[test]
fn a_quorum_of_one_is_a_race() {
    let mut bench = asked(3, replicated(3, 1));
    let effects = bench.deliver(1, 2).expect("taken");
    let lost = [(provider(1), Reason::QuorumReached), (provider(3), Reason::QuorumReached)];
    let mut withdrawn = withdrawals(&effects);
    withdrawn.sort_by_key(|(provider, _)| *provider);
    assert_eq!(withdrawn, lost);
    assert_eq!((ends(&effects), verdicts(&effects)), (vec![success(2)], vec![]));
}

#[test]
fn cancelling_and_expiry_end_every_lease() {
    let mut bench = asked(2, replicated(2, 2));
    let effects = bench.cancel(1, 1).expect("cancelled");
    assert_eq!(withdrawals(&effects).len(), 2);
    let mut bench = asked(2, Request { deadline_ms: Some(8), ..replicated(2, 2) });
    bench.answer(1, 1, digest(1)).expect("taken");
    let effects = bench.tick(8);
    assert_eq!(withdrawals(&effects), [(provider(2), Reason::Expired)]);
    assert_eq!(ends(&effects).len(), 1);
    assert_eq!(bench.row(1).succeeded + bench.row(1).failed, 0);
}

#[test]
fn numbers_within_the_tolerance_are_one_answer() {
    let near = Validation::Tolerance { abs: 2, rel_ppm: 0 };
    let mut bench = asked(3, Request { validate: near, ..replicated(3, 2) });
    bench.answer(1, 1, numbers(&[100, -5])).expect("taken");
    bench.answer(1, 2, numbers(&[103, -5])).expect("taken");
    let effects = bench.answer(1, 3, numbers(&[105, -3])).expect("taken");
    assert_eq!(ends(&effects), [success(2)]);
    assert_eq!(verdicts(&effects)[0], (provider(1), Verdict::Outlier));
}

#[test]
fn an_answer_that_cannot_be_compared_is_refused() {
    let mut bench = asked(2, replicated(2, 2));
    let validate = Validation::Exact;
    for unfit in [Answer::Unread, numbers(&[1])] {
        assert_eq!(bench.answer(1, 1, unfit), Err(Refusal::UnfitAnswer { validate }));
    }
    let validate = Validation::Tolerance { abs: 0, rel_ppm: 0 };
    let mut bench = asked(2, Request { validate, ..replicated(2, 2) });
    for unfit in
        [digest(1), numbers(&[]), numbers(&[0; NUMBERS_MAX + 1]), numbers(&[NUMBER_MAX + 1]), numbers(&[i128::MIN])]
    {
        assert_eq!(bench.answer(1, 1, unfit), Err(Refusal::UnfitAnswer { validate }));
    }
    bench.answer(1, 1, numbers(&[NUMBER_MAX])).expect("taken");
    bench.answer(1, 2, numbers(&[-NUMBER_MAX])).expect("taken, and far apart");
    assert_eq!(bench.status(1), Status::Validating);
}

#[test]
fn replicas_are_bounded_and_bring_attempts() {
    let mut bench = Bench::with(Config { replicas_max: 3, ..config() });
    assert_eq!(bench.try_ask(1, 1, replicated(4, 2)), Err(Refusal::TooManyReplicas { max: 3 }));
    bench.ask(1, replicated(3, 2));
    assert_eq!(bench.scheduler.state().jobs()[&job(1)].terms.attempts, 5);
}

#[test]
fn a_journal_and_a_checkpoint_restore_a_half_decided_job() {
    let mut bench = asked(4, replicated(3, 2));
    bench.say(1, 1, processing()).expect("heard");
    bench.answer(1, holders(&bench)[1], digest(1)).expect("taken");
    for records in [bench.journal.clone(), bench.scheduler.checkpoint()] {
        let restored = Scheduler::restore(config(), records.into_iter()).expect("restored");
        assert_eq!(restored.state(), bench.scheduler.state());
    }
}
