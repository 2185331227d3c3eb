//! The matcher beside its naive twin: everybody is looked at, lists are made by sorting, and then the published rule decides.

use crate::bench::*;
use crate::property::{any_conditions, any_params, any_ranks, any_requirement, any_value};
use mercato_scheduler::*;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Numbers that follow from a seed.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = splitmix64(self.0);
        usize::try_from(self.0 % below as u64).expect("small")
    }
}

fn asks(row: &Provider, kind: u16) -> Option<u64> {
    let offer = row.advert.as_ref()?.kinds.iter().find(|offer| offer.kind == kind)?;
    Some(offer.price_msat.unwrap_or(0))
}

fn is_alive(row: &Provider) -> bool {
    !matches!(row.presence, Presence::Offline { .. })
}

fn is_available(row: &Provider) -> bool {
    is_alive(row) && row.advert.is_some() && row.leases.len() < usize::try_from(row.slots).expect("small")
}

fn is_feasible(row: &Provider, job: &Job) -> bool {
    let Some((advert, price)) = row.advert.as_ref().zip(asks(row, job.request.kind)) else { return false };
    is_available(row)
        && job.request.bid_msat.is_none_or(|bid| price <= bid)
        && job.attempts.iter().all(|attempt| attempt.provider != row.id)
        && job.leases.iter().all(|lease| lease.provider != row.id)
        && job.submissions.iter().all(|submission| submission.provider != row.id)
        && (job.request.providers.is_empty() || job.request.providers.contains(&row.id))
        && job.request.require.iter().all(|requirement| requirement.holds(advert))
        && advert.accept.iter().all(|condition| is_met(condition, job))
}

/// Whether a job meets a provider's condition: as a provider with the job's attributes would meet a requirement.
fn is_met(condition: &Requirement, job: &Job) -> bool {
    let params = job.request.params.iter();
    let mut caps: Vec<_> = params.map(|(name, value)| (format!("param.{name}"), value.clone())).collect();
    caps.push(("input.count".to_owned(), Value::Int(job.request.input_count.into())));
    caps.push(("input.bytes".to_owned(), Value::Int(i64::try_from(job.request.input_bytes).expect("small"))));
    caps.push(("kind".to_owned(), Value::Int(job.request.kind.into())));
    caps.push(("replicas".to_owned(), Value::Int(job.request.replicas.into())));
    caps.push(("customer.rank".to_owned(), Value::Int(job.terms.customer_rank.into())));
    caps.extend(job.request.bid_msat.map(|bid| ("bid".to_owned(), Value::Int(i64::try_from(bid).expect("small")))));
    condition.holds(&Advert { caps, ..Advert::default() })
}

/// The ids of a list, in its order; a provider may stand there several times.
fn list(rows: &[&Provider], requirement: &Requirement) -> Vec<ProviderId> {
    let present = rows.iter().filter(|row| is_alive(row) && row.slots > 0);
    let caps = present.flat_map(|row| row.advert.iter().flat_map(|advert| &advert.caps).map(|cap| (row.id, cap)));
    let held = caps.filter(|(_, (name, _))| *name == requirement.attribute);
    let held: Vec<(ProviderId, Value)> = held.map(|(id, (_, value))| (id, value.clone())).collect();
    let by_number = |fits: &dyn Fn(i64) -> bool| {
        let numbers = held.iter().filter_map(|(id, value)| match value {
            Value::Int(number) => fits(*number).then_some((*number, *id)),
            Value::Text(_) => None,
        });
        let sorted: BTreeSet<(i64, ProviderId)> = numbers.collect();
        sorted.into_iter().map(|(_, id)| id).collect::<Vec<_>>()
    };
    let with = |asked: &Value| {
        let ids = held.iter().filter(|(_, value)| value == asked).map(|(id, _)| *id);
        ids.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    let bound = match requirement.values.first() {
        Some(Value::Int(bound)) => Some(*bound),
        Some(Value::Text(_)) | None => None,
    };
    match (requirement.op, bound) {
        (Op::Equal | Op::In, _) => requirement.values.iter().flat_map(with).collect(),
        (Op::Has, _) if !requirement.values.is_empty() => {
            requirement.values.iter().map(with).min_by_key(Vec::len).expect("not empty")
        }
        (Op::Less, Some(bound)) => by_number(&|number| number < bound),
        (Op::LessOrEqual, Some(bound)) => by_number(&|number| number <= bound),
        (Op::Greater, Some(bound)) => by_number(&|number| number > bound),
        (Op::GreaterOrEqual, Some(bound)) => by_number(&|number| number >= bound),
        (Op::NotEqual, Some(_)) => by_number(&|_| true),
        _ => held.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>().into_iter().collect(),
    }
}

fn best(state: &State, drawn: &[&Provider], job: &Job) -> Option<(ProviderId, i64)> {
    let kind = job.request.kind;
    let price = |row: &Provider| asks(row, kind).expect("it offers the kind");
    let cheapest = drawn.iter().map(|row| price(row)).min()?;
    let score = |row: &Provider| -> i64 {
        let record = state.low_permille(row, kind);
        let cheap = i64::try_from(1_000 * (cheapest + 1) / (price(row) + 1)).expect("small");
        let free = 1_000 * i64::from(row.free_slots()) / i64::from(row.slots);
        let online = if row.presence == Presence::Online { 1_000 } else { 0 };
        4 * record + 3 * cheap + 2 * online + free
    };
    let best_number = |row: &Provider, rank: &Rank| {
        let sign = if rank.order == Order::Asc { -1 } else { 1 };
        let numbers = row.advert.iter().flat_map(|advert| &advert.caps).filter_map(|(name, value)| match value {
            Value::Int(number) => (*name == rank.attribute).then_some(sign * number),
            Value::Text(_) => None,
        });
        let price = sign * i64::try_from(price(row)).expect("small");
        if rank.attribute == "price" { Some(price) } else { numbers.max() }
    };
    let ranks = |row: &Provider| job.request.rank.iter().map(|rank| best_number(row, rank)).collect::<Vec<_>>();
    let winner = drawn.iter().rev().max_by_key(|row| (ranks(row), score(row)))?;
    Some((winner.id, score(winner)))
}

fn compared(job: &Job) -> usize {
    if job.request.rank.is_empty() { 2 } else { 8 }
}

/// Draws places of a list, as often as it may.
fn by_places<'a>(list: &[ProviderId], job: &Job, state: &'a State, numbers: &mut Numbers) -> Vec<&'a Provider> {
    let mut drawn: Vec<&Provider> = Vec::new();
    for _ in 0..32 {
        if drawn.len() == compared(job) || list.is_empty() {
            break;
        }
        let place = numbers.next(list.len());
        let row = &state.providers()[&list[place]];
        let first = list.iter().position(|id| *id == row.id) == Some(place);
        if first && is_feasible(row, job) && drawn.iter().all(|known| known.id != row.id) {
            drawn.push(row);
        }
    }
    drawn
}

/// The winner and its score.
pub fn naive_choice(state: &State, job: &Job) -> Option<(ProviderId, i64)> {
    let rows: Vec<&Provider> = state.providers().values().collect();
    let kind = job.request.kind;
    let mut numbers = Numbers(seed(job.id, job.next_attempt()));
    let mut pool: Vec<(u64, ProviderId)> = Vec::new();
    for row in rows.iter().filter(|row| is_available(row)) {
        if let Some(price) = asks(row, kind).filter(|price| job.request.bid_msat.is_none_or(|bid| *price <= bid)) {
            pool.push((price, row.id));
        }
    }
    pool.sort_unstable();
    let pool: Vec<ProviderId> = pool.into_iter().map(|(_, id)| id).collect();
    let named = !job.request.providers.is_empty();
    let served = rows.iter().any(|row| is_available(row) && asks(row, kind).is_some());
    if !named && served && numbers.next(8) == 0 {
        let outcomes = |id: &&ProviderId| {
            let row = &state.providers()[*id];
            row.succeeded + row.failed + row.late
        };
        let newcomers: Vec<ProviderId> = pool.iter().filter(|id| outcomes(id) < 5).copied().collect();
        let drawn = by_places(&newcomers, job, state, &mut numbers);
        if !drawn.is_empty() {
            return best(state, &drawn, job);
        }
    }
    let lists = job.request.require.iter().map(|requirement| list(&rows, requirement));
    let shortest = std::iter::once(pool).chain(lists).min_by_key(Vec::len).expect("the pool is one");
    if !named && shortest.len() > 32 {
        let drawn = by_places(&shortest, job, state, &mut numbers);
        if !drawn.is_empty() {
            return best(state, &drawn, job);
        }
    }
    let mut feasible: Vec<&Provider> = rows.into_iter().filter(|row| is_feasible(row, job)).collect();
    let wanted = feasible.len().min(compared(job));
    for at in 0..wanted {
        let other = at + numbers.next(feasible.len() - at);
        feasible.swap(at, other);
    }
    best(state, &feasible[..wanted], job)
}

/// The winner and its score, as announced.
pub fn announced(effects: &[Effect], of: JobId) -> Option<(ProviderId, i64)> {
    effects.iter().find_map(|effect| match effect {
        Effect::AnnounceLease { job, provider, why, .. } if *job == of => {
            let score = why.iter().find(|(term, _)| *term == "score").map(|(_, score)| *score);
            score.map(|score| (*provider, score))
        }
        Effect::AnnounceLease { .. }
        | Effect::AnnounceWithdrawal { .. }
        | Effect::AnnounceVerdict { .. }
        | Effect::AnnounceEnd { .. }
        | Effect::AnnounceState { .. }
        | Effect::AnnouncePayment { .. }
        | Effect::OrderValidation { .. } => None,
    })
}

/// A provider of a large directory: prices, numbers and texts, mostly one of each.
fn any_row() -> impl Strategy<Value = (Advert, bool, u8)> {
    let caps = (vec(0..12_i64, 1..3), vec("[abcd]", 1..3), vec(("[xy]", any_value()), 0..2));
    let caps = caps.prop_map(|(numbers, texts, others)| {
        let numbers = numbers.into_iter().map(|number| ("n".to_owned(), Value::Int(number)));
        let texts = texts.into_iter().map(|text| ("t".to_owned(), Value::Text(text)));
        numbers.chain(texts).chain(others).collect::<Vec<_>>()
    });
    let offer = (of(0..30_u64), caps, any_conditions(), 0..4_u32);
    let offer =
        offer.prop_map(|(price, caps, accept, slots)| Advert { caps, accept, slots: Some(slots), ..advert(price) });
    (offer, prop::bool::weighted(0.9), 0..8_u8)
}

/// What a large directory is asked.
fn any_wish() -> impl Strategy<Value = Request> {
    let on_number = (
        prop::sample::select(vec![Op::Equal, Op::NotEqual, Op::Less, Op::LessOrEqual, Op::Greater, Op::GreaterOrEqual]),
        0..12_i64,
    );
    let on_number = on_number.prop_map(|(op, bound)| requirement("n", op, &[Value::Int(bound)]));
    let on_text = (prop::sample::select(vec![Op::In, Op::Has]), vec("[abcde]", 1..4));
    let on_text =
        on_text.prop_map(|(op, texts)| requirement("t", op, &texts.iter().map(|one| text(one)).collect::<Vec<_>>()));
    let any = prop_oneof![3 => on_number, 3 => on_text, 1 => any_requirement()];
    let wish = (of(0..30_u64), vec(any, 0..3), any_ranks(), any_params());
    wish.prop_map(|(bid_msat, require, rank, params)| Request { bid_msat, require, rank, params, ..request() })
}

/// A provider comes and has so many outcomes. Straight to the scheduler: a full check after each step would be slow.
fn settle(scheduler: &mut Scheduler, provider: ProviderId, advert: Advert, online: bool, done: u8) {
    let here = if online { Input::Online { provider } } else { Input::Seen { provider } };
    for input in [Input::Advertise { provider, advert }, here] {
        scheduler.step(0, input).expect("it comes");
    }
    for past in 0..done {
        let mut id = provider.0;
        id[..2].copy_from_slice(&[255, past]);
        let (job, result) = (JobId(id), ResultId(id));
        let request = Request { providers: vec![provider], ..request() };
        scheduler.step(0, Input::Request { job, customer: customer(1), request }).expect("requested");
        let end = match past % 3 {
            0 => Input::Feedback { job, provider, lease: None, feedback: error("no") },
            _ => Input::Result { job, provider, lease: None, result, kind: KIND + 1_000, answer: Answer::Unread },
        };
        // Who has no slots gets no lease.
        if scheduler.step(0, end).is_err() {
            scheduler.step(0, Input::Cancel { job, by: customer(1) }).expect("cancelled");
        }
    }
}

/// A job that waits, as the state was before it came.
fn unplaced(bench: &Bench, n: u8, wish: &Request) -> (State, Job) {
    let mut twin = Bench { scheduler: bench.scheduler.clone(), ..Bench::new() };
    twin.ask(n, Request { providers: vec![provider(255)], bid_msat: None, ..request() });
    let state = twin.scheduler.state().clone();
    let mut job = state.jobs()[&job(n)].clone();
    job.request = Box::new(wish.clone());
    (state, job)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_matcher_agrees_with_its_naive_twin_in_large_directories(
        rows in vec(any_row(), 1..200),
        wishes in vec(any_wish(), 1..30),
    ) {
        let mut bench = Bench::with(Config { accept_timeout_ms: 500, ..config() });
        for (n, (advert, online, done)) in (0..).zip(rows) {
            settle(&mut bench.scheduler, provider(n), advert, online, done);
        }
        for (n, wish) in (0..).zip(&wishes) {
            let (state, job) = unplaced(&bench, n, wish);
            let Ok(effects) = bench.try_ask(n, 1, wish.clone()) else { continue };
            prop_assert_eq!(announced(&effects, job.id), naive_choice(&state, &job));
        }
    }
}
