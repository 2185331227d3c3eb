//! Every record survives being written and read, and what was not written by us is refused.

use mercato::market::journal::{Entry, EntryError, decode, encode};
use mercato_scheduler::*;

const JOB: JobId = JobId([1; 32]);
const PROVIDER: ProviderId = ProviderId([2; 32]);
const CUSTOMER: CustomerId = CustomerId([3; 32]);

fn requirement(op: Op) -> Requirement {
    let values = vec![Value::Int(i64::MIN), Value::Int(i64::MAX), Value::Text("é\n".to_owned())];
    Requirement { attribute: "vram_mb".to_owned(), op, values }
}

fn request() -> Request {
    let ops = [Op::Equal, Op::NotEqual, Op::Less, Op::LessOrEqual, Op::Greater, Op::GreaterOrEqual, Op::In, Op::Has];
    Request {
        bid_msat: Some(u64::MAX),
        require: ops.into_iter().map(requirement).collect(),
        rank: vec![
            Rank { attribute: "price".to_owned(), order: Order::Asc },
            Rank { attribute: "n".to_owned(), order: Order::Desc },
        ],
        input_count: u32::MAX,
        input_bytes: u64::MAX,
        params: vec![("k".to_owned(), Value::Int(1))],
        providers: vec![PROVIDER],
        inputs: vec![Upstream { job: JOB, result: None }, Upstream { job: JOB, result: Some(ResultId([5; 32])) }],
        panel: Some(Panel { validators: 3, quorum: 2, bid_msat: 1 }),
        examines: Some(JOB),
        barred: vec![PROVIDER],
        auction: Some(Auction { window_ms: 1, rule: Rule::SecondPrice }),
        dispatch: Dispatch::Open,
        may_open: true,
        accept_timeout_ms: Some(1),
        run_timeout_ms: None,
        pay_timeout_ms: Some(300),
        heartbeat_timeout_ms: Some(70_000),
        attempts: Some(u32::MAX),
        replicas: 3,
        quorum: 2,
        validate: Validation::Tolerance { abs: i128::MAX, rel_ppm: 1 },
        adaptive: true,
        deadline_ms: Some(u64::MAX),
        ..Request::new(u16::MAX)
    }
}

fn advert() -> Advert {
    Advert {
        kinds: vec![Offer { kind: 5050, price_msat: None }, Offer { kind: 5999, price_msat: Some(0) }],
        caps: vec![("model".to_owned(), Value::Text(String::new())), ("n".to_owned(), Value::Int(-1))],
        accept: vec![requirement(Op::Has)],
        slots: Some(0),
    }
}

fn terms() -> Terms {
    Terms {
        accept_ms: 1,
        run_ms: 2,
        pay_ms: 3,
        heartbeat_ms: None,
        attempts: 4,
        deadline_ms: u64::MAX,
        open_at_ms: Some(5),
        customer_rank: 12,
        span: Span { start: 1, end: u64::MAX },
    }
}

fn reasons() -> Vec<Reason> {
    let all = vec![
        Reason::AcceptTimeout,
        Reason::RunTimeout,
        Reason::HeartbeatTimeout,
        Reason::Disconnected,
        Reason::Error("out of memory".to_owned()),
        Reason::Unpaid,
        Reason::LateResultWon,
        Reason::Outrun,
        Reason::QuorumReached,
        Reason::NoQuorum,
        Reason::Cancelled,
        Reason::Expired,
        Reason::GaveUpWaiting("other work".to_owned()),
        Reason::Rejected,
    ];
    // A new reason does not compile here until it stands above.
    for reason in &all {
        match reason {
            Reason::AcceptTimeout
            | Reason::RunTimeout
            | Reason::HeartbeatTimeout
            | Reason::Disconnected
            | Reason::Error(_)
            | Reason::Unpaid
            | Reason::LateResultWon
            | Reason::Outrun
            | Reason::QuorumReached
            | Reason::NoQuorum
            | Reason::Cancelled
            | Reason::Expired
            | Reason::GaveUpWaiting(_)
            | Reason::Rejected => {}
        }
    }
    all
}

fn ends() -> [End; 4] {
    [End::Succeeded { result: ResultId([9; 32]) }, End::Failed, End::Cancelled, End::Expired]
}

fn leases() -> Vec<Lease> {
    let phases = [
        Phase::Offered { accept_by_ms: 9 },
        Phase::Running { run_by_ms: 9, heartbeat_by_ms: None },
        Phase::AwaitingPayment { amount_msat: Some(1), pay_by_ms: 2, run_left_ms: 3 },
    ];
    let lease = |phase| Lease {
        number: u64::MAX,
        provider: PROVIDER,
        attempt: 2,
        since_ms: 5,
        agreed_msat: Some(7),
        run_ms: 7,
        worked_ms: 8,
        working_since_ms: Some(9),
        grace_until_ms: Some(6),
        straggles_at_ms: Some(7),
        phase,
        accepted_ms: Some(8),
    };
    phases.map(lease).into()
}

fn answers() -> [Answer; 3] {
    [Answer::Unread, Answer::Digest([8; 32]), Answer::Numbers(vec![i128::MIN, 0, i128::MAX])]
}

fn submissions() -> Vec<Submission> {
    let verdicts = [None, Some(Verdict::Pass), Some(Verdict::Outlier)];
    let submission = |(answer, verdict)| Submission {
        provider: PROVIDER,
        result: ResultId([7; 32]),
        lease: Some(3),
        attempt: 1,
        late: true,
        at_ms: 4,
        ran_ms: 3,
        low: 120,
        answer,
        verdict,
        accepted_ms: Some(2),
    };
    answers().into_iter().zip(verdicts).map(submission).collect()
}

fn stages() -> Vec<Stage> {
    let ended = |end| Stage::Ended { end, provider: Some(PROVIDER), at_ms: 7, forget_at_ms: 8 };
    [Stage::Active].into_iter().chain(ends().map(ended)).collect()
}

fn receipt() -> Receipt {
    let marks = Marks { receipt: [1; 32], payment_hash: [2; 32], request: [3; 32] };
    Receipt { marks, provider: PROVIDER, msat: 5, counts: true, confirmed: false }
}

fn job(stage: Stage) -> Job {
    let attempt = |reason| Attempt { number: 1, provider: PROVIDER, lease: 1, since_ms: 1, reason, ended_at_ms: 2 };
    let quotes = vec![Quote { provider: PROVIDER, msat: u64::MAX, agreed: true }];
    Job {
        id: JOB,
        customer: CUSTOMER,
        request: Box::new(request()),
        terms: terms(),
        arrival: 3,
        arrived_ms: 4,
        rests_until_ms: Some(5),
        bidding: Bidding {
            until_ms: Some(1),
            is_over: false,
            bids: vec![Bid { provider: PROVIDER, amount_msat: 300, said: vec![ResultId([5; 32])] }],
        },
        failed_input: Some(JOB),
        backup: Some(Backup { of: 1, lease: Some(2) }),
        leases: leases(),
        attempts: reasons().into_iter().map(attempt).collect(),
        submissions: submissions(),
        stage,
        examination: Some(Examination { until_ms: 1, by: Some(JOB) }),
        examined: Some(Finding::Unvalidated),
        money: Money { quotes, receipts: vec![receipt()], bill: Bill::Due { msat: 1, pay_by_ms: 2 } },
    }
}

fn tally() -> Tally {
    let evidence = Evidence { good: 1, bad: u64::MAX };
    let shares = [([5; 32], evidence)].into();
    Tally { as_of_ms: 1, shares, newcomers: evidence, others: evidence, sum: evidence }
}

fn customer() -> Customer {
    let served_by = [PROVIDER].into();
    Customer { id: CUSTOMER, heard_ms: 1, tally: tally(), served_by, paid: 1, late: 2, unpaid: 3, settled_msat: 4 }
}

fn providers() -> Vec<Provider> {
    let presences =
        [Presence::Online, Presence::Seen { until_ms: 1 }, Presence::Offline { since_ms: 1, grace_until_ms: u64::MAX }];
    let row = |presence| Provider {
        id: PROVIDER,
        advert: Some(advert()),
        walk_in: true,
        slots: 1,
        presence,
        leases: [JOB, JobId([4; 32])].into(),
        succeeded: 1,
        failed: u32::MAX,
        streak: 3,
        late: 0,
        outliers: 2,
        settled_msat: u64::MAX,
        reputation: Reputation { tallies: [(5050, tally())].into() },
        served: [CUSTOMER].into(),
        paces: [(5050, quantile::Pace::default())].into(),
    };
    presences.map(row).into()
}

/// Every variant of `Fact`, with every variant inside.
fn facts() -> Vec<Fact> {
    let provider = PROVIDER;
    let mut facts = vec![
        Fact::Advertised { provider, advert: advert(), slots: 3 },
        Fact::Unadvertised { provider },
        Fact::Seen { provider, until_ms: 1 },
        Fact::Lapsed { provider },
        Fact::CameOnline { provider },
        Fact::WentOffline { provider, grace_until_ms: 1 },
        Fact::Restarted { grace_until_ms: 1 },
        Fact::ProviderForgotten { provider },
        Fact::Requested { job: JOB, customer: CUSTOMER, request: Box::new(request()), terms: terms() },
        Fact::Leased { job: JOB, provider, lease: 1, accept_by_ms: 2, run_ms: 3, agreed_msat: Some(4) },
        Fact::Ran { job: JOB, lease: 3, run_by_ms: 1, heartbeat_by_ms: Some(2), straggles_at_ms: None },
        Fact::PaymentAsked { job: JOB, lease: 3, amount_msat: None, pay_by_ms: 1, run_left_ms: 2 },
        Fact::Forgotten { job: JOB },
        Fact::CountersRestored { next_lease: 1, next_arrival: 2 },
        Fact::BidsOpened { job: JOB, until_ms: 3 },
        Fact::Bade { job: JOB, provider, offer: ResultId([5; 32]), amount_msat: 300 },
        Fact::BidsClosed { job: JOB },
        Fact::Examining { job: JOB, until_ms: 3 },
        Fact::Examined { job: JOB, found: Some(Verdict::Copy), rejected: vec![ResultId([5; 32])] },
        Fact::InputCame { job: JOB, input: JobId([4; 32]), result: ResultId([5; 32]) },
        Fact::InputFailed { job: JOB, input: JobId([4; 32]) },
        Fact::Straggled { job: JOB, lease: 3 },
        Fact::Rested { job: JOB, until_ms: 3 },
        Fact::Woke { job: JOB },
        Fact::RunsRestored { kind: 5050, pace: quantile::Pace::default() },
        Fact::Listened { provider, kinds: vec![5050, 5999], slots: 1 },
        Fact::Waited { job: JOB, open_at_ms: 1 },
        Fact::Opened { job: JOB },
        Fact::Believed { job: JOB, enough: true },
        Fact::QueueRestored { kind: 5050, now: 1, ends: vec![(CUSTOMER, 2)] },
    ];
    facts.extend(reasons().into_iter().map(|reason| Fact::LeaseEnded { job: JOB, lease: 4, reason }));
    let (job_id, result) = (JOB, ResultId([6; 32]));
    facts.extend(answers().map(|answer| Fact::Submitted { job: job_id, provider, result, answer, low: 120 }));
    let verdicts = || vec![Verdict::Pass, Verdict::Outlier];
    let ended = |end| Fact::Ended { job: JOB, end, provider: Some(provider), verdicts: verdicts(), forget_at_ms: 1 };
    facts.extend(ends().map(ended));
    facts.extend(providers().into_iter().map(|row| Fact::ProviderRestored(Box::new(row))));
    facts.extend(stages().into_iter().map(|stage| Fact::JobRestored(Box::new(job(stage)))));
    facts.extend([
        Fact::Quoted { job: JOB, provider, msat: 1 },
        Fact::Paid { job: JOB, receipt: receipt() },
        Fact::Confirmed { job: JOB, payment_hash: [4; 32] },
        Fact::Billed { job: JOB, msat: 1, pay_by_ms: 2, forget_at_ms: 3 },
        Fact::Settled { job: JOB, msat: 1, late: true },
        Fact::WentUnpaid { job: JOB },
    ]);
    facts.push(Fact::HalfLifeSet { half_life_ms: 1 });
    facts.push(Fact::CustomerForgotten { customer: CUSTOMER });
    facts.push(Fact::CustomerRestored(Box::new(customer())));
    facts
}

/// The place of a variant in the stored format. A new variant does not compile here until it has one.
fn place(fact: &Fact) -> u8 {
    match fact {
        Fact::Advertised { .. } => 0,
        Fact::Unadvertised { .. } => 1,
        Fact::Seen { .. } => 2,
        Fact::Lapsed { .. } => 3,
        Fact::CameOnline { .. } => 4,
        Fact::WentOffline { .. } => 5,
        Fact::Restarted { .. } => 6,
        Fact::ProviderForgotten { .. } => 7,
        Fact::Requested { .. } => 8,
        Fact::Leased { .. } => 9,
        Fact::Ran { .. } => 10,
        Fact::PaymentAsked { .. } => 11,
        Fact::LeaseEnded { .. } => 12,
        Fact::Submitted { .. } => 13,
        Fact::Ended { .. } => 14,
        Fact::Forgotten { .. } => 15,
        Fact::CountersRestored { .. } => 16,
        Fact::ProviderRestored(_) => 17,
        Fact::JobRestored(_) => 18,
        Fact::HalfLifeSet { .. } => 19,
        Fact::CustomerForgotten { .. } => 20,
        Fact::CustomerRestored(_) => 21,
        Fact::BidsOpened { .. } => 22,
        Fact::Bade { .. } => 23,
        Fact::BidsClosed { .. } => 24,
        Fact::InputCame { .. } => 25,
        Fact::InputFailed { .. } => 26,
        Fact::Straggled { .. } => 27,
        Fact::Rested { .. } => 28,
        Fact::Woke { .. } => 29,
        Fact::RunsRestored { .. } => 30,
        Fact::Quoted { .. } => 31,
        Fact::Paid { .. } => 32,
        Fact::Confirmed { .. } => 33,
        Fact::Billed { .. } => 34,
        Fact::Settled { .. } => 35,
        Fact::WentUnpaid { .. } => 36,
        Fact::Listened { .. } => 37,
        Fact::Waited { .. } => 38,
        Fact::Believed { .. } => 39,
        Fact::Opened { .. } => 40,
        Fact::QueueRestored { .. } => 41,
        Fact::Examining { .. } => 42,
        Fact::Examined { .. } => 43,
    }
}

#[test]
fn every_record_reads_back_as_it_was_written() {
    let mut places = std::collections::BTreeSet::new();
    for fact in facts() {
        places.insert(place(&fact));
        let record = Record { at_ms: u64::MAX, fact };
        assert_eq!(decode(&encode(&record)).unwrap(), Entry::Record(record));
    }
    assert_eq!(places, (0..44).collect(), "a variant has no example");
}

#[test]
fn an_entry_is_its_format_then_the_time_then_the_variant() {
    for fact in facts() {
        let entry = encode(&Record { at_ms: 5, fact: fact.clone() });
        assert_eq!(entry[..3], [2, 5, place(&fact)], "{fact:?}");
    }
}

#[test]
fn a_known_entry_reads_as_ever() {
    let entry = [&[2, 0x90, 0x4e, 9][..], &[1; 32], &[2; 32], &[7, 0xac, 0x02, 0xd8, 0x04, 0]].concat();
    let fact =
        Fact::Leased { job: JOB, provider: PROVIDER, lease: 7, accept_by_ms: 300, run_ms: 600, agreed_msat: None };
    assert_eq!(decode(&entry).unwrap(), Entry::Record(Record { at_ms: 10_000, fact }));
}

#[test]
fn what_is_not_an_entry_is_refused() {
    let whole = encode(&Record { at_ms: 1, fact: Fact::Unadvertised { provider: PROVIDER } });
    assert!(matches!(decode(&[]), Err(EntryError::Format { found: 0 })));
    assert!(matches!(decode(&[1]), Err(EntryError::Format { found: 1 })));
    assert!(matches!(decode(&[2, 0, 200]), Err(EntryError::Damaged(_))));
    for end in 1..whole.len() {
        assert!(matches!(decode(&whole[..end]), Err(EntryError::Damaged(_))), "cut at {end}");
    }
    let longer = [whole, vec![0]].concat();
    assert!(matches!(decode(&longer), Err(EntryError::TooLong(1))));
}
