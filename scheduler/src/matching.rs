//! Which provider gets a job.
//!
//! **Feasible** is a provider that is alive, has a free slot, offers the kind at no more than the bid, has not tried the job, is
//! named by the request if that names any and not barred, and meets every requirement, while the job meets its every condition (`accept`); a walk-in only where no other is. Of the
//! feasible, two are drawn (eight, if the request wishes for an order) and the better one wins; of equals the one drawn first. Drawing two is
//! nearly as good as scoring everybody, and does not send every job to the same best provider.
//!
//! **Numbers.** `seed = hash(job, attempt)`; the numbers are `splitmix64(seed)`, `splitmix64` of that, and so on.
//! `hash` folds the job id's four little-endian words and then the attempt through [`splitmix64`]: `h = splitmix64(h ^ word)` from 0.
//!
//! **Lists.** Nobody looks at all providers. Everybody who is feasible stands in each of these lists; the shortest is taken, of equals the
//! first (`list`):
//! 1. who is alive, has a free slot and offers the kind at no more than the bid, by price (none is 0) and id,
//! 2. for each requirement in turn, whoever is alive, advertises, has slots, and has the attribute with a value that fits, by value and id.
//!    `in`: value by value, in the order of the requirement. `has`: of its values the one with the fewest.
//!    `!=` a text, and `has` without values: whoever has the attribute, by id.
//!
//! **Draw.** A number modulo the length of the list is a place in it. Up to 32 places are looked at, until two (or eight) different providers
//! are found that are feasible; of a provider with several values in the list only its first place counts. When
//! none is found, or the list has no more than 32 places, all of it is looked at instead: the feasible in order of their ids, the first
//! swapped with the one at the next number modulo their count, the second with one of the rest likewise. So are named providers drawn.
//!
//! **Newcomers.** When the first number is divisible by 8, those of list 1 who have fewer than 5 outcomes are tried before, by up to 32
//! draws; if one of them is feasible, the job goes to a newcomer. All newcomers together get an eighth of the jobs at
//! most, however many keys somebody makes, and a good one is not kept out by those with a record.
//!
//! **Rank.** Of those drawn who is best by the first wish of the request, of equals by the next, wins before any score. Of several
//! whole numbers of a capability the best counts, `price` is what is asked for the kind, and who has none comes last.
//!
//! **Score**, all in thousandths and integers, rounded down:
//!
//! ```text
//! record = the lower bound of its reputation for the kind         see `reputation`; a newcomer has 120
//! price  = 1000 * (cheapest + 1) / (price + 1)                    cheapest of those drawn; no price counts as 0
//! free   = 1000 * free slots / slots
//! online = 1000 when it has an authenticated connection, else 0
//! score  = 4 * record + 3 * price + 2 * online + 1 * free
//! ```

pub use crate::draw::{seed, splitmix64};

use crate::advert::Value;
use crate::draw::Draws;
use crate::id::ProviderId;
use crate::job::Job;
use crate::list::List;
use crate::provider::Provider;
use crate::request::{Order, Rank};
use crate::state::State;
use crate::supply::Supply;

/// Feasible providers that are compared ...
const DRAWN: usize = 2;
/// ... and so many when the request wishes for an order.
const DRAWN_RANKED: usize = 8;
/// Places of a list that are looked at before all of it is.
const LOOKS: usize = 32;
/// One job in so many goes to a newcomer first.
const NEWCOMERS_TURN: usize = 8;

/// Who gets the job, and what an auditor needs to come to the same choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The winner.
    pub provider: ProviderId,
    /// Where the draw came from.
    pub seed: u64,
    /// `record`, `price`, `online`, `free`, `score`; then how it was found: `drawn` (how many were compared), `list` (how many
    /// places the list had), `looks` (how many of them were looked at), `newcomer` (1 on the newcomers' turn).
    pub why: Vec<(&'static str, i64)>,
}

/// A provider that could take the job, and its price in millisatoshi.
type Candidate<'a> = (&'a Provider, u64);

/// Those to choose from, and how they were found.
struct Found<'a> {
    candidates: Vec<Candidate<'a>>,
    list: usize,
    looks: usize,
    newcomer: bool,
}

/// The choice for a job and how many providers were looked at.
pub(crate) fn choose(state: &State, job: &Job) -> (usize, Option<Choice>) {
    let seed = seed(job.id, job.next_attempt());
    let mut search = Search { state, job, draws: Draws::new(seed), looks: 0 };
    let found = if job.request.providers.is_empty() { search.find() } else { Some(search.named()) };
    let choice = found.and_then(|found| best(state, job, &found, seed));
    (search.looks, choice)
}

/// Whether a provider could take the job: what the search looks for, without its lists.
pub(crate) fn is_feasible(job: &Job, provider: &Provider) -> bool {
    job.admits(provider.id) && candidate(job, provider).is_some()
}

/// Whether a provider, named if any are, may have the job, and at what price.
fn candidate<'a>(job: &Job, provider: &'a Provider) -> Option<Candidate<'a>> {
    if provider.is_available() { suited(job, provider) } else { None }
}

/// Whether a provider that is there could take the job if it had a free slot.
pub(crate) fn would_suit(job: &Job, provider: &Provider) -> bool {
    provider.is_alive() && job.admits(provider.id) && suited(job, provider).is_some()
}

/// As `candidate`, whether it is available or not.
fn suited<'a>(job: &Job, provider: &'a Provider) -> Option<Candidate<'a>> {
    let advert = provider.advert.as_ref()?;
    let price_msat = advert.offer(job.request.kind)?.price_msat;
    let affordable = match (price_msat, job.request.bid_msat) {
        (Some(price), Some(bid)) => price <= bid,
        (Some(_) | None, None) | (None, Some(_)) => true,
    };
    // A customer that follows its kind is no provider of its own job.
    let is_own = provider.walk_in && provider.id.0 == job.customer.0;
    let suits = affordable
        && !is_own
        && job.request.require.iter().all(|requirement| requirement.holds(advert))
        && advert.accept.iter().all(|condition| job.meets(condition))
        && !job.has_tried(provider.id)
        && !job.request.barred.contains(&provider.id);
    suits.then_some((provider, price_msat.unwrap_or(0)))
}

/// The search for providers for one job.
struct Search<'a> {
    state: &'a State,
    job: &'a Job,
    draws: Draws,
    looks: usize,
}

impl<'a> Search<'a> {
    /// How many are to be compared.
    fn wanted(&self) -> usize {
        if self.job.request.rank.is_empty() { DRAWN } else { DRAWN_RANKED }
    }

    /// Named providers are few: all are looked at.
    fn named(&mut self) -> Found<'a> {
        let named = &self.job.request.providers;
        self.all_of(named.iter().copied(), named.len())
    }

    /// Walk-ins are looked for in the same way where nobody else is.
    fn find(&mut self) -> Option<Found<'a>> {
        let index = &self.state.index;
        let found = self.find_in(&index.supply).filter(|found| !found.candidates.is_empty());
        found.or_else(|| self.find_in(&index.walk_ins))
    }

    fn find_in(&mut self, supply: &'a Supply) -> Option<Found<'a>> {
        let servers = supply.servers(self.job.request.kind)?;
        if self.draws.below(NEWCOMERS_TURN) == 0 {
            let newcomers = List::of_pool(&servers.newcomers, self.job.request.bid_msat);
            let found = self.some_of(&newcomers);
            if !found.candidates.is_empty() {
                return Some(Found { newcomer: true, ..found });
            }
        }
        let list = List::shortest(supply, &servers.all, &self.job.request);
        if list.len() > LOOKS {
            let found = self.some_of(&list);
            if !found.candidates.is_empty() {
                return Some(found);
            }
        }
        Some(self.all_of(list.providers().into_iter(), list.len()))
    }

    /// Looks at places of a list until enough feasible ones are found.
    fn some_of(&mut self, list: &List<'a>) -> Found<'a> {
        let (len, before) = (list.len(), self.looks);
        let wanted = self.wanted();
        let mut candidates: Vec<Candidate<'a>> = Vec::with_capacity(wanted);
        while len > 0 && candidates.len() < wanted && self.looks - before < LOOKS {
            self.looks += 1;
            let Some(entry) = list.get(self.draws.below(len)) else {
                continue;
            };
            let known = candidates.iter().any(|(row, _)| row.id == entry.provider);
            let row = self.state.providers.get(&entry.provider).filter(|_| !known);
            let first = row.filter(|row| row.advert.as_ref().is_some_and(|advert| list.is_first(&entry, advert)));
            candidates.extend(first.and_then(|row| candidate(self.job, row)));
        }
        Found { candidates, list: len, looks: self.looks - before, newcomer: false }
    }

    /// Looks at all of these, who stand in order of their ids, and draws from the feasible.
    fn all_of(&mut self, ids: impl Iterator<Item = ProviderId>, list: usize) -> Found<'a> {
        let before = self.looks;
        let mut feasible = Vec::new();
        for id in ids {
            self.looks += 1;
            let row = self.state.providers.get(&id);
            feasible.extend(row.and_then(|row| candidate(self.job, row)));
        }
        // Among named ones, too, walk-ins come last.
        if feasible.iter().any(|(row, _)| !row.walk_in) {
            feasible.retain(|(row, _)| !row.walk_in);
        }
        let candidates = self.draws.pick(feasible, self.wanted());
        Found { candidates, list, looks: self.looks - before, newcomer: false }
    }
}

/// Whether somebody is known who serves jobs like this, be it busy: one that the job names, or else anybody with its kind.
pub(crate) fn is_served(state: &State, job: &Job) -> bool {
    let serves = |id: &ProviderId| {
        let row = state.providers.get(id).filter(|row| row.is_alive() && !row.is_bystander());
        row.is_some_and(|row| row.offer(job.request.kind).is_some())
    };
    match job.request.providers.as_slice() {
        [] => state.index.supply.serves(job.request.kind) || state.index.walk_ins.serves(job.request.kind),
        named => named.iter().any(serves),
    }
}

/// The best of those drawn, of equals the first.
fn best(state: &State, job: &Job, found: &Found<'_>, seed: u64) -> Option<Choice> {
    let cheapest_msat = found.candidates.iter().map(|(_, price_msat)| *price_msat).min()?;
    let rate = |one| (one, Score::of(one, state.low_permille(one.0, job.request.kind), cheapest_msat));
    let rated = found.candidates.iter().map(rate);
    let merit = |(one, score): &(&Candidate<'_>, Score)| (merits(&job.request.rank, one), score.total());
    let better = |best, next| if merit(&next) > merit(&best) { next } else { best };
    let ((provider, _), score) = rated.reduce(better)?;
    let size = |len: usize| i64::try_from(len).unwrap_or(i64::MAX);
    let why = vec![
        ("record", score.record),
        ("price", score.price),
        ("online", score.online),
        ("free", score.free),
        ("score", score.total()),
        ("drawn", size(found.candidates.len())),
        ("list", size(found.list)),
        ("looks", size(found.looks)),
        ("newcomer", i64::from(found.newcomer)),
    ];
    Some(Choice { provider: provider.id, seed, why })
}

/// How well a provider serves each wish: more is better.
fn merits(wishes: &[Rank], candidate: &Candidate<'_>) -> Vec<Option<i128>> {
    wishes.iter().map(|wish| merit(wish, candidate)).collect()
}

fn merit(wish: &Rank, (provider, price_msat): &Candidate<'_>) -> Option<i128> {
    let sign = match wish.order {
        Order::Asc => -1,
        Order::Desc => 1,
    };
    if wish.attribute == "price" {
        return Some(sign * i128::from(*price_msat));
    }
    let values = provider.advert.iter().flat_map(|advert| advert.values(&wish.attribute));
    let numbers = values.filter_map(|value| match value {
        Value::Int(number) => Some(sign * i128::from(*number)),
        Value::Text(_) => None,
    });
    numbers.max()
}

/// The terms of a score, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Score {
    record: i64,
    price: i64,
    online: i64,
    free: i64,
}

impl Score {
    fn of((provider, price_msat): &Candidate<'_>, record: i64, cheapest_msat: u64) -> Self {
        Self {
            record,
            price: permille(u128::from(cheapest_msat) + 1, u128::from(*price_msat) + 1),
            online: if provider.is_online() { 1_000 } else { 0 },
            free: permille(u128::from(provider.free_slots()), u128::from(provider.slots.max(1))),
        }
    }

    fn total(self) -> i64 {
        4 * self.record + 3 * self.price + 2 * self.online + self.free
    }
}

/// `1000 * part / whole` for `part <= whole`.
fn permille(part: u128, whole: u128) -> i64 {
    assert!(part <= whole && whole > 0, "a share is at most the whole");
    i64::try_from(1_000 * part / whole).unwrap_or(1_000)
}
