//! What holds for every sequence of inputs.

use crate::bench::*;
use crate::twin::{announced, naive_choice};
use mercato_scheduler::*;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn small_config() -> Config {
    Config { jobs_max: 12, jobs_per_customer_max: 8, providers_max: 6, ended_max: 4, ..config() }
}

fn any_provider() -> impl Strategy<Value = ProviderId> {
    (0..8u8).prop_map(provider)
}

fn any_job() -> impl Strategy<Value = JobId> {
    (0..16u8).prop_map(job)
}

fn any_kind() -> impl Strategy<Value = u16> {
    KIND..KIND + 3
}

pub fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![(0..3i64).prop_map(Value::Int), "[ab]".prop_map(Value::Text)]
}

fn any_advert() -> impl Strategy<Value = Advert> {
    let offer = (any_kind(), of(0..4u64)).prop_map(|(kind, price_msat)| Offer { kind, price_msat });
    let cap = ("[xy]", any_value());
    (vec(offer, 0..4), vec(cap, 0..4), any_conditions(), of(0..4u32)).prop_map(|(kinds, caps, accept, slots)| Advert {
        kinds,
        caps,
        accept,
        slots,
    })
}

fn any_op() -> impl Strategy<Value = Op> {
    prop::sample::select(vec![
        Op::Equal,
        Op::NotEqual,
        Op::Less,
        Op::LessOrEqual,
        Op::Greater,
        Op::GreaterOrEqual,
        Op::In,
        Op::Has,
    ])
}

/// Conditions on a job, most of which most jobs meet.
pub fn any_conditions() -> impl Strategy<Value = Vec<Requirement>> {
    let on = |name: &'static str, op, value| requirement(name, op, &[value]);
    let condition = prop_oneof![
        3 => (0..3i64).prop_map(move |bid| on("bid", Op::GreaterOrEqual, Value::Int(bid))),
        2 => (1..3i64).prop_map(move |most| on("replicas", Op::LessOrEqual, Value::Int(most))),
        1 => (0..3u16).prop_map(move |kind| on("kind", Op::NotEqual, Value::Int(i64::from(KIND + kind)))),
        1 => (11..14i64).prop_map(move |rank| on("customer.rank", Op::GreaterOrEqual, Value::Int(rank))),
        2 => any_value().prop_map(move |value| on("param.x", Op::NotEqual, value)),
        1 => (6..9i64).prop_map(move |most| on("input.bytes", Op::LessOrEqual, Value::Int(most))),
        1 => ("[xy]", any_value()).prop_map(|(name, value)| requirement(&name, Op::Equal, &[value])),
    ];
    prop_oneof![3 => Just(vec![]), 1 => vec(condition, 1..3)]
}

pub fn any_ranks() -> impl Strategy<Value = Vec<Rank>> {
    let order = prop_oneof![Just(Order::Asc), Just(Order::Desc)];
    let rank = ("[xyn]|price", order).prop_map(|(attribute, order)| Rank { attribute, order });
    prop_oneof![2 => Just(vec![]), 1 => vec(rank, 1..3)]
}

pub fn any_params() -> impl Strategy<Value = Vec<(String, Value)>> {
    vec(("[xy]", any_value()), 0..3)
}

pub fn any_requirement() -> impl Strategy<Value = Requirement> {
    ("[xy]", any_op(), vec(any_value(), 0..3)).prop_map(|(attribute, op, values)| Requirement { attribute, op, values })
}

fn any_request() -> impl Strategy<Value = Request> {
    let who = (
        any_kind(),
        of(0..4u64),
        (vec(any_requirement(), 0..2), any_ranks(), any_params()),
        prop_oneof![3 => Just(vec![]), 1 => vec(any_job(), 1..4)],
        prop_oneof![3 => Just(vec![]), 1 => vec(any_provider(), 1..4)],
        prop_oneof![6 => Just(Dispatch::Leased), 1 => Just(Dispatch::Open)],
    );
    let times = (of(1..30u64), of(1..60u64), of(1..60u64), of(1..30u64), of(0..4u32), of(0..900u64));
    let replication = prop_oneof![
        3 => Just((1, 1, Validation::Exact)),
        3 => (1..4u32, 0..4u32, any_validation()),
    ];
    (who, times, replication).prop_map(|((kind, bid_msat, wishes, inputs, providers, dispatch), times, replication)| {
        let (replicas, quorum, validate) = replication;
        let (require, rank, params) = wishes;
        let (accept, run, pay, heartbeat, attempts, deadline_ms) = times;
        Request {
            auction: (bid_msat == Some(2)).then_some(Auction { window_ms: 7, rule: Rule::SecondPrice }),
            kind,
            bid_msat,
            require,
            rank,
            input_count: 1,
            input_bytes: 7,
            params,
            providers,
            inputs: inputs.into_iter().map(|job| Upstream { job, result: None }).collect(),
            dispatch,
            may_open: attempts.is_none(),
            replicas,
            quorum,
            validate,
            adaptive: bid_msat.is_some_and(|bid| bid > 1) && quorum > 1,
            accept_timeout_ms: accept,
            run_timeout_ms: run,
            pay_timeout_ms: pay,
            heartbeat_timeout_ms: heartbeat,
            attempts,
            deadline_ms,
            panel: (bid_msat == Some(3)).then_some(Panel { validators: replicas, quorum, bid_msat: 1 }),
            examines: None,
            barred: Vec::new(),
        }
    })
}

fn any_validation() -> impl Strategy<Value = Validation> {
    let tolerance = (0..3i128, 0..2u32).prop_map(|(abs, share)| {
        let rel_ppm = share * 250_000;
        Validation::Tolerance { abs, rel_ppm }
    });
    prop_oneof![2 => Just(Validation::Exact), 1 => tolerance]
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        5 => (0..3u8).prop_map(|n| Answer::Digest([n; 32])),
        4 => vec(-4..9i128, 1..3).prop_map(Answer::Numbers),
        1 => Just(Answer::Unread),
        2 => Just(Answer::Verdict(Verdict::Pass)),
        2 => Just(Answer::Verdict(Verdict::Fail)),
    ]
}

fn any_feedback() -> impl Strategy<Value = Feedback> {
    prop_oneof![
        3 => Just(Feedback::Processing),
        1 => Just(Feedback::Partial),
        1 => Just(Feedback::Success),
        1 => "[a-z]{0,3}".prop_map(|reason| Feedback::Error { reason }),
        1 => (any::<u8>(), 0..4u64).prop_map(|(n, amount_msat)| Feedback::Offer { offer: result(n), amount_msat }),
        2 => of(0..3u64).prop_map(|amount_msat| Feedback::PaymentRequired { amount_msat }),
    ]
}

fn any_marks() -> impl Strategy<Value = Marks> {
    (0..40u8, 0..40u8, 0..40u8).prop_map(|(receipt, hash, request)| Marks {
        receipt: marks(receipt).receipt,
        payment_hash: marks(hash).payment_hash,
        request: marks(request).request,
    })
}

fn any_input() -> impl Strategy<Value = Input> {
    let lease = || prop_oneof![3 => Just(None), 1 => (0..12u64).prop_map(Some)];
    let kind = prop_oneof![6 => any_kind().prop_map(|kind| kind + 1_000), 1 => any_kind()];
    prop_oneof![
        3 => (any_provider(), any_advert())
            .prop_map(|(provider, advert)| Input::Advertise { provider, advert }),
        1 => any_provider().prop_map(|provider| Input::Unadvertise { provider }),
        1 => any_provider().prop_map(|provider| Input::Seen { provider }),
        4 => any_provider().prop_map(|provider| Input::Online { provider }),
        1 => any_provider().prop_map(|provider| Input::Offline { provider }),
        2 => (any_provider(), vec(any_kind(), 0..3)).prop_map(|(provider, kinds)| Input::Listen { provider, kinds }),
        6 => (any_job(), 0..3u8, any_request())
            .prop_map(|(job, n, request)| Input::Request { job, customer: customer(n), request }),
        12 => (any_job(), any_provider(), lease(), any_feedback())
            .prop_map(|(job, provider, lease, feedback)| {
                Input::Feedback { job, provider, lease, feedback }
            }),
        12 => (any_job(), any_provider(), lease(), any::<u8>(), kind, any_answer())
            .prop_map(|(job, provider, lease, n, kind, answer)| {
                Input::Result { job, provider, lease, result: result(n), kind, answer }
            }),
        1 => (any_job(), 0..3u8).prop_map(|(job, n)| Input::Cancel { job, by: customer(n) }),
        3 => (any_job(), any_provider(), 0..4u64).prop_map(|(job, provider, msat)| Input::Quoted { job, provider, msat }),
        8 => (any_job(), any_provider(), 0..3u8, 0..4u64, any_marks(), any::<bool>())
            .prop_map(|(job, provider, n, msat, marks, confirmed)| {
                Input::Claimed { job, provider, payer: customer(n), msat, marks, confirmed }
            }),
        1 => (any_job(), 0..40u8).prop_map(|(job, n)| Input::Confirmed { job, payment_hash: marks(n).payment_hash }),
        2 => (any_job(), any_job()).prop_map(|(job, by)| Input::Examine { job, by }),
        1 => Just(Input::Restarted),
        6 => Just(Input::Tick),
    ]
}

/// Inputs, each with how far time moves before it; sometimes the clock goes back.
fn any_inputs() -> impl Strategy<Value = Vec<(i64, Input)>> {
    vec((prop_oneof![8 => 0..20i64, 1 => 20..200i64, 1 => -20..0i64], any_input()), 0..200)
}

/// Runs the inputs on the bench, which checks every invariant after each.
fn run(inputs: &[(i64, Input)]) -> (Bench, Vec<Result<Vec<Effect>, Refusal>>) {
    let mut bench = Bench::with(small_config());
    let mut answers = Vec::new();
    for (later_ms, input) in inputs {
        bench.now_ms = bench.now_ms.saturating_add_signed(*later_ms);
        answers.push(bench.step(input.clone()));
    }
    (bench, answers)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_journal_and_the_checkpoint_restore_the_live_state(inputs in any_inputs()) {
        let (bench, _) = run(&inputs);
        let restored = Scheduler::restore(small_config(), bench.journal.iter().cloned());
        let restored = restored.expect("restored");
        prop_assert_eq!(restored.state(), bench.scheduler.state());
        let rows = bench.scheduler.checkpoint();
        let restored = Scheduler::restore(small_config(), rows.into_iter());
        let restored = restored.expect("restored");
        prop_assert_eq!(restored.state(), bench.scheduler.state());
    }

    #[test]
    fn what_was_claimed_and_confirmed_never_shrinks(inputs in any_inputs()) {
        let mut bench = Bench::with(small_config());
        let mut known: BTreeMap<(JobId, ProviderId), (u64, u64)> = BTreeMap::new();
        for (later_ms, input) in inputs {
            bench.now_ms = bench.now_ms.saturating_add_signed(later_ms);
            let mut replayed = false;
            if let Input::Claimed { marks, .. } = &input {
                let live = bench.scheduler.state().jobs();
                let mut used = bench.journal.iter().filter_map(|row| {
                    let Fact::Paid { job, receipt } = &row.fact else { return None };
                    live.contains_key(job).then_some(receipt.marks)
                });
                replayed = used.any(|used| {
                    used.receipt == marks.receipt
                        || used.payment_hash == marks.payment_hash
                        || used.request == marks.request
                });
            }
            let answer = bench.step(input);
            prop_assert!(!replayed || answer.is_err());
            let jobs = bench.scheduler.state().jobs();
            known.retain(|(job, _), _| jobs.contains_key(job));
            for job in jobs.values() {
                for account in job.money.accounts() {
                    let now = (account.claimed_msat, account.confirmed_msat);
                    let before = known.insert((job.id, account.provider), now).unwrap_or_default();
                    prop_assert!(before.0 <= now.0 && before.1 <= now.1);
                }
            }
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_answers(inputs in any_inputs()) {
        let ((one, said), (two, said_again)) = (run(&inputs), run(&inputs));
        prop_assert_eq!(one.journal, two.journal);
        prop_assert_eq!(said, said_again);
    }

    #[test]
    fn every_end_is_told_once_and_every_job_ends(inputs in any_inputs()) {
        let (mut bench, answers) = run(&inputs);
        let mut told: Vec<JobId> = Vec::new();
        let note = |told: &mut Vec<JobId>, effects: &[Effect]| for effect in effects {
            match effect {
                Effect::AnnounceEnd { job, .. } => told.push(*job),
                Effect::AnnounceLease { .. }
                | Effect::AnnounceWithdrawal { .. }
                | Effect::AnnounceVerdict { .. }
                | Effect::AnnounceState { .. }
        | Effect::AnnouncePayment { .. }
        | Effect::OrderValidation { .. } => {}
            }
        };
        for effects in answers.iter().flatten() {
            note(&mut told, effects);
        }
        let end_ms = bench.now_ms + 10_000;
        while let Some(due_ms) = bench.scheduler.next_deadline_ms().filter(|at| *at < end_ms) {
            let effects = bench.tick(due_ms);
            note(&mut told, &effects);
        }
        let requested = bench.journal.iter().filter(|row| matches!(row.fact, Fact::Requested { .. }));
        prop_assert_eq!(requested.count(), told.len());
        prop_assert!(bench.scheduler.state().jobs().is_empty());
    }

    #[test]
    fn the_matcher_agrees_with_its_naive_twin(
        adverts in vec((any_advert(), any::<bool>(), 0..3usize), 1..8),
        requests in vec(any_request(), 1..12),
    ) {
        let mut bench = Bench::new();
        for (n, (advert, online, busy)) in (0..).zip(&adverts) {
            if *online {
                bench.step(Input::Online { provider: provider(n) }).expect("online");
            }
            bench.advertise(n, advert.clone());
            for past in 0..*busy {
                let id = 100 + n * 4 + u8::try_from(past).expect("small");
                let named = Request { providers: vec![provider(n)], ..request() };
                bench.ask(id, named);
                let answer = if past == 1 { bench.say(id, n, error("no")) } else { bench.deliver(id, n) };
                prop_assert!(matches!(answer, Ok(_) | Err(Refusal::NeverLeased)));
            }
        }
        for (n, request) in (0..).zip(&requests) {
            let wish = Request { dispatch: Dispatch::Leased, inputs: Vec::new(), auction: None, deadline_ms: None, replicas: 1, quorum: 1, ..request.clone() };
            let mut twin = Bench { scheduler: bench.scheduler.clone(), ..Bench::new() };
            let alone = Request { providers: vec![provider(200)], ..wish.clone() };
            let Ok(effects) = bench.try_ask(n, 1, wish.clone()) else { continue };
            // The twin knows the job without being able to place it, and sees the same directory.
            twin.ask(n, alone);
            let mut job = twin.scheduler.state().jobs()[&job(n)].clone();
            *job.request = wish;
            prop_assert_eq!(announced(&effects, job.id), naive_choice(twin.scheduler.state(), &job));
        }
    }
}
