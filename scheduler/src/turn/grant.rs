//! Queued jobs get leases.

use super::Turn;
use crate::effect::Effect;
use crate::id::JobId;
use crate::job::{Job, Phase};
use crate::matching::{Choice, choose};
use crate::record::Fact;

/// Providers looked at in one step, plus one for each job; what is left goes on in the next step.
const LOOKS_PER_STEP: usize = 4_096;

impl Turn<'_> {
    pub(super) fn grant_waiting(&mut self) {
        let mut looks_left = LOOKS_PER_STEP;
        while looks_left > 0
            && let Some(job) = self.wakes.next(&self.state.index)
        {
            let looks = self.try_grant(job);
            looks_left = looks_left.saturating_sub(looks + 1);
        }
    }

    /// Leases the job if somebody can take it; says how many providers were looked at.
    fn try_grant(&mut self, id: JobId) -> usize {
        let Some(job) = self.state.jobs.get(&id).filter(|job| job.phase == Phase::Queued) else {
            return 0;
        };
        let (looks, choice) = choose(self.state, job);
        if let Some(choice) = choice {
            self.grant(&job.clone(), choice);
        }
        looks
    }

    fn grant(&mut self, job: &Job, choice: Choice) {
        let lease = self.state.next_lease;
        let accept_by_ms = job.terms.by(self.now_ms, job.terms.accept_ms);
        self.record(Fact::Leased { job: job.id, provider: choice.provider, lease, accept_by_ms });
        self.step.effects.push(Effect::AnnounceLease {
            job: job.id,
            customer: job.customer,
            provider: choice.provider,
            attempt: job.next_attempt(),
            lease,
            expires_at_ms: accept_by_ms,
            seed: choice.seed,
            why: choice.why,
        });
        self.touched.insert(job.id);
    }
}
