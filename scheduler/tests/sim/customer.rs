//! What customers ask for.

use super::provider::KINDS;
use super::rng::Rng;
use super::truth::TOLERANCE;
use mercato_scheduler::{
    Auction, CustomerId, Dispatch, JobId, Op, Order, Panel, ProviderId, Rank, Request, Requirement, Rule, Upstream,
    Validation, Value,
};

pub fn customer_id(number: u64) -> CustomerId {
    let mut id = [0xcc; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    CustomerId(id)
}

pub fn customer_number(id: CustomerId) -> u64 {
    id.0.as_chunks::<8>().0.first().map_or(0, |word| u64::from_be_bytes(*word))
}

/// Job ids are as random as hashes: their first half tells them apart.
pub fn job_id(rng: &mut Rng) -> JobId {
    let mut id = [0; 32];
    for word in id.as_chunks_mut::<8>().0 {
        *word = rng.draw().to_be_bytes();
    }
    JobId(id)
}

pub fn request(now_ms: u64, providers: &[ProviderId], recent: &[JobId], rng: &mut Rng) -> Request {
    let named =
        if rng.chance(60) { (0..3).map(|_| providers[rng.index(providers.len())]).collect() } else { Vec::new() };
    let dispatch = if rng.chance(50) { Dispatch::Open } else { Dispatch::Leased };
    // Who names a walk-in, or does not insist on a lease, may be answered without one.
    let may_open = dispatch == Dispatch::Leased && rng.chance(300);
    let (replicas, quorum) = if dispatch == Dispatch::Leased && rng.chance(300) { replication(rng) } else { (1, 1) };
    let named = if quorum > 1 { Vec::new() } else { named };
    let adaptive = quorum > 1 && rng.chance(500);
    let near = Validation::Tolerance { abs: TOLERANCE, rel_ppm: 0 };
    let inputs = if dispatch == Dispatch::Leased { inputs(recent, rng) } else { Vec::new() };
    let rule = if rng.chance(500) { Rule::BestValue } else { Rule::SecondPrice };
    let auction = rng.maybe(120, 1_000, 30_000).map(|window_ms| Auction { window_ms, rule });
    let auction = auction.filter(|_| dispatch == Dispatch::Leased);
    let panel = (dispatch == Dispatch::Leased && !adaptive).then(|| panel(rng)).flatten();
    Request {
        panel,
        auction,
        inputs,
        may_open,
        adaptive,
        replicas,
        quorum,
        validate: if rng.chance(300) { near } else { Validation::Exact },
        bid_msat: rng.maybe(500, 100, 3_000),
        require: requirements(rng),
        rank: wishes(rng),
        providers: named,
        dispatch,
        accept_timeout_ms: rng.maybe(200, 2_000, 20_000),
        run_timeout_ms: rng.maybe(800, 20_000, 600_000),
        pay_timeout_ms: rng.maybe(500, 10_000, 120_000),
        heartbeat_timeout_ms: rng.maybe(100, 10_000, 60_000),
        attempts: rng.maybe(300, 1, 10).map(|attempts| u32::try_from(attempts).expect("small").max(replicas)),
        deadline_ms: rng.maybe(500, 60_000, 2_400_000).map(|ms| now_ms + ms),
        ..Request::new(KINDS[rng.index(KINDS.len())])
    }
}

/// Jobs to wait for: lately published ones, open or not, now and then one that never comes.
fn inputs(recent: &[JobId], rng: &mut Rng) -> Vec<Upstream> {
    let many = if rng.chance(150) && !recent.is_empty() { rng.between(1, 4) } else { 0 };
    let named = (0..many).map(|_| if rng.chance(10) { job_id(rng) } else { recent[rng.index(recent.len())] });
    named.map(|job| Upstream { job, result: None }).collect()
}

/// Who is to look at the result, if anybody is.
fn panel(rng: &mut Rng) -> Option<Panel> {
    let validators = u32::try_from(rng.maybe(150, 1, 4)?).expect("small");
    let quorum = u32::try_from(rng.between(1, u64::from(validators) + 1)).expect("small");
    Some(Panel { validators, quorum, bid_msat: rng.between(0, 3_000) })
}

/// How many are to do a job, and how many must agree.
fn replication(rng: &mut Rng) -> (u32, u32) {
    let replicas = u32::try_from(rng.between(2, 5)).expect("small");
    let quorum = u32::try_from(rng.between(1, u64::from(replicas) + 1)).expect("small");
    (replicas, quorum)
}

fn wishes(rng: &mut Rng) -> Vec<Rank> {
    let by = |attribute: &str, order| Rank { attribute: attribute.to_owned(), order };
    let price = rng.chance(100).then(|| by("price", Order::Asc));
    let ram = rng.chance(100).then(|| by("ram_gb", Order::Desc));
    price.into_iter().chain(ram).collect()
}

fn requirements(rng: &mut Rng) -> Vec<Requirement> {
    let ram = 8_i64 << rng.between(0, 5);
    let wishes = [
        ("ram_gb", Op::GreaterOrEqual, Value::Int(ram), 200),
        ("model", Op::Equal, Value::Text("llama".to_owned()), 100),
        ("model", Op::NotEqual, Value::Text("phi".to_owned()), 100),
        ("gpu", Op::Has, Value::Text("h100".to_owned()), 10),
    ];
    let mut chosen = Vec::new();
    for (attribute, op, value, per_mille) in wishes {
        if rng.chance(per_mille) {
            chosen.push(Requirement { attribute: attribute.to_owned(), op, values: vec![value] });
        }
    }
    chosen
}
