//! What somebody's past says: evidence for and against, decayed, capped for each counterparty, and its lower bound.
//!
//! An **outcome** weighs `1 + min(7, log2(1 + sat) / 2)`, rounded down, where `sat` is what was paid for it: 1 unpaid, 8 from 16,383 sat.
//! Evidence halves every half-life, in 32 steps of `2^(-1/32)`.
//!
//! Each **counterparty** has a share of at most 8: when a new outcome does not fit, its older ones shrink in proportion, so that its last
//! word counts. Counterparties without a standing of their own are one counterparty with a share of 4: a hundred
//! fresh keys say half as much as one known customer may. The 16 counterparties that say most are remembered by name, the others together.
//!
//! The **lower bound** is Wilson's at 5%, with one outcome for and one against added, `g` and `n` being what is for, and all there is:
//!
//! ```text
//! low = (g + z²/2 - z * sqrt(g * (n - g) / n + z²/4)) / (n + z²)        z = 1.644854; a newcomer has 0.120
//! ```

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One outcome of weight 1.
pub const OUTCOME: u64 = 1 << 16;
/// The most that one counterparty's word weighs.
pub const SHARE_MAX: u64 = 8 * OUTCOME;
/// The most that the word of all counterparties without a standing weighs.
pub const NEWCOMERS_SHARE_MAX: u64 = 4 * OUTCOME;
/// Counterparties remembered by name.
pub const SHARES_MAX: usize = 16;
/// Job kinds of one provider with a tally of their own; the one that was touched longest ago makes room.
pub const TALLIES_MAX: usize = 32;
/// How long evidence takes to halve, unless the operator says otherwise: 30 days.
pub const HALF_LIFE_MS: u64 = 30 * 86_400_000;

/// z and z², in units of an outcome.
const Z: u64 = 107_797;
const Z2: u64 = 177_310;

/// `2^(-step / 32)` in units of `2^-32`.
const DECAY: [u64; 32] = [
    4_294_967_296,
    4_202_935_003,
    4_112_874_773,
    4_024_744_348,
    3_938_502_376,
    3_854_108_391,
    3_771_522_796,
    3_690_706_840,
    3_611_622_603,
    3_534_232_978,
    3_458_501_653,
    3_384_393_094,
    3_311_872_529,
    3_240_905_930,
    3_171_459_999,
    3_103_502_151,
    3_037_000_500,
    2_971_923_842,
    2_908_241_642,
    2_845_924_021,
    2_784_941_738,
    2_725_266_179,
    2_666_869_345,
    2_609_723_834,
    2_553_802_834,
    2_499_080_105,
    2_445_529_972,
    2_393_127_307,
    2_341_847_524,
    2_291_666_561,
    2_242_560_872,
    2_194_507_417,
];

/// Evidence, in [`OUTCOME`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// For.
    pub good: u64,
    /// Against.
    pub bad: u64,
}

/// Who the other side of an outcome was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counterparty {
    /// One with a standing: its public key.
    Known([u8; 32]),
    /// One without.
    Newcomer,
}

/// The evidence about somebody in one matter, and who gave it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// When it was decayed last.
    pub as_of_ms: u64,
    /// What the counterparties with a standing say, by public key; at most [`SHARES_MAX`].
    pub shares: BTreeMap<[u8; 32], Evidence>,
    /// What those without say, together.
    pub newcomers: Evidence,
    /// What those say who made room for others.
    pub others: Evidence,
    /// All of it together.
    pub sum: Evidence,
}

/// A provider's tallies by job kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reputation {
    /// At most [`TALLIES_MAX`].
    pub tallies: BTreeMap<u16, Tally>,
}

/// How much an outcome weighs for which so much was paid.
pub fn weight(paid_msat: u64) -> u64 {
    let sat = paid_msat / 1_000;
    let log2 = u64::from(sat.saturating_add(1).ilog2());
    OUTCOME * (1 + (log2 / 2).min(7))
}

impl Evidence {
    /// All of it.
    pub fn total(self) -> u64 {
        self.good.saturating_add(self.bad)
    }

    /// Both kinds of evidence added.
    pub fn plus(self, other: Self) -> Self {
        Self { good: self.good.saturating_add(other.good), bad: self.bad.saturating_add(other.bad) }
    }

    /// `part / whole` of it, rounded down.
    fn scaled(self, part: u64, whole: u64) -> Self {
        let whole = whole.max(1);
        let scale_far =
            |of: u64| u64::try_from(u128::from(of) * u128::from(part) / u128::from(whole)).unwrap_or(u64::MAX);
        let scale = |of: u64| of.checked_mul(part).map_or_else(|| scale_far(of), |product| product / whole);
        Self { good: scale(self.good), bad: scale(self.bad) }
    }

    /// What is left of it after `steps`, 32 of them a half-life.
    fn decayed(self, steps: u64) -> Self {
        if steps == 0 {
            return self;
        }
        let step = DECAY.get(usize::try_from(steps % 32).unwrap_or(0)).copied().unwrap_or(0);
        let left = self.scaled(step, 1 << 32);
        let halvings = u32::try_from(steps / 32).unwrap_or(u32::MAX);
        let halve = |of: u64| of.checked_shr(halvings).unwrap_or(0);
        Self { good: halve(left.good), bad: halve(left.bad) }
    }

    /// Adds an outcome; what does not fit under `max` shrinks what was there before.
    fn add(&mut self, outcome: Self, max: u64) {
        let outcome = if outcome.total() > max { outcome.scaled(max, outcome.total()) } else { outcome };
        let room = max - outcome.total();
        if self.total() > room {
            *self = self.scaled(room, self.total());
        }
        *self = self.plus(outcome);
    }

    /// Wilson's lower bound at 5% in thousandths, with one outcome for and one against added.
    pub fn low_permille(self) -> i64 {
        /// So much, 4,096 outcomes of the highest weight, and nothing overflows 64 bits, which are several times as quick.
        const SMALL: u64 = 1 << 31;
        if self.good.max(self.bad) < SMALL { self.low_of_small() } else { self.low_of_any() }
    }

    fn low_of_small(self) -> i64 {
        let (good, bad) = (self.good + OUTCOME, self.bad + OUTCOME);
        let all = good + bad;
        let root = (good * bad / all * OUTCOME + Z2 * OUTCOME / 4).isqrt();
        let low = (good + Z2 / 2).saturating_sub(Z * root / OUTCOME);
        i64::try_from(1_000 * low / (all + Z2)).unwrap_or(1_000)
    }

    fn low_of_any(self) -> i64 {
        let [one, z, z2] = [OUTCOME, Z, Z2].map(u128::from);
        let (good, bad) = (u128::from(self.good) + one, u128::from(self.bad) + one);
        let all = good + bad;
        let root = (good * bad / all * one + z2 * one / 4).isqrt();
        let low = (good + z2 / 2).saturating_sub(z * root / one);
        i64::try_from(1_000 * low / (all + z2)).unwrap_or(1_000)
    }
}

/// Steps of decay between two times; the steps lie at fixed times, so it does not matter how often one looks.
fn steps(from_ms: u64, to_ms: u64, half_life_ms: u64) -> u64 {
    let step_ms = (half_life_ms / 32).max(1);
    (to_ms / step_ms).saturating_sub(from_ms / step_ms)
}

impl Tally {
    /// What is left of the evidence at this time.
    pub fn evidence(&self, now_ms: u64, half_life_ms: u64) -> Evidence {
        self.sum.decayed(steps(self.as_of_ms, now_ms, half_life_ms))
    }

    /// Adds an outcome; of what came before only what is left counts on.
    pub(crate) fn note(&mut self, who: Counterparty, outcome: Evidence, now_ms: u64, half_life_ms: u64) {
        self.decay(now_ms, half_life_ms);
        match who {
            Counterparty::Newcomer => self.newcomers.add(outcome, NEWCOMERS_SHARE_MAX),
            Counterparty::Known(key) => {
                self.shares.entry(key).or_default().add(outcome, SHARE_MAX);
                self.fit();
            }
        }
        self.sum = self.added_up();
    }

    fn decay(&mut self, now_ms: u64, half_life_ms: u64) {
        let steps = steps(self.as_of_ms, now_ms, half_life_ms);
        self.as_of_ms = now_ms;
        if steps > 0 {
            self.shares.values_mut().for_each(|share| *share = share.decayed(steps));
            self.newcomers = self.newcomers.decayed(steps);
            self.others = self.others.decayed(steps);
        }
        if self.shares.values().any(|share| share.total() == 0) {
            self.shares.retain(|_, share| share.total() > 0);
        }
    }

    /// The counterparty that says least makes room.
    fn fit(&mut self) {
        if self.shares.len() <= SHARES_MAX {
            return;
        }
        let least = self.shares.iter().min_by_key(|(key, share)| (share.total(), **key));
        if let Some(share) = least.map(|(key, _)| *key).and_then(|key| self.shares.remove(&key)) {
            self.others = self.others.plus(share);
        }
    }

    fn added_up(&self) -> Evidence {
        self.shares.values().fold(self.newcomers.plus(self.others), |sum, share| sum.plus(*share))
    }

    /// What does not hold of it, in words for a developer.
    pub(crate) fn flaw(&self) -> Option<&'static str> {
        let rules = [
            (self.shares.len() <= SHARES_MAX, "too many shares"),
            (self.shares.values().all(|share| share.total() <= SHARE_MAX), "a share is too large"),
            (self.newcomers.total() <= NEWCOMERS_SHARE_MAX, "the newcomers' share is too large"),
            (self.sum == self.added_up(), "the shares do not add up"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map(|(_, flaw)| flaw)
    }
}

impl Reputation {
    /// The lower bound for a job kind at this time, in thousandths.
    pub fn low_permille(&self, kind: u16, now_ms: u64, half_life_ms: u64) -> i64 {
        let tally = self.tallies.get(&kind);
        tally.map_or(Evidence::default(), |tally| tally.evidence(now_ms, half_life_ms)).low_permille()
    }

    /// All kinds together.
    pub fn evidence(&self, now_ms: u64, half_life_ms: u64) -> Evidence {
        let tallies = self.tallies.values().map(|tally| tally.evidence(now_ms, half_life_ms));
        tallies.fold(Evidence::default(), Evidence::plus)
    }

    /// Adds an outcome of a job of this kind.
    pub(crate) fn note(&mut self, kind: u16, who: Counterparty, outcome: Evidence, now_ms: u64, half_life_ms: u64) {
        self.tallies.entry(kind).or_default().note(who, outcome, now_ms, half_life_ms);
        if self.tallies.len() > TALLIES_MAX {
            let others = self.tallies.iter().filter(|(other, _)| **other != kind);
            let oldest = others.min_by_key(|(other, tally)| (tally.as_of_ms, **other)).map(|(other, _)| *other);
            oldest.and_then(|other| self.tallies.remove(&other));
        }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.tallies.is_empty()
    }

    /// What does not hold of it, in words for a developer.
    pub(crate) fn flaw(&self) -> Option<&'static str> {
        let too_many = (self.tallies.len() > TALLIES_MAX).then_some("too many tallies");
        too_many.or_else(|| self.tallies.values().find_map(Tally::flaw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;

    fn outcomes(good: u64, bad: u64) -> Evidence {
        Evidence { good: good * OUTCOME, bad: bad * OUTCOME }
    }

    fn known(n: u8) -> Counterparty {
        Counterparty::Known([n; 32])
    }

    /// Computed apart, in floating point: Wilson's score with z = 1.6448536.
    #[test]
    fn the_lower_bound_is_wilsons() {
        for ((good, bad), expected) in [
            ((0, 0), 120),
            ((1, 0), 253),
            ((0, 1), 78),
            ((2, 0), 356),
            ((8, 0), 652),
            ((8, 8), 319),
            ((0, 8), 22),
            ((16, 0), 785),
            ((100, 0), 957),
            ((90, 10), 831),
            ((1_000_000, 0), 999),
        ] {
            assert_eq!(outcomes(good, bad).low_permille(), expected, "{good} for, {bad} against");
        }
    }

    #[test]
    fn what_is_paid_weighs_more_up_to_eight_times() {
        let weights = [0, 999, 1_000, 3_000, 1_000_000, 16_383_000, u64::MAX].map(|msat| weight(msat) / OUTCOME);
        assert_eq!(weights, [1, 1, 1, 2, 5, 8, 8]);
    }

    #[test]
    fn the_steps_of_decay_multiply_to_a_half() {
        for (step, factor) in DECAY.iter().enumerate().skip(1) {
            let product = u128::from(*factor) * u128::from(DECAY[32 - step]);
            let half = 1_u128 << 63;
            assert!(product.abs_diff(half) < 1 << 33, "step {step}");
        }
    }

    #[test]
    fn evidence_halves_in_a_half_life_however_often_one_looks() {
        let mut tally = Tally::default();
        tally.note(known(1), outcomes(4, 0), 0, HALF_LIFE_MS);
        assert_eq!(tally.evidence(HALF_LIFE_MS, HALF_LIFE_MS), outcomes(2, 0));
        assert_eq!(tally.evidence(3 * HALF_LIFE_MS, HALF_LIFE_MS).good, OUTCOME / 2);
        assert_eq!(tally.evidence(u64::MAX, HALF_LIFE_MS), Evidence::default());
        for hour in 1..=720 {
            tally.note(Counterparty::Newcomer, Evidence::default(), hour * DAY / 24, HALF_LIFE_MS);
        }
        let left = tally.evidence(HALF_LIFE_MS, HALF_LIFE_MS).good;
        assert!(left.abs_diff(2 * OUTCOME) < 64, "{left}");
    }

    #[test]
    fn one_customer_alone_does_not_lift_anybody_far() {
        let mut tally = Tally::default();
        for _ in 0..1_000 {
            tally.note(known(1), outcomes(8, 0), 0, HALF_LIFE_MS);
        }
        assert_eq!(tally.evidence(0, HALF_LIFE_MS), outcomes(8, 0));
        for _ in 0..1_000 {
            tally.note(Counterparty::Newcomer, outcomes(1, 0), 0, HALF_LIFE_MS);
        }
        assert_eq!(tally.evidence(0, HALF_LIFE_MS), outcomes(12, 0));
    }

    #[test]
    fn the_last_word_of_a_counterparty_counts() {
        let mut tally = Tally::default();
        (0..100).for_each(|_| tally.note(known(1), outcomes(1, 0), 0, HALF_LIFE_MS));
        (0..4).for_each(|_| tally.note(known(1), outcomes(0, 1), 0, HALF_LIFE_MS));
        let evidence = tally.evidence(0, HALF_LIFE_MS);
        assert!(evidence.total() <= SHARE_MAX && evidence.bad > 3 * OUTCOME, "{evidence:?}");
    }

    #[test]
    fn a_seventeenth_counterparty_takes_the_place_of_the_least() {
        let mut tally = Tally::default();
        (0..16).for_each(|n| tally.note(known(n), outcomes(u64::from(n % 3) + 1, 0), 0, HALF_LIFE_MS));
        let before = tally.evidence(0, HALF_LIFE_MS);
        tally.note(known(16), outcomes(2, 1), 0, HALF_LIFE_MS);
        assert_eq!(tally.shares.len(), SHARES_MAX);
        assert!(!tally.shares.contains_key(&[0; 32]) && tally.others == outcomes(1, 0));
        assert_eq!(tally.evidence(0, HALF_LIFE_MS), before.plus(outcomes(2, 1)));
        assert_eq!(tally.flaw(), None);
    }

    proptest::proptest! {
        #[test]
        fn whatever_happens_the_bounds_hold(
            notes in proptest::collection::vec((0..24_u8, 0..40_u64, 0..40_u64, 0..100_u64), 0..200),
        ) {
            let (mut reputation, mut now_ms) = (Reputation::default(), 0);
            for (n, good, bad, days) in notes {
                now_ms += days * DAY;
                let who = if n < 4 { Counterparty::Newcomer } else { known(n) };
                reputation.note(u16::from(n) * 2, who, outcomes(good, bad), now_ms, HALF_LIFE_MS);
                proptest::prop_assert_eq!(reputation.flaw(), None);
                let low = reputation.low_permille(u16::from(n) * 2, now_ms, HALF_LIFE_MS);
                proptest::prop_assert!((0..1_000).contains(&low));
            }
        }

        #[test]
        fn small_evidence_is_rated_as_any(good in 0..1_u64 << 31, bad in 0..1_u64 << 31, shift in 0..31_u32) {
            let evidence = Evidence { good: good >> shift, bad };
            proptest::prop_assert_eq!(evidence.low_of_small(), evidence.low_of_any());
        }

        #[test]
        fn more_for_never_lowers_and_more_against_never_lifts(good in 0..1_000_u64, bad in 0..1_000_u64) {
            let low = outcomes(good, bad).low_permille();
            proptest::prop_assert!(outcomes(good + 1, bad).low_permille() >= low);
            proptest::prop_assert!(outcomes(good, bad + 1).low_permille() <= low);
        }
    }
}
