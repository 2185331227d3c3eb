//! Which of several indexes has least to offer, learnt by looking into each a little.
//!
//! Every range yields entries in the order of answers, so how far in time the first few entries reach tells how thick
//! a range lies where the scan stands now. Each slice looks anew: an author who was rare last year and is not in
//! January is met with another index in January, and what was found so far stays right, as every index yields the
//! same order.

use std::cmp::Ordering;

use super::super::StoreError;
use super::plan::Candidate;
use super::scan::Window;
use super::view::View;

/// Entries looked at in one candidate, about.
const ENTRIES: usize = 32;
/// Ranges looked into in one candidate; of more, as many evenly chosen ones stand for all.
const RANGES: usize = 8;
/// What a seek costs, in entries.
const SEEK: u64 = 4;

/// How much there is to walk in a candidate from where the scan stands.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    /// Entries a second in the ranges whose end is not in sight; 0 when all ends are.
    rate: f64,
    /// Steps to the end, as far as it is in sight.
    steps: u64,
}

/// The place of the candidate that is cheapest to walk.
pub fn sparsest(view: &View<'_>, candidates: &[Candidate], window: Window) -> Result<usize, StoreError> {
    let samples: Vec<Sample> =
        candidates.iter().map(|candidate| Sample::take(view, candidate, window)).collect::<Result<_, _>>()?;
    // Where the first entry of any stands: the window may begin long before it.
    let nearest = |a: u64, b: u64| if window.ascending { a.min(b) } else { a.max(b) };
    let Some(start) = samples.iter().filter_map(|sample| sample.first).reduce(nearest) else { return Ok(0) };
    let estimates = samples.iter().map(|sample| sample.estimate(start)).enumerate();
    Ok(estimates.min_by(|(_, a), (_, b)| a.compare(b)).map_or(0, |(at, _)| at))
}

/// What a look into some ranges of a candidate found.
struct Sample {
    ranges: usize,
    looked_into: usize,
    entries: usize,
    /// Where in time the first entry of all stands.
    first: Option<u64>,
    /// Entries of each range whose end was not reached, and where in time the last of them stands.
    unfinished: Vec<(usize, u64)>,
}

impl Sample {
    fn take(view: &View<'_>, (index, prefixes): &Candidate, window: Window) -> Result<Self, StoreError> {
        let looked_into = prefixes.len().clamp(1, RANGES);
        let most = ENTRIES / looked_into;
        let mut sample = Self { ranges: prefixes.len(), looked_into, entries: 0, first: None, unfinished: Vec::new() };
        let mut entries = view.index(*index, window.ascending);
        for prefix in prefixes.iter().step_by(prefixes.len().div_ceil(looked_into).max(1)) {
            let key = prefix.at(window.start());
            if window.ascending {
                entries.seek_for_prev(key)
            } else {
                entries.seek(key)
            }
            let mut count = 0;
            while let Some(position) = entries.key().and_then(|key| prefix.position(key)).filter(|p| window.holds(*p)) {
                let time = position.created_at();
                let nearer = |first: u64| if window.ascending { first.min(time) } else { first.max(time) };
                sample.first = Some(sample.first.map_or(time, nearer));
                count += 1;
                if count == most {
                    sample.unfinished.push((count, time));
                    break;
                }
                if window.ascending { entries.prev() } else { entries.next() }
            }
            entries.status()?;
            sample.entries += count;
        }
        Ok(sample)
    }

    fn estimate(&self, start: u64) -> Estimate {
        let rate: f64 =
            self.unfinished.iter().map(|(count, last)| *count as f64 / (start.abs_diff(*last) + 1) as f64).sum();
        let share = self.ranges as f64 / self.looked_into as f64;
        let steps = self.ranges as u64 * SEEK + (self.entries as f64 * share) as u64;
        Estimate { rate: rate * share, steps }
    }
}

impl Estimate {
    /// What ends in sight comes before what does not.
    fn compare(&self, other: &Self) -> Ordering {
        self.rate.total_cmp(&other.rate).then(self.steps.cmp(&other.steps))
    }
}
