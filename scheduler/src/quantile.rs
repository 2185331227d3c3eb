//! How long runs and first words take: histograms in whole numbers, for deadlines that follow what is observed.
//!
//! Four buckets an octave, so a quantile is at most a quarter too high and never too low. What is old fades: as soon as a
//! histogram has [`HALVE_AT`] runs every bucket is halved. Only accepted results count: who times out or lies moves nothing.

use crate::provider::Provider;
use crate::state::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Runs at which a histogram is halved.
pub const HALVE_AT: u32 = 256;
/// Kinds whose run times are kept for everybody together; the one with the fewest runs makes room.
pub const KINDS_MAX: usize = 1_024;
/// Kinds whose run times are kept for one provider, likewise.
pub const OWN_KINDS_MAX: usize = 8;
/// Runs of a provider in a kind from which on its own quantile counts.
pub const OWN_RUNS_MIN: u32 = 8;
/// Runs of a kind from which on the kind's quantile counts.
pub const KIND_RUNS_MIN: u32 = 20;

/// How often runs took about so long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// Buckets that hold any, by number.
    buckets: BTreeMap<u8, u32>,
}

/// How long those who do jobs of a kind take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// For a run.
    pub runs: Histogram,
    /// To say a first word: from the lease to the first sign of work.
    pub accepts: Histogram,
}

/// One accepted result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timed {
    /// How long the run took.
    pub ran_ms: u64,
    /// How long it took to say a first word; `None`: nobody knows, it came when its lease was over.
    pub accepted_ms: Option<u64>,
}

/// Paces by kind.
pub type Paces = BTreeMap<u16, Pace>;

impl Histogram {
    /// Counts a run of so many milliseconds.
    pub(crate) fn note(&mut self, ms: u64) {
        *self.buckets.entry(bucket(ms)).or_default() += 1;
        if self.runs() >= HALVE_AT {
            self.buckets.values_mut().for_each(|count| *count /= 2);
            self.buckets.retain(|_, count| *count > 0);
        }
    }

    /// Runs that it holds.
    pub fn runs(&self) -> u32 {
        self.buckets.values().sum()
    }

    /// A time that at least this many per cent of the runs did not exceed, in milliseconds; `None` without any.
    pub fn percentile_ms(&self, percent: u32) -> Option<u64> {
        let rank = (u64::from(self.runs()) * u64::from(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        let reaches = |count: &u32| {
            seen += u64::from(*count);
            seen >= rank
        };
        let mut buckets = self.buckets.iter();
        let mut reaches = reaches;
        buckets.find(|(_, count)| reaches(count)).map(|(bucket, _)| ceiling_ms(*bucket))
    }
}

/// Counts a result of a kind, in a table of at most so many kinds.
pub(crate) fn note(paces: &mut Paces, kind: u16, timed: Timed, kinds_max: usize) {
    if !paces.contains_key(&kind) && paces.len() >= kinds_max {
        let fewest = paces.iter().min_by_key(|(kind, pace)| (pace.runs.runs(), **kind));
        if let Some(fewest) = fewest.map(|(kind, _)| *kind) {
            paces.remove(&fewest);
        }
    }
    let pace = paces.entry(kind).or_default();
    pace.runs.note(timed.ran_ms);
    timed.accepted_ms.into_iter().for_each(|ms| pace.accepts.note(ms));
}

/// Which of the histograms of a kind is meant.
pub(crate) type Which = fn(&Pace) -> &Histogram;

/// What is expected of a provider and a kind: its own percentile, or else the kind's; `None`: too little is known.
pub(crate) fn expected_ms(state: &State, provider: &Provider, kind: u16, which: Which, percent: u32) -> Option<u64> {
    let own = known_ms(&provider.paces, kind, which, OWN_RUNS_MIN, percent);
    own.or_else(|| kind_percentile_ms(state, kind, which, percent))
}

/// A percentile of everybody's times for a kind; `None`: too little is known.
pub(crate) fn kind_percentile_ms(state: &State, kind: u16, which: Which, percent: u32) -> Option<u64> {
    known_ms(&state.paces, kind, which, KIND_RUNS_MIN, percent)
}

fn known_ms(paces: &Paces, kind: u16, which: Which, least: u32, percent: u32) -> Option<u64> {
    paces.get(&kind).map(which).filter(|histogram| histogram.runs() >= least)?.percentile_ms(percent)
}

/// The number of a bucket: below 4 the milliseconds themselves, then four for each doubling.
fn bucket(ms: u64) -> u8 {
    let Some(octave) = ms.checked_ilog2().filter(|octave| *octave >= 2) else {
        return u8::try_from(ms).unwrap_or(0);
    };
    let quarter = (ms >> (octave - 2)) & 3;
    // At most 62 * 4 + 3.
    u8::try_from(u64::from(octave - 1) * 4 + quarter).unwrap_or(u8::MAX)
}

/// The longest time in a bucket.
fn ceiling_ms(bucket: u8) -> u64 {
    let bucket = u32::from(bucket);
    if bucket < 4 {
        return u64::from(bucket);
    }
    let (octave, quarter) = (bucket / 4 + 1, u128::from(bucket % 4));
    let above = (5 + quarter) << (octave - 2);
    u64::try_from(above - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn every_time_lies_in_its_bucket_and_the_next_begins_behind_it() {
        for bucket_number in 0..=250 {
            let last = ceiling_ms(bucket_number);
            assert_eq!(bucket(last), bucket_number);
            assert_eq!(bucket(last + 1), bucket_number + 1);
        }
        assert_eq!((bucket(u64::MAX), ceiling_ms(251)), (251, u64::MAX));
    }

    #[test]
    fn what_is_old_fades() {
        let mut histogram = Histogram::default();
        (0..300).for_each(|_| histogram.note(1_000_000));
        (0..400).for_each(|_| histogram.note(10));
        assert!(histogram.runs() < HALVE_AT);
        assert!(histogram.percentile_ms(80).is_some_and(|ms| ms < 20), "{histogram:?}");
    }

    #[test]
    fn a_full_table_makes_room_and_forgets_the_kind_with_the_fewest_runs() {
        let (mut paces, timed) = (Paces::new(), Timed { ran_ms: 5, accepted_ms: None });
        for (kind, times) in [(1, 3), (2, 1), (3, 2)] {
            (0..times).for_each(|_| note(&mut paces, kind, timed, 3));
        }
        note(&mut paces, 4, timed, 3);
        assert_eq!(paces.keys().copied().collect::<Vec<_>>(), [1, 3, 4]);
    }

    proptest! {
        /// The twin sorts all times and takes the one of that rank.
        #[test]
        fn a_percentile_is_the_sorted_lists_or_a_quarter_more(
            times in vec(prop_oneof![0..5_u64, 0..100_000_u64, any::<u64>()], 1..200),
            percent in 1..=100_u32,
        ) {
            let mut histogram = Histogram::default();
            times.iter().for_each(|ms| histogram.note(*ms));
            let mut sorted = times.clone();
            sorted.sort_unstable();
            let rank = (times.len() * percent as usize).div_ceil(100);
            let exact = sorted[rank - 1];
            let found = histogram.percentile_ms(percent).expect("there are runs");
            prop_assert!(found >= exact && found <= exact.saturating_add(exact / 4), "{found} for {exact}");
        }
    }
}
