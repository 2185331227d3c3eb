//! Who may see the events of a job while it is open: its leaseholders the request, nobody else's results and offers.

use std::collections::HashSet;

use mercato_scheduler::{Dispatch, Job, JobId, ProviderId};

use super::{Market, Output, Release};
use crate::nostr::{EventId, Pubkey};

impl Market {
    /// Lets everybody read the results of a job.
    pub(super) fn release_results(&self, job: JobId, output: &mut Output) {
        let row = self.scheduler.state().jobs().get(&job);
        for submission in row.into_iter().flat_map(|job| &job.submissions) {
            let event = EventId(submission.result.0);
            if let Some(told) = self.audiences.release(&event) {
                output.releases.push(Release { event, told: told.into_iter().collect() });
            }
        }
    }

    /// Lets everybody read the offers for a job, those that were changed too.
    pub(super) fn release_offers(&self, job: JobId, output: &mut Output) {
        let row = self.scheduler.state().jobs().get(&job);
        for offer in row.into_iter().flat_map(|job| &job.bidding.bids).flat_map(|bid| &bid.said) {
            let event = EventId(offer.0);
            if let Some(told) = self.audiences.release(&event) {
                output.releases.push(Release { event, told: told.into_iter().collect() });
            }
        }
    }

    pub(super) fn restore_audiences(&self) {
        let jobs = self.scheduler.state().jobs().values();
        let restricted = jobs.filter_map(|job| Some((EventId(job.id.0), audience_of(job)?)));
        // While validators are at work, and once they have rejected a result, it is for everybody.
        let compares = |job: &&Job| job.is_open() && job.compares() && job.examination.is_none();
        let comparing = self.scheduler.state().jobs().values().filter(compares);
        let withheld = comparing.flat_map(|job| {
            let results = job.submissions.iter().filter(|submission| submission.verdict.is_none());
            results.map(|submission| (EventId(submission.result.0), readers_of(job, submission.provider)))
        });
        let bidding = self.scheduler.state().jobs().values().filter(|job| job.bidding.until_ms.is_some());
        let sealed = bidding.flat_map(|job| &job.bidding.bids).flat_map(|bid| {
            let own = HashSet::from([Pubkey(bid.provider.0)]);
            bid.said.iter().map(move |offer| (EventId(offer.0), own.clone()))
        });
        self.audiences.replace(restricted.collect(), withheld.chain(sealed).collect());
    }
}

/// Who may see an open leased job; `None`: everybody.
pub(super) fn audience_of(job: &Job) -> Option<HashSet<Pubkey>> {
    let takes_offers = job.bidding.until_ms.is_some();
    if !job.is_open() || job.request.dispatch == Dispatch::Open || takes_offers {
        return None;
    }
    let past = job.attempts.iter().map(|attempt| attempt.provider);
    let delivered = job.submissions.iter().map(|submission| submission.provider);
    let leaseholders = past.chain(delivered).chain(job.leases.iter().map(|lease| lease.provider));
    let providers = job.request.providers.iter().copied().chain(leaseholders).map(|provider| Pubkey(provider.0));
    Some(providers.chain([Pubkey(job.customer.0)]).collect())
}

/// Who may read a provider's result while others still work on the job.
pub(super) fn readers_of(job: &Job, provider: ProviderId) -> HashSet<Pubkey> {
    HashSet::from([Pubkey(provider.0), Pubkey(job.customer.0)])
}
