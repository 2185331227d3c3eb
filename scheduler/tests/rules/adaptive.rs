//! A trusted provider's result needs no second opinion, but for an audit now and then.

use crate::bench::*;
use mercato_scheduler::adaptive::{TRUSTED_AFTER, is_audited};
use mercato_scheduler::*;

fn adaptive() -> Request {
    Request { replicas: 2, quorum: 2, adaptive: true, attempts: Some(4), ..request() }
}

fn digest(n: u8) -> Answer {
    Answer::Digest([n; 32])
}

/// Three providers, of which everybody has room for all jobs.
fn three() -> Bench {
    let mut bench = Bench::with(Config { default_slots: 100, ended_retention_ms: 100_000, ..config() });
    (1..=3).for_each(|n| drop(bench.online(n, advert(None))));
    bench
}

/// Job `n`, done by those who hold leases until it ends; how many results it took.
fn run(bench: &mut Bench, n: u8, request: Request) -> usize {
    bench.ask(n, request);
    for nth in 0..8_u8 {
        let Some(ProviderId([holder, ..])) = bench.holder(n) else { break };
        let delivery = Input::Result {
            job: job(n),
            provider: provider(holder),
            lease: None,
            result: ResultId([n, nth, holder].repeat(11)[..32].try_into().expect("32 bytes")),
            kind: KIND + 1_000,
            answer: digest(0),
        };
        bench.step(delivery).expect("taken");
    }
    assert_eq!(bench.status(n), Status::Succeeded);
    bench.scheduler.state().jobs()[&job(n)].submissions.len()
}

/// Everybody has a streak of at least `TRUSTED_AFTER`.
fn trusted() -> (Bench, u8) {
    let mut bench = three();
    for n in 0..60 {
        run(&mut bench, n, Request { adaptive: false, replicas: 3, quorum: 3, ..adaptive() });
        if (1..=3).all(|who| bench.row(who).streak >= TRUSTED_AFTER) {
            return (bench, n + 1);
        }
    }
    panic!("nobody came to be trusted");
}

#[test]
fn newcomers_are_compared_with_one_another() {
    let mut bench = three();
    let effects = bench.ask(1, adaptive());
    assert_eq!(leases(&effects).len(), 1, "whether a second is needed depends on the first");
    let Some(ProviderId([first, ..])) = bench.holder(1) else { panic!("leased") };
    let effects = bench.answer(1, first, digest(7)).expect("taken");
    assert_eq!(leases(&effects).len(), 1);
    let Some(ProviderId([second, ..])) = bench.holder(1) else { panic!("leased again") };
    bench.answer(1, second, digest(7)).expect("taken");
    assert_eq!((bench.status(1), bench.row(first).streak, bench.row(second).streak), (Status::Succeeded, 1, 1));
}

#[test]
fn a_trusted_providers_result_is_enough_unless_the_seed_says_audit() {
    let (mut bench, next) = trusted();
    let (mut single, mut audited) = (0, 0);
    for n in next..next + 120 {
        bench.ask(n, adaptive());
        let Some(ProviderId([holder, ..])) = bench.holder(n) else { panic!("leased") };
        let streak = bench.row(holder).streak;
        bench
            .step(Input::Result {
                job: job(n),
                provider: provider(holder),
                lease: None,
                result: ResultId([n, 99, holder].repeat(11)[..32].try_into().expect("32 bytes")),
                kind: KIND + 1_000,
                answer: digest(0),
            })
            .expect("taken");
        let over = bench.status(n) == Status::Succeeded;
        assert_eq!(over, !is_audited(job(n), 1, streak), "anybody can tell which are audited");
        *(if over { &mut single } else { &mut audited }) += 1;
    }
    assert!(single > 80 && audited > 0, "{single} believed, {audited} audited");
}

#[test]
fn one_outlier_ends_the_trust() {
    let (mut bench, next) = trusted();
    bench.ask(next, Request { adaptive: false, replicas: 3, quorum: 2, ..adaptive() });
    bench.answer(next, 1, digest(66)).expect("a lie");
    bench.answer(next, 2, digest(0)).expect("taken");
    bench.answer(next, 3, digest(0)).expect("taken");
    assert_eq!((bench.row(1).streak, bench.row(2).streak >= TRUSTED_AFTER), (0, true));
}

#[test]
fn adaptive_validation_without_a_quorum_is_refused() {
    let mut bench = three();
    let alone = Request { quorum: 1, ..adaptive() };
    assert_eq!(bench.try_ask(1, 1, alone), Err(Refusal::InvalidRequest(Flaw::AdaptiveAlone)));
}
