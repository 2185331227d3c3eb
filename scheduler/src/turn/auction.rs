//! Offers for a job are taken, and no longer.

use super::Turn;
use crate::auction::{OFFERS_PER_JOB_MAX, REVISIONS_MAX};
use crate::id::{JobId, ProviderId, ResultId};
use crate::job::Job;
use crate::matching::would_suit;
use crate::record::Fact;
use crate::refusal::Refusal;

impl Turn<'_> {
    /// Opens the offers for a job that asks for them and waits for nothing else; whether it did.
    pub(super) fn open_bids(&mut self, id: JobId) -> bool {
        let Some(job) = self.state.jobs.get(&id).filter(|job| job.awaits_bids()) else {
            return false;
        };
        let window_ms = job.request.auction.map_or(0, |auction| auction.window_ms);
        let left_ms = job.terms.deadline_ms.saturating_sub(self.now_ms);
        // The other half of its time is for the work.
        let window_ms = window_ms.min(self.config.auction_max_ms).min(left_ms / 2);
        self.record(Fact::BidsOpened { job: id, until_ms: self.now_ms.saturating_add(window_ms) });
        self.touched.push(id);
        true
    }

    pub(super) fn close_bids(&mut self, id: JobId) {
        self.record(Fact::BidsClosed { job: id });
        self.touched.push(id);
        self.go_on(id);
    }

    pub(super) fn take_bid(
        &mut self,
        id: JobId,
        provider: ProviderId,
        (offer, amount_msat): (ResultId, u64),
    ) -> Result<(), Refusal> {
        let job = self.state.jobs.get(&id).ok_or(Refusal::UnknownJob)?;
        self.check_bid(job, provider, amount_msat)?;
        self.record(Fact::Bade { job: id, provider, offer, amount_msat });
        Ok(())
    }

    fn check_bid(&self, job: &Job, provider: ProviderId, amount_msat: u64) -> Result<(), Refusal> {
        if let Some(end) = job.end() {
            return Err(Refusal::AlreadyEnded { end: end.clone() });
        }
        if job.bidding.until_ms.is_none() {
            return Err(Refusal::NoBidding);
        }
        if let Some(max_msat) = job.request.bid_msat.filter(|max_msat| amount_msat > *max_msat) {
            return Err(Refusal::OfferTooHigh { max_msat });
        }
        let row = self.state.providers.get(&provider);
        if !row.is_some_and(|row| would_suit(job, row)) {
            return Err(Refusal::NotEligible);
        }
        match job.bidding.of(provider) {
            Some(bid) if bid.said.len() >= REVISIONS_MAX => Err(Refusal::TooManyRevisions { max: REVISIONS_MAX }),
            None if job.bidding.bids.len() >= OFFERS_PER_JOB_MAX => {
                Err(Refusal::TooManyBids { max: OFFERS_PER_JOB_MAX })
            }
            Some(_) | None => Ok(()),
        }
    }
}
