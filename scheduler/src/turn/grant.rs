//! Jobs that want leases get them.

use super::Turn;
use crate::auction::{Winner, winner};
use crate::effect::Effect;
use crate::id::JobId;
use crate::matching::{Choice, choose, seed};
use crate::record::Fact;

/// Providers looked at in one step, plus one for each job; what is left goes on in the next step.
const LOOKS_PER_STEP: usize = 4_096;

impl Turn<'_> {
    pub(super) fn grant_waiting(&mut self) {
        let mut looks_left = LOOKS_PER_STEP;
        while looks_left > 0
            && let Some(look) = self.wakes.next(self.state)
        {
            let looks = look.job.map_or(0, |job| self.try_grant(job));
            looks_left = looks_left.saturating_sub(look.looks + looks + 1);
        }
    }

    /// Leases the job to as many as it wants and can have; says how many providers were looked at.
    fn try_grant(&mut self, id: JobId) -> usize {
        let mut looks = 0;
        while let Some(job) = self.state.jobs.get(&id).filter(|job| job.wanted() > 0) {
            looks += job.bidding.bids.len();
            if let Some(Winner { provider, agreed_msat, why }) = winner(self.state, job) {
                let seed = seed(id, job.next_attempt());
                self.grant(id, Choice { provider, seed, why }, Some(agreed_msat));
                continue;
            }
            let (looked, choice) = choose(self.state, job);
            looks += looked;
            let Some(choice) = choice else {
                return looks;
            };
            self.grant(id, choice, None);
        }
        looks
    }

    fn grant(&mut self, id: JobId, choice: Choice, agreed_msat: Option<u64>) {
        let Some(job) = self.state.jobs.get(&id) else {
            return;
        };
        let (provider, lease) = (choice.provider, self.state.next_lease);
        let run_ms = self.run_ms(job, provider);
        let accept_by_ms = job.terms.by(self.now_ms, self.accept_ms(job, provider));
        self.step.effects.push(Effect::AnnounceLease {
            job: id,
            customer: job.customer,
            provider,
            attempt: job.next_attempt(),
            lease,
            expires_at_ms: accept_by_ms,
            run_ms,
            agreed_msat,
            inputs: job.request.inputs.clone(),
            backs_up: job.next_backs_up(),
            seed: choice.seed,
            why: choice.why,
        });
        self.record(Fact::Leased { job: id, provider, lease, accept_by_ms, run_ms, agreed_msat });
        self.touched.push(id);
    }
}
