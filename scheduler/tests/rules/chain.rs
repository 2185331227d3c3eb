//! Jobs that wait for the results of others.

use crate::bench::*;
use mercato_scheduler::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn after(inputs: &[u8]) -> Request {
    let inputs = inputs.iter().map(|n| Upstream { job: job(*n), result: None }).collect();
    Request { inputs, ..request() }
}

/// Many slots, so that a job waits for nothing but its inputs.
fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.online(1, advert_with(&[], 200));
    bench
}

fn inputs(effects: &[Effect]) -> Vec<Upstream> {
    let of = |effect: &Effect| match effect {
        Effect::AnnounceLease { inputs, .. } => Some(inputs.clone()),
        Effect::AnnounceWithdrawal { .. }
        | Effect::AnnounceVerdict { .. }
        | Effect::AnnouncePayment { .. }
        | Effect::OrderValidation { .. }
        | Effect::AnnounceEnd { .. }
        | Effect::AnnounceState { .. } => None,
    };
    effects.iter().find_map(of).expect("a lease")
}

fn failed_inputs(effects: &[Effect]) -> Vec<(JobId, Option<JobId>)> {
    let of = |effect: &Effect| match effect {
        Effect::AnnounceEnd { job, failed_input, .. } => Some((*job, *failed_input)),
        Effect::AnnounceLease { .. }
        | Effect::AnnounceWithdrawal { .. }
        | Effect::AnnounceVerdict { .. }
        | Effect::AnnouncePayment { .. }
        | Effect::OrderValidation { .. }
        | Effect::AnnounceState { .. } => None,
    };
    effects.iter().filter_map(of).collect()
}

/// Delivers job `n`, as result `n`.
fn finish(bench: &mut Bench, n: u8) -> Vec<Effect> {
    bench.deliver_as(n, 1, None, KIND + 1_000, n).expect("accepted")
}

#[test]
fn a_job_waits_for_its_input_and_gets_the_result_with_its_lease() {
    let mut bench = bench();
    bench.ask(1, request());
    assert_eq!(leases(&bench.ask(2, after(&[1]))), []);
    assert_eq!(bench.status(2), Status::Blocked);
    assert!(matches!(bench.deliver(2, 1), Err(Refusal::NeverLeased)));
    let effects = finish(&mut bench, 1);
    assert_eq!(leases(&effects), [(job(2), provider(1))]);
    assert_eq!(inputs(&effects), [Upstream { job: job(1), result: Some(result(1)) }]);
}

#[test]
fn a_diamond_waits_for_both_sides() {
    let mut bench = bench();
    bench.ask(1, request());
    bench.ask(2, after(&[1]));
    bench.ask(3, after(&[1]));
    bench.ask(4, after(&[2, 3, 2]));
    finish(&mut bench, 1);
    assert_eq!(leases(&finish(&mut bench, 3)), []);
    assert_eq!(bench.status(4), Status::Blocked);
    let effects = finish(&mut bench, 2);
    let expected = [2, 3].map(|n| Upstream { job: job(n), result: Some(result(n)) });
    assert_eq!(inputs(&effects), expected);
}

#[test]
fn a_failure_goes_down_the_whole_chain_and_is_told() {
    for how in ["cancelled", "failed", "expired"] {
        let mut bench = bench();
        bench.ask(1, Request { attempts: Some(1), deadline_ms: Some(900), ..request() });
        for n in 2..60 {
            bench.ask(n, Request { deadline_ms: Some(950), ..after(&[n - 1]) });
        }
        let effects = match how {
            "cancelled" => bench.cancel(1, 1).expect("cancelled"),
            "failed" => bench.say(1, 1, error("no")).expect("heard"),
            _ => bench.tick(900),
        };
        let mut told: Vec<_> = failed_inputs(&effects);
        assert_eq!(told.remove(0), (job(1), None));
        let expected: Vec<_> = (2..60).map(|n| (job(n), Some(job(n - 1)))).collect();
        told.sort_unstable();
        assert_eq!(told, expected, "{how}");
        assert_eq!(bench.status(59), Status::Failed);
    }
}

#[test]
fn what_ended_before_is_an_input_at_once_and_what_failed_before_is_refused() {
    let mut bench = bench();
    bench.ask(1, request());
    bench.ask(2, request());
    finish(&mut bench, 1);
    bench.cancel(2, 1).expect("cancelled");
    assert_eq!(inputs(&bench.ask(3, after(&[1]))), [Upstream { job: job(1), result: Some(result(1)) }]);
    assert_eq!(bench.try_ask(4, 1, after(&[1, 2])), Err(Refusal::InputFailed { input: job(2) }));
    // The relay may know what the scheduler has forgotten.
    let told = Upstream { job: job(90), result: Some(result(90)) };
    assert_eq!(inputs(&bench.ask(5, Request { inputs: vec![told], ..request() })), [told]);
}

#[test]
fn an_input_may_come_later_or_never() {
    let mut bench = bench();
    bench.ask(2, after(&[1]));
    bench.ask(3, after(&[9]));
    assert_eq!((bench.status(2), bench.status(3)), (Status::Blocked, Status::Blocked));
    bench.ask(1, request());
    assert_eq!(leases(&finish(&mut bench, 1)), [(job(2), provider(1))]);
    assert_eq!(ends(&bench.tick(1_000)).len(), 2);
    assert_eq!(bench.status(3), Status::Expired);
}

#[test]
fn who_waits_has_its_time_after_what_it_waits_for() {
    let mut bench = bench();
    bench.ask(1, Request { deadline_ms: Some(700), ..request() });
    bench.ask(2, after(&[1]));
    bench.ask(3, after(&[2]));
    assert_eq!((bench.view(2).deadline_ms, bench.view(3).deadline_ms), (1_700, 2_000));
}

#[test]
fn a_cycle_is_refused() {
    let mut bench = bench();
    assert_eq!(bench.try_ask(1, 1, after(&[1])), Err(Refusal::InputCycle));
    bench.ask(1, after(&[2]));
    bench.ask(2, after(&[3, 4]));
    assert_eq!(bench.try_ask(3, 1, after(&[1])), Err(Refusal::InputCycle));
    bench.ask(4, after(&[5]));
    assert_eq!(bench.try_ask(5, 1, after(&[6, 2])), Err(Refusal::InputCycle));
}

#[test]
fn inputs_are_bounded_and_for_leased_jobs_only() {
    let mut bench = bench();
    let many: Vec<u8> = (10..27).collect();
    assert_eq!(bench.try_ask(1, 1, after(&many)), Err(Refusal::InvalidRequest(Flaw::TooManyInputs)));
    let open = Request { dispatch: Dispatch::Open, ..after(&[2]) };
    assert_eq!(bench.try_ask(1, 1, open), Err(Refusal::InvalidRequest(Flaw::OpenInputs)));
}

#[test]
fn a_blocked_job_is_cancelled_like_any_other_and_wakes_nobody() {
    let mut bench = bench();
    bench.ask(1, request());
    bench.ask(2, after(&[1]));
    bench.cancel(2, 1).expect("cancelled");
    assert_eq!(leases(&finish(&mut bench, 1)), []);
    assert_eq!(bench.status(2), Status::Cancelled);
}

/// Ids for more jobs than a byte has.
fn wide(n: u64) -> JobId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.to_be_bytes());
    JobId(id)
}

#[test]
fn ten_thousand_dependants_are_told_piece_by_piece_and_their_input_is_remembered_till_then() {
    const DEPENDANTS: u64 = 10_000;
    let config = Config { jobs_per_customer_max: 20_000, ended_max: 1, ended_retention_ms: 1, ..config() };
    let mut scheduler = Scheduler::new(config);
    let ask = |scheduler: &mut Scheduler, n, inputs| {
        let request = Request { inputs, deadline_ms: Some(2_000), ..request() };
        scheduler.step(0, Input::Request { job: wide(n), customer: customer(1), request }).expect("taken");
    };
    ask(&mut scheduler, 0, vec![]);
    for n in 1..=DEPENDANTS {
        ask(&mut scheduler, n, vec![Upstream { job: wide(0), result: None }]);
    }
    let mut step = scheduler.step(1, Input::Cancel { job: wide(0), by: customer(1) }).expect("cancelled");
    let (mut told, mut steps) = (0, 0);
    while told < DEPENDANTS {
        assert!(step.records.len() < 1_000, "one step did {}", step.records.len());
        told += step.records.iter().filter(|row| matches!(row.fact, Fact::InputFailed { .. })).count() as u64;
        steps += 1;
        assert!(told == DEPENDANTS || scheduler.next_deadline_ms().is_some_and(|at_ms| at_ms <= 2));
        step = scheduler.step(2, Input::Tick).expect("ticked");
    }
    assert!(steps > 30);
    while scheduler.next_deadline_ms().is_some() {
        scheduler.step(10, Input::Tick).expect("ticked");
    }
    assert_eq!(scheduler.check(), Ok(()));
    assert!(scheduler.state().jobs().is_empty());
}

#[test]
fn a_chain_of_thousands_fails_from_end_to_end() {
    const LINKS: u64 = 3_000;
    let config = Config { jobs_per_customer_max: 20_000, ..config() };
    let mut scheduler = Scheduler::new(config);
    for n in 0..LINKS {
        let inputs = (n > 0).then(|| Upstream { job: wide(n - 1), result: None }).into_iter().collect();
        let request = Request { inputs, deadline_ms: Some(2_000), ..request() };
        scheduler.step(0, Input::Request { job: wide(n), customer: customer(1), request }).expect("taken");
    }
    scheduler.step(1, Input::Cancel { job: wide(0), by: customer(1) }).expect("cancelled");
    while scheduler.next_deadline_ms().is_some_and(|at_ms| at_ms < 100) {
        scheduler.step(2, Input::Tick).expect("ticked");
    }
    assert_eq!(scheduler.view(wide(LINKS - 1)).map(|view| view.status), Some(Status::Failed));
}

/// What happens to a job.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Asked,
    Succeeds,
    Cancelled,
    Restart,
}

const JOBS: u8 = 12;

/// Where each job stands, worked out anew from the story every time: whose inputs are all there is ready.
fn naive(asked: &BTreeMap<u8, Vec<u8>>, ended: &BTreeMap<u8, bool>) -> BTreeMap<u8, Status> {
    let mut stands: BTreeMap<u8, Status> = BTreeMap::new();
    // As often as there are jobs: a failure goes down one job at a time.
    for _ in 0..=JOBS {
        for (n, inputs) in asked {
            let is = |input: &u8, status| stands.get(input) == Some(&status);
            let lost = inputs.iter().any(|input| is(input, Status::Failed) || is(input, Status::Cancelled));
            let ready = inputs.iter().all(|input| is(input, Status::Succeeded));
            let status = match ended.get(n) {
                Some(true) => Status::Succeeded,
                Some(false) => Status::Cancelled,
                None if lost => Status::Failed,
                None if ready => Status::Leased,
                None => Status::Blocked,
            };
            stands.insert(*n, status);
        }
    }
    stands
}

fn any_story() -> impl Strategy<Value = Vec<(Happens, u8)>> {
    let happens = prop_oneof![
        4 => Just(Happens::Asked),
        4 => Just(Happens::Succeeds),
        1 => Just(Happens::Cancelled),
        1 => Just(Happens::Restart),
    ];
    vec((happens, 0..JOBS), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn jobs_stand_where_the_naive_twin_says(
        named in vec(vec(0..JOBS, 0..4), JOBS as usize),
        story in any_story(),
    ) {
        let mut bench = bench();
        let (mut asked, mut ended) = (BTreeMap::new(), BTreeMap::new());
        for (happens, n) in story {
            match happens {
                Happens::Asked => {
                    let inputs = named[usize::from(n)].clone();
                    if bench.try_ask(n, 1, after(&inputs)).is_ok() {
                        asked.insert(n, inputs);
                    }
                }
                Happens::Succeeds => {
                    if bench.deliver_as(n, 1, None, KIND + 1_000, n).is_ok() {
                        ended.insert(n, true);
                    }
                }
                Happens::Cancelled => {
                    let was_open = bench.scheduler.state().jobs().get(&job(n)).is_some_and(Job::is_open);
                    if bench.cancel(n, 1).is_ok() && was_open {
                        ended.insert(n, false);
                    }
                }
                Happens::Restart => {
                    let journal = bench.journal.clone().into_iter();
                    let restored = Scheduler::restore(config(), journal).expect("restored");
                    prop_assert_eq!(restored.state(), bench.scheduler.state());
                    let rows = bench.scheduler.checkpoint().into_iter();
                    let restored = Scheduler::restore(config(), rows).expect("restored");
                    prop_assert_eq!(restored.state(), bench.scheduler.state());
                    bench.scheduler = restored;
                }
            }
            let stands = asked.keys().map(|n| (*n, bench.status(*n))).collect::<BTreeMap<_, _>>();
            prop_assert_eq!(stands, naive(&asked, &ended));
        }
    }
}
