//! Sealed offers for a job, and which of them it goes to.
//!
//! **Best value**: the offer whose price for a result that is right is lowest, `(msat + 1) / (record + 1)` with the lower bound of
//! the provider's reputation for the kind; it is paid what it offers.
//!
//! **Second price**: the lowest offer; it is paid what the lowest of those offers that missed out. With k replicas all k are paid the
//! same, the k+1-th lowest. When nobody missed out, the bid of the request; without one, the highest offer. So nobody gains by
//! offering more or less than what the job is worth to it.
//!
//! Of equal offers the earlier goes first. Offers whose provider cannot take the job now are passed over.

use crate::id::{ProviderId, ResultId};
use crate::job::Job;
use crate::matching::is_feasible;
use crate::state::State;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Offers for one job; further providers are refused.
pub const OFFERS_PER_JOB_MAX: usize = 64;
/// Times that one provider may offer for a job; each replaces the one before.
pub const REVISIONS_MAX: usize = 8;

/// Which offer wins, and what it is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// Price against reputation; paid as offered.
    BestValue,
    /// The lowest price; paid as the best of those who missed out offered.
    SecondPrice,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auction {
    /// How long offers are taken.
    pub window_ms: u64,
    /// How they are judged.
    pub rule: Rule,
}

/// An offer for a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bid {
    /// Who.
    pub provider: ProviderId,
    /// For how much, in millisatoshi.
    pub amount_msat: u64,
    /// The messages that said so, the last one being the one that counts.
    pub said: Vec<ResultId>,
}

/// The offers for a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bidding {
    /// Offers are taken until then; `None` before and after.
    pub until_ms: Option<u64>,
    /// Whether that is over.
    pub is_over: bool,
    /// One of each provider, in the order in which they came, or were changed.
    pub bids: Vec<Bid>,
}

/// The offer that gets the next lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Winner {
    pub provider: ProviderId,
    /// What it is paid.
    pub agreed_msat: u64,
    /// `offer` (what it offered), `rank` (from 1) and `offers`.
    pub why: Vec<(&'static str, i64)>,
}

impl Bidding {
    /// The offer of this provider.
    pub fn of(&self, provider: ProviderId) -> Option<&Bid> {
        self.bids.iter().find(|bid| bid.provider == provider)
    }
}

/// The best offer whose provider can take the job now.
pub(crate) fn winner(state: &State, job: &Job) -> Option<Winner> {
    let auction = job.request.auction?;
    let record = |bid: &Bid| {
        let row = state.providers.get(&bid.provider);
        row.map_or(0, |row| state.low_permille(row, job.request.kind))
    };
    let mut ranked: Vec<(&Bid, i64)> = job.bidding.bids.iter().map(|bid| (bid, record(bid))).collect();
    // Stable: of equals the earlier stays first.
    ranked.sort_by(|one, other| match auction.rule {
        Rule::SecondPrice => one.0.amount_msat.cmp(&other.0.amount_msat),
        Rule::BestValue => by_value(*one, *other),
    });
    let can = |bid: &Bid| state.providers.get(&bid.provider).is_some_and(|row| is_feasible(job, row));
    let rank = ranked.iter().position(|(bid, _)| can(bid))?;
    let (bid, _) = ranked.get(rank)?;
    let agreed_msat = match auction.rule {
        Rule::BestValue => bid.amount_msat,
        Rule::SecondPrice => {
            let replicas = usize::try_from(job.request.replicas).unwrap_or(usize::MAX);
            let missed = ranked.get(replicas.max(rank + 1)).map(|(bid, _)| bid.amount_msat);
            let highest = ranked.last().map(|(bid, _)| bid.amount_msat);
            missed.or(job.request.bid_msat).or(highest).unwrap_or(bid.amount_msat)
        }
    };
    let int = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let why =
        vec![("offer", int(bid.amount_msat)), ("rank", int(rank as u64 + 1)), ("offers", int(ranked.len() as u64))];
    Some(Winner { provider: bid.provider, agreed_msat, why })
}

/// `(amount + 1) / (record + 1)`, compared without dividing.
fn by_value((one, one_record): (&Bid, i64), (other, other_record): (&Bid, i64)) -> Ordering {
    let cost = |bid: &Bid, record: i64| (u128::from(bid.amount_msat) + 1) * (u128::from(record.unsigned_abs()) + 1);
    cost(one, other_record).cmp(&cost(other, one_record))
}
