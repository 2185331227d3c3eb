//! A list of providers that holds everybody who could take a job, and perhaps others.
//!
//! Each way to look for providers is one: who is available for the kind at a price, who has an attribute, who has it with such a
//! value. The matcher draws from the shortest. A provider may have several entries in a list, as many as it has values
//! that fit; only the first counts, so that nobody is drawn more often for naming more.

use crate::advert::{Advert, Value};
use crate::id::ProviderId;
use crate::ranked::Ranked;
use crate::request::{Op, Request, Requirement};
use crate::supply::{Holders, Pool, Supply};
use std::ops::Range;

/// Providers in a fixed order, by place.
pub(crate) enum List<'a> {
    /// The cheapest ones of a pool, by price and id.
    Pool(&'a Pool, usize),
    /// By id.
    Ids(&'a Ranked<ProviderId>),
    /// Those with a number in a range, by number and id.
    Numbers(&'a Ranked<(i64, ProviderId)>, Range<usize>, &'a Requirement),
    /// Those with one of several values: by the place of the value in the requirement, then by id.
    AnyOf(Vec<List<'a>>, &'a Requirement),
    /// Nobody.
    Empty,
}

/// An entry of a list.
pub(crate) struct Entry {
    pub provider: ProviderId,
    /// The number, or the place of the value, by which it stands there.
    by: i64,
}

impl<'a> List<'a> {
    /// The shortest list that holds everybody who could take a job; of equals the first, in the order pool, requirements.
    pub fn shortest(supply: &'a Supply, pool: &'a Pool, request: &'a Request) -> Self {
        let mut shortest = Self::of_pool(pool, request.bid_msat);
        for requirement in &request.require {
            let list = Self::of(supply, requirement);
            if list.len() < shortest.len() {
                shortest = list;
            }
        }
        shortest
    }

    /// Those of a pool whose price is within the bid.
    pub fn of_pool(pool: &'a Pool, bid_msat: Option<u64>) -> Self {
        let end = bid_msat.map_or(pool.len(), |bid| pool.rank_by(|(price, _)| *price <= bid));
        List::Pool(pool, end)
    }

    /// Those who could meet a requirement.
    fn of(supply: &'a Supply, requirement: &'a Requirement) -> Self {
        let Some(holders) = supply.holders(&requirement.attribute) else {
            return List::Empty;
        };
        let numbers = &holders.numbers;
        let range = |ranks| List::Numbers(numbers, ranks, requirement);
        let below = |bound: i64| numbers.rank(&(bound, ProviderId([0; 32])));
        let up_to = |bound: i64| bound.checked_add(1).map_or(numbers.len(), below);
        let one = |value: &Value| Self::with(holders, value, requirement);
        match (requirement.op, requirement.values.as_slice()) {
            (Op::Equal | Op::In, [value]) => one(value),
            (Op::Less, [Value::Int(bound)]) => range(0..below(*bound)),
            (Op::LessOrEqual, [Value::Int(bound)]) => range(0..up_to(*bound)),
            (Op::Greater, [Value::Int(bound)]) => range(up_to(*bound)..numbers.len()),
            (Op::GreaterOrEqual, [Value::Int(bound)]) => range(below(*bound)..numbers.len()),
            (Op::NotEqual, [Value::Int(_)]) => range(0..numbers.len()),
            (Op::In, values) => List::AnyOf(values.iter().map(one).collect(), requirement),
            (Op::Has, [_, ..]) => {
                let lists = requirement.values.iter().map(one);
                lists.min_by_key(List::len).unwrap_or(List::Empty)
            }
            (Op::Equal | Op::NotEqual | Op::Less | Op::LessOrEqual | Op::Greater | Op::GreaterOrEqual | Op::Has, _) => {
                List::Ids(&holders.all)
            }
        }
    }

    /// Those with this value.
    fn with(holders: &'a Holders, value: &Value, requirement: &'a Requirement) -> Self {
        match value {
            Value::Text(text) => holders.texts.get(text).map_or(List::Empty, List::Ids),
            Value::Int(number) => {
                let rank = |bound: i64| holders.numbers.rank(&(bound, ProviderId([0; 32])));
                let end = number.checked_add(1).map_or(holders.numbers.len(), rank);
                List::Numbers(&holders.numbers, rank(*number)..end, requirement)
            }
        }
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        match self {
            List::Pool(_, end) => *end,
            List::Ids(ids) => ids.len(),
            List::Numbers(_, ranks, _) => ranks.len(),
            List::AnyOf(lists, _) => lists.iter().map(List::len).sum(),
            List::Empty => 0,
        }
    }

    /// The entry at a place, from 0.
    pub fn get(&self, rank: usize) -> Option<Entry> {
        if rank >= self.len() {
            return None;
        }
        match self {
            List::Pool(pool, _) => pool.get(rank).map(|(_, provider)| Entry { provider: *provider, by: 0 }),
            List::Ids(ids) => ids.get(rank).map(|provider| Entry { provider: *provider, by: 0 }),
            List::Numbers(numbers, ranks, _) => {
                let entry = numbers.get(ranks.start + rank);
                entry.map(|(number, provider)| Entry { provider: *provider, by: *number })
            }
            List::AnyOf(lists, _) => {
                let mut left = rank;
                for (place, list) in (0..).zip(lists) {
                    if left < list.len() {
                        return list.get(left).map(|entry| Entry { by: place, ..entry });
                    }
                    left -= list.len();
                }
                None
            }
            List::Empty => None,
        }
    }

    /// Whether an entry is the first of its provider.
    pub fn is_first(&self, entry: &Entry, advert: &Advert) -> bool {
        match self {
            List::Pool(..) | List::Ids(_) | List::Empty => true,
            List::Numbers(_, _, requirement) => {
                let numbers = advert.values(&requirement.attribute).filter(|value| requirement.fits(value));
                let least = numbers.filter_map(|value| match value {
                    Value::Int(number) => Some(*number),
                    Value::Text(_) => None,
                });
                least.min().is_none_or(|least| least >= entry.by)
            }
            List::AnyOf(_, requirement) => {
                let has = |asked: &Value| advert.values(&requirement.attribute).any(|value| value == asked);
                let first = (0..).zip(&requirement.values).find(|(_, asked)| has(asked));
                first.is_none_or(|(place, _)| place == entry.by)
            }
        }
    }

    /// Everybody in it, in the order of the ids.
    pub fn providers(&self) -> Vec<ProviderId> {
        let mut providers = self.collect();
        providers.sort_unstable();
        providers.dedup();
        providers
    }

    fn collect(&self) -> Vec<ProviderId> {
        match self {
            List::Pool(pool, end) => pool.slice(0..*end).map(|(_, provider)| *provider).collect(),
            List::Ids(ids) => ids.slice(0..ids.len()).copied().collect(),
            List::Numbers(numbers, ranks, _) => numbers.slice(ranks.clone()).map(|(_, provider)| *provider).collect(),
            List::AnyOf(lists, _) => lists.iter().flat_map(List::collect).collect(),
            List::Empty => Vec::new(),
        }
    }
}
