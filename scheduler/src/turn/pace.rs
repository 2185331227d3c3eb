//! How long a run and a first word may take, and when a run counts as slow.

use super::Turn;
use crate::id::ProviderId;
use crate::job::Job;
use crate::quantile::{Which, expected_ms, kind_percentile_ms};

const RUNS: Which = |pace| &pace.runs;
const ACCEPTS: Which = |pace| &pace.accepts;
/// A run, or a first word, may take so many times as long as ...
const USUAL_TIMES: u64 = 3;
/// ... so many of 100 do.
const USUAL_PERCENT: u32 = 95;
/// A run is slow when it takes longer than so many of 100 of its kind.
const SLOW_PERCENT: u32 = 90;

impl Turn<'_> {
    /// How long a run may take: as asked, or what is expected of it, or else as the operator says.
    pub(super) fn run_ms(&self, job: &Job, provider: ProviderId) -> u64 {
        let asked = job.request.run_timeout_ms.is_some() || !self.config.run_timeout_derived;
        let row = self.state.providers.get(&provider).filter(|_| !asked);
        let expected = row.and_then(|row| expected_ms(self.state, row, job.request.kind, RUNS, USUAL_PERCENT));
        let bounds = (self.config.run_timeout_min_ms, self.config.run_timeout_max_ms);
        expected.map_or(job.terms.run_ms, |ms| ms.saturating_mul(USUAL_TIMES).clamp(bounds.0, bounds.1))
    }

    /// How long a leaseholder may take to say a first word, likewise.
    pub(super) fn accept_ms(&self, job: &Job, provider: ProviderId) -> u64 {
        let asked = job.request.accept_timeout_ms.is_some() || !self.config.accept_timeout_derived;
        let row = self.state.providers.get(&provider).filter(|_| !asked);
        let expected = row.and_then(|row| expected_ms(self.state, row, job.request.kind, ACCEPTS, USUAL_PERCENT));
        let bounds = (self.config.accept_timeout_min_ms, self.config.accept_timeout_max_ms);
        expected.map_or(job.terms.accept_ms, |ms| ms.saturating_mul(USUAL_TIMES).clamp(bounds.0, bounds.1))
    }

    /// When a run that begins now is slow, if the job will then have no time to lose: if it does not come by the end of its
    /// run, there is none for another one. A job has one backup in its life.
    pub(super) fn straggles_at_ms(&self, job: &Job, run_by_ms: u64) -> Option<u64> {
        if !self.config.backups || job.backup.is_some() {
            return None;
        }
        let slow_ms = kind_percentile_ms(self.state, job.request.kind, RUNS, SLOW_PERCENT)?;
        let at_ms = self.now_ms.saturating_add(slow_ms);
        let is_short = run_by_ms.saturating_add(slow_ms) > job.terms.deadline_ms;
        (is_short && at_ms < run_by_ms).then_some(at_ms)
    }
}
