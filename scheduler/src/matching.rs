//! Which provider gets a job.
//!
//! **Feasible** is a provider that is alive, has a free slot, offers the kind at no more than the bid, has not tried the job, is
//! named by the request if that names any, and meets every requirement. Of the feasible, in order of their ids, two are drawn
//! and the better one wins; of equals the one drawn first. Drawing two is nearly as good as scoring everybody,
//! and does not send every job to the same best provider.
//!
//! **Draw.** `seed = hash(job, attempt)`; `first = seed mod n`, `second` is another one, `splitmix64(seed) mod (n - 1)` among the rest.
//! `hash` folds the job id's four little-endian words and then the attempt through [`splitmix64`]: `h = splitmix64(h ^ word)` from 0.
//!
//! **Score**, all in thousandths and integers, rounded down:
//!
//! ```text
//! record = the lower bound of its reputation for the kind         see `reputation`; a newcomer has 120
//! price  = 1000 * (cheapest + 1) / (price + 1)                    cheapest of the feasible; no price counts as 0
//! free   = 1000 * free slots / slots
//! online = 1000 when it has an authenticated connection, else 0
//! score  = 4 * record + 3 * price + 2 * online + 1 * free
//! ```

use crate::id::{JobId, ProviderId};
use crate::job::Job;
use crate::provider::Provider;
use crate::state::State;

/// Who gets the job, and what an auditor needs to come to the same choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The winner.
    pub provider: ProviderId,
    /// Where the draw came from.
    pub seed: u64,
    /// `record`, `price`, `online`, `free`, `score` and `feasible`.
    pub why: Vec<(&'static str, i64)>,
}

/// A provider that could take the job, and its price in millisatoshi.
type Candidate<'a> = (&'a Provider, u64);

/// The choice for a job and how many providers were looked at.
pub(crate) fn choose(state: &State, job: &Job) -> (usize, Option<Choice>) {
    let available = state.index.available.get(&job.request.kind);
    let Some(available) = available else {
        return (0, None);
    };
    let named = !job.request.providers.is_empty();
    let of = |id: &ProviderId| state.providers.get(id).and_then(|provider| candidate(job, provider));
    let candidates: Vec<Candidate<'_>> = if named {
        let present = job.request.providers.iter().filter(|id| available.contains(id));
        present.filter_map(of).collect()
    } else {
        available.iter().filter_map(of).collect()
    };
    let examined = if named { job.request.providers.len() } else { available.len() };
    (examined, best_of_two(state, job, &candidates))
}

/// Whether a provider, known to be available, may have the job, and at what price.
fn candidate<'a>(job: &Job, provider: &'a Provider) -> Option<Candidate<'a>> {
    let price_msat = provider.offer(job.request.kind)?.price_msat;
    let affordable = match (price_msat, job.request.bid_msat) {
        (Some(price), Some(bid)) => price <= bid,
        (Some(_) | None, None) | (None, Some(_)) => true,
    };
    if !affordable || job.has_tried(provider.id) {
        return None;
    }
    let advert = provider.advert.as_ref()?;
    let meets_all = job.request.require.iter().all(|requirement| requirement.holds(advert));
    meets_all.then_some((provider, price_msat.unwrap_or(0)))
}

/// Whether any provider could take the job: what `choose` would say, without the indexes.
pub(crate) fn is_feasible(job: &Job, provider: &Provider) -> bool {
    provider.is_available() && job.admits(provider.id) && candidate(job, provider).is_some()
}

fn best_of_two(state: &State, job: &Job, candidates: &[Candidate<'_>]) -> Option<Choice> {
    let cheapest_msat = candidates.iter().map(|(_, price_msat)| *price_msat).min()?;
    let seed = seed(job.id, job.next_attempt());
    let (first, second) = draw_two(seed, candidates.len());
    let rate = |at: usize| {
        let candidate = candidates.get(at)?;
        Some(Score::of(candidate, state.low_permille(candidate.0, job.request.kind), cheapest_msat))
    };
    let (winner, score) = match (rate(first), rate(second)) {
        (Some(one), Some(two)) if two.total() > one.total() => (second, two),
        (Some(one), Some(_) | None) => (first, one),
        (None, Some(_) | None) => return None,
    };
    let (provider, _) = candidates.get(winner)?;
    Some(Choice { provider: provider.id, seed, why: score.why(candidates.len()) })
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

    fn why(self, feasible: usize) -> Vec<(&'static str, i64)> {
        vec![
            ("record", self.record),
            ("price", self.price),
            ("online", self.online),
            ("free", self.free),
            ("score", self.total()),
            ("feasible", i64::try_from(feasible).unwrap_or(i64::MAX)),
        ]
    }
}

/// `1000 * part / whole` for `part <= whole`.
fn permille(part: u128, whole: u128) -> i64 {
    assert!(part <= whole && whole > 0, "a share is at most the whole");
    i64::try_from(1_000 * part / whole).unwrap_or(1_000)
}

/// The seed of an attempt at a job.
pub fn seed(job: JobId, attempt: u32) -> u64 {
    let words = job.0.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    words.chain([u64::from(attempt)]).fold(0, |hash, word| splitmix64(hash ^ word))
}

/// One step of Steele, Lea and Flood's splitmix64: a bijection that mixes all bits.
pub fn splitmix64(x: u64) -> u64 {
    let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Two different places below `n`, or the same one twice when there is only one.
fn draw_two(seed: u64, n: usize) -> (usize, usize) {
    assert!(n > 0, "nobody to draw from");
    let first = below(seed, n);
    if n == 1 {
        return (first, first);
    }
    let second = below(splitmix64(seed), n - 1);
    (first, if second >= first { second + 1 } else { second })
}

fn below(random: u64, n: usize) -> usize {
    let n = u64::try_from(n).unwrap_or(u64::MAX);
    usize::try_from(random % n).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_matches_its_published_first_output() {
        assert_eq!(splitmix64(0), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn the_two_drawn_differ_and_all_are_drawn() {
        for n in 2..9 {
            let drawn: Vec<_> = (0..400).map(|seed| draw_two(splitmix64(seed), n)).collect();
            assert!(drawn.iter().all(|(first, second)| first != second && *second < n));
            assert!((0..n).all(|at| drawn.iter().any(|(first, _)| *first == at)));
            assert!((0..n).all(|at| drawn.iter().any(|(_, second)| *second == at)));
        }
    }

    /// Computed apart from this crate: who audits a lease must come to the same numbers.
    #[test]
    fn the_seed_of_job_and_attempt_is_as_published() {
        let job = JobId(std::array::from_fn(|at| u8::try_from(at).expect("32 bytes")));
        assert_eq!(seed(job, 1), 0x7c06_cee8_cf7b_9640);
        assert_eq!(seed(job, 2), 0xa0ed_c95e_36a3_38b1);
    }
}
