//! Validators look at a result before it is accepted.

use crate::bench::*;
use mercato_scheduler::*;

/// The number of the validators' job in these tests.
const ORDER: u8 = 77;

fn digest(n: u8) -> Answer {
    Answer::Digest([n; 32])
}

fn panel(validators: u32, quorum: u32) -> Request {
    Request { panel: Some(Panel { validators, quorum, bid_msat: 5 }), ..request() }
}

fn validator(price_msat: Option<u64>) -> Advert {
    Advert { kinds: vec![Offer { kind: VALIDATION_KIND, price_msat }], ..Advert::default() }
}

/// Providers 1 to 3 do jobs, and validate too; 4 to 7 only validate. Job 1 is asked for, and done by provider 1.
fn delivered(request: Request) -> Bench {
    let mut bench = Bench::with(Config { validation_timeout_ms: 200, ..config() });
    let both = Advert { kinds: [advert(None).kinds, validator(None).kinds].concat(), ..Advert::default() };
    (1..=3).for_each(|n| drop(bench.online(n, both.clone())));
    bench.ask(1, Request { providers: vec![provider(1), provider(2), provider(3)], ..request });
    bench
}

/// Has the order taken that the relay is asked for.
fn order(bench: &mut Bench, effects: &[Effect], by: u8) -> Vec<Effect> {
    let orders = effects.iter().filter(|effect| matches!(effect, Effect::OrderValidation { .. }));
    assert_eq!(orders.count(), 1, "{effects:?}");
    bench.step(Input::Examine { job: job(1), by: job(by) }).expect("ordered")
}

fn find(bench: &mut Bench, by: u8, verdict: Verdict) -> Result<Vec<Effect>, Refusal> {
    find_as(bench, ORDER, by, verdict)
}

fn find_as(bench: &mut Bench, order: u8, by: u8, verdict: Verdict) -> Result<Vec<Effect>, Refusal> {
    bench.step(Input::Result {
        job: job(order),
        provider: provider(by),
        lease: None,
        result: ResultId([by.wrapping_add(order); 32]),
        kind: VALIDATION_KIND + 1_000,
        answer: Answer::Verdict(verdict),
    })
}

fn holders(bench: &Bench, n: u8) -> Vec<u8> {
    let leases = &bench.scheduler.state().jobs()[&job(n)].leases;
    let mut holders: Vec<u8> = leases.iter().map(|lease| lease.provider.0[0]).collect();
    holders.sort_unstable();
    holders
}

fn told(effects: &[Effect], n: u8) -> Option<(End, Option<Finding>)> {
    effects.iter().find_map(|effect| {
        let Effect::AnnounceEnd { job: id, end, examined, .. } = effect else { return None };
        (*id == job(n)).then(|| (end.clone(), *examined))
    })
}

fn success(n: u8) -> End {
    End::Succeeded { result: result(n) }
}

/// Job 1 waits for this many validators, ordered as job `ORDER`; who did the job.
fn waiting(validators: u32, quorum: u32) -> (Bench, u8) {
    let mut bench = delivered(panel(validators, quorum));
    let Some(ProviderId([worker, ..])) = bench.holder(1) else { panic!("leased") };
    let effects = bench.deliver(1, worker).expect("taken");
    order(&mut bench, &effects, ORDER);
    (bench, worker)
}

#[test]
fn a_result_waits_for_a_validator_and_is_accepted_when_it_passes() {
    let (mut bench, worker) = waiting(1, 1);
    let view = bench.view(1);
    assert_eq!((view.status, view.result), (Status::Validating, None));
    assert_eq!(view.examination, Some(Examination { until_ms: 200, by: Some(job(ORDER)) }));
    let [validator] = holders(&bench, ORDER)[..] else { panic!("one validator") };
    assert_ne!(validator, worker, "nobody judges his own work");
    let effects = find(&mut bench, validator, Verdict::Pass).expect("found");
    assert_eq!(told(&effects, 1), Some((success(worker), Some(Finding::Passed))));
    assert_eq!(told(&effects, ORDER).map(|(_, examined)| examined), Some(None));
    assert_eq!(verdicts(&effects), [(provider(worker), Verdict::Pass)]);
    assert_eq!((bench.row(worker).succeeded, bench.row(validator).succeeded), (1, 1));
}

#[test]
fn what_validators_find_wrong_is_blamed_and_the_job_goes_to_another() {
    for verdict in [Verdict::Fail, Verdict::Outlier, Verdict::Copy] {
        let (mut bench, worker) = waiting(1, 1);
        let [validator] = holders(&bench, ORDER)[..] else { panic!("one validator") };
        let effects = find(&mut bench, validator, verdict).expect("found");
        assert_eq!(told(&effects, 1), None, "the job goes on");
        assert_eq!((bench.row(worker).failed, bench.row(worker).outliers), (1, 1));
        assert_eq!(verdicts(&effects), [(provider(worker), verdict)]);
        let [other] = holders(&bench, 1)[..] else { panic!("another provider") };
        assert_ne!(other, worker);
        for records in [bench.journal.clone(), bench.scheduler.checkpoint()] {
            let restored = Scheduler::restore(bench.scheduler.config().clone(), records.into_iter()).expect("restored");
            assert_eq!(restored.state(), bench.scheduler.state());
        }
        let effects = bench.deliver(1, other).expect("taken");
        order(&mut bench, &effects, 78);
        let [second] = holders(&bench, 78)[..] else { panic!("one validator") };
        assert!(second != worker && second != other, "who failed does not judge either");
        let effects = find_as(&mut bench, 78, second, Verdict::Pass).expect("found");
        assert_eq!(told(&effects, 1), Some((success(other), Some(Finding::Passed))));
        assert_eq!(verdicts(&effects), [(provider(other), Verdict::Pass)], "the other was told when it was found");
        assert_eq!(bench.row(worker).failed, 1, "blamed once");
    }
}

#[test]
fn without_attempts_left_a_rejected_job_fails_and_says_why() {
    let mut bench = delivered(Request { attempts: Some(1), ..panel(1, 1) });
    let Some(ProviderId([worker, ..])) = bench.holder(1) else { panic!("leased") };
    let effects = bench.deliver(1, worker).expect("taken");
    order(&mut bench, &effects, ORDER);
    let [validator] = holders(&bench, ORDER)[..] else { panic!("one validator") };
    let effects = find(&mut bench, validator, Verdict::Fail).expect("found");
    assert_eq!(told(&effects, 1), Some((End::Failed, None)));
    let reasons = effects.iter().find_map(|effect| {
        let Effect::AnnounceEnd { job: id, reasons, .. } = effect else { return None };
        (*id == job(1)).then(|| reasons.clone())
    });
    assert_eq!(reasons, Some(vec![(1, provider(worker), Reason::Rejected)]));
    assert_eq!(verdicts(&effects), [(provider(worker), Verdict::Fail)]);
}

#[test]
fn several_validators_decide_by_quorum_and_who_is_outvoted_is_an_outlier() {
    let (mut bench, worker) = waiting(3, 2);
    bench.online(4, validator(None));
    bench.online(5, validator(None));
    let held = holders(&bench, ORDER);
    assert_eq!(held.len(), 3);
    assert!(!held.contains(&worker));
    for (by, verdict) in held.iter().zip([Verdict::Fail, Verdict::Pass, Verdict::Pass]) {
        let effects = find(&mut bench, *by, verdict).expect("found");
        let ended = told(&effects, 1).is_some();
        assert_eq!(ended, *by == held[2]);
    }
    assert_eq!(bench.view(1).examined, Some(Finding::Passed));
    assert_eq!((bench.row(held[0]).outliers, bench.row(held[1]).outliers), (1, 0));
}

#[test]
fn validators_look_at_what_a_quorum_agrees_on_and_all_of_it_is_rejected() {
    let mut bench = delivered(Request { replicas: 2, quorum: 2, ..panel(1, 1) });
    let workers = holders(&bench, 1);
    bench.answer(1, workers[0], digest(7)).expect("taken");
    let effects = bench.answer(1, workers[1], digest(7)).expect("taken");
    order(&mut bench, &effects, ORDER);
    let [validator] = holders(&bench, ORDER)[..] else { panic!("one validator") };
    assert!(!workers.contains(&validator));
    find(&mut bench, validator, Verdict::Fail).expect("found");
    assert_eq!(workers.iter().map(|worker| bench.row(*worker).failed).sum::<u32>(), 2);
    assert_eq!(bench.status(1), Status::Leased, "others are asked");
    // What was rejected counts in no group any more.
    let [third] = holders(&bench, 1)[..] else { panic!("the third provider") };
    let effects = bench.answer(1, third, digest(7)).expect("taken");
    assert_eq!(told(&effects, 1), None);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::OrderValidation { .. })));
}

#[test]
fn without_validators_in_time_the_customer_gets_the_result_and_is_told() {
    // Nobody validates at this price.
    let mut bench = delivered(panel(1, 1));
    let dear = Advert { kinds: [advert(None).kinds, validator(Some(6)).kinds].concat(), ..Advert::default() };
    (1..=3).for_each(|n| drop(bench.advertise(n, dear.clone())));
    let Some(ProviderId([worker, ..])) = bench.holder(1) else { panic!("leased") };
    let effects = bench.deliver(1, worker).expect("taken");
    order(&mut bench, &effects, ORDER);
    assert_eq!(holders(&bench, ORDER), []);
    assert_eq!(told(&bench.tick(199), 1), None);
    let effects = bench.tick(200);
    assert_eq!(told(&effects, 1), Some((success(worker), Some(Finding::Unvalidated))));
    assert!(told(&effects, ORDER).is_some());
}

#[test]
fn an_order_that_never_comes_does_not_hold_the_job_up() {
    let mut bench = delivered(panel(1, 1));
    let Some(ProviderId([worker, ..])) = bench.holder(1) else { panic!("leased") };
    bench.deliver(1, worker).expect("taken");
    assert_eq!(told(&bench.tick(200), 1), Some((success(worker), Some(Finding::Unvalidated))));
    assert_eq!(bench.step(Input::Examine { job: job(1), by: job(ORDER) }), Err(Refusal::NotExamined));
}

#[test]
fn validators_take_half_of_the_time_that_is_left_at_most() {
    let mut bench = delivered(Request { deadline_ms: Some(100), ..panel(1, 1) });
    let Some(ProviderId([worker, ..])) = bench.holder(1) else { panic!("leased") };
    bench.at(20).deliver(1, worker).expect("taken");
    assert_eq!(bench.view(1).examination.map(|examination| examination.until_ms), Some(60));
}

#[test]
fn while_validators_look_no_result_is_taken_and_the_customer_may_cancel() {
    let mut bench = delivered(Request { replicas: 2, quorum: 1, ..panel(1, 1) });
    let workers = holders(&bench, 1);
    let effects = bench.deliver(1, workers[0]).expect("taken");
    assert_eq!(withdrawals(&effects), [(provider(workers[1]), Reason::QuorumReached)]);
    order(&mut bench, &effects, ORDER);
    assert_eq!(bench.deliver(1, workers[1]), Err(Refusal::UnderExamination));
    let effects = bench.cancel(1, 1).expect("cancelled");
    assert_eq!(told(&effects, 1), Some((End::Cancelled, None)));
    assert_eq!(told(&effects, ORDER), Some((End::Cancelled, None)));
}

#[test]
fn who_takes_the_order_back_gets_the_result_unvalidated() {
    let (mut bench, worker) = waiting(1, 1);
    let effects = bench.cancel(ORDER, 1).expect("cancelled");
    assert_eq!(told(&effects, 1), Some((success(worker), Some(Finding::Unvalidated))));
}

#[test]
fn a_validator_says_one_of_four_words() {
    let (mut bench, _) = waiting(1, 1);
    let [validator] = holders(&bench, ORDER)[..] else { panic!("one validator") };
    let (job, provider, lease, kind) = (job(ORDER), provider(validator), None, VALIDATION_KIND + 1_000);
    for answer in [Answer::Unread, digest(1), Answer::Numbers(vec![1])] {
        let input = Input::Result { job, provider, lease, result: result(99), kind, answer };
        assert_eq!(bench.step(input), Err(Refusal::UnfitAnswer { validate: Validation::Verdict }));
    }
}

#[test]
fn a_panel_that_cannot_be_and_an_order_by_a_customer_are_refused() {
    let mut bench = Bench::with(Config { replicas_max: 3, ..config() });
    let cases = [
        (panel(1, 2), Refusal::InvalidRequest(Flaw::WrongPanel)),
        (panel(1, 0), Refusal::InvalidRequest(Flaw::WrongPanel)),
        (panel(4, 1), Refusal::TooManyValidators { max: 3 }),
        (Request { dispatch: Dispatch::Open, ..panel(1, 1) }, Refusal::InvalidRequest(Flaw::OpenPanel)),
        (Request { examines: Some(job(9)), ..request() }, Refusal::InvalidRequest(Flaw::NotAnOrder)),
        (Request { validate: Validation::Verdict, ..request() }, Refusal::InvalidRequest(Flaw::WrongTolerance)),
    ];
    for (request, refusal) in cases {
        assert_eq!(bench.try_ask(1, 1, request), Err(refusal));
    }
    bench.ask(1, request());
    assert_eq!(bench.step(Input::Examine { job: job(1), by: job(2) }), Err(Refusal::NotExamined));
    assert_eq!(bench.step(Input::Examine { job: job(3), by: job(2) }), Err(Refusal::UnknownJob));
}
