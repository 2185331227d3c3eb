//! Money in the tables.

use super::{Misfit, State};
use crate::id::{JobId, ProviderId};
use crate::job::{Job, Stage};
use crate::money::{Bill, Quote, Receipt};

impl State {
    /// The most that the customer has agreed to pay a provider: by its offer, else its bid, or else the price that the provider advertises.
    pub(crate) fn ceiling_msat(&self, job: &Job, provider: ProviderId) -> Option<u64> {
        let agreed_msat = job.lease_of(provider).and_then(|lease| lease.agreed_msat);
        let row = self.providers.get(&provider);
        let price_msat = row.and_then(|row| row.offer(job.request.kind)?.price_msat);
        agreed_msat.or(job.request.bid_msat).or(price_msat)
    }

    /// A provider asks for so much.
    pub(super) fn quoted(&mut self, id: JobId, provider: ProviderId, msat: u64) -> Result<(), Misfit> {
        let job = self.jobs.get(&id).ok_or("the job is not known")?;
        if job.money.bill != Bill::None {
            return Err("the bill is made out already");
        }
        let agreed = self.ceiling_msat(job, provider).is_some_and(|ceiling| msat <= ceiling);
        self.change_job(id, |job| job.money.ask(Quote { provider, msat, agreed }))
    }

    pub(super) fn paid(&mut self, id: JobId, receipt: Receipt) -> Result<(), Misfit> {
        let marks = receipt.marks.all();
        if marks.iter().any(|mark| self.index.marks.contains(mark)) {
            return Err("the payment was used before");
        }
        self.change_job(id, |job| job.money.receipts.push(receipt))?;
        self.index.marks.extend(marks);
        Ok(())
    }

    pub(super) fn confirmed(&mut self, id: JobId, payment_hash: [u8; 32]) -> Result<(), Misfit> {
        let job = self.jobs.get(&id).ok_or("the job is not known")?;
        let is_meant = |receipt: &Receipt| receipt.marks.payment_hash == payment_hash;
        if !job.money.receipts.iter().any(is_meant) {
            return Err("the payment is not known");
        }
        self.change_job(id, |job| {
            let receipts = job.money.receipts.iter_mut().filter(|receipt| is_meant(receipt));
            receipts.for_each(|receipt| receipt.confirmed = true);
        })
    }

    pub(super) fn billed(&mut self, id: JobId, msat: u64, pay_by_ms: u64, forget_by_ms: u64) -> Result<(), Misfit> {
        self.winner(id)?;
        self.change_job(id, |job| {
            job.money.bill = Bill::Due { msat, pay_by_ms };
            if let Stage::Ended { forget_at_ms, .. } = &mut job.stage {
                *forget_at_ms = forget_by_ms.max(*forget_at_ms);
            }
        })
    }

    pub(super) fn settled(&mut self, id: JobId, msat: u64, late: bool) -> Result<(), Misfit> {
        let winner = self.winner(id)?;
        self.change_job(id, |job| job.money.bill = Bill::Settled { msat })?;
        self.bill_settled(id, winner, msat, late)
    }

    pub(super) fn went_unpaid(&mut self, id: JobId) -> Result<(), Misfit> {
        let winner = self.winner(id)?;
        let bill = self.jobs.get(&id).map(|job| job.money.bill);
        let Some(Bill::Due { msat, .. }) = bill else {
            return Err("nothing is due");
        };
        self.change_job(id, |job| job.money.bill = Bill::Unpaid { msat })?;
        self.bill_unpaid(id, winner, msat)
    }

    fn winner(&self, id: JobId) -> Result<ProviderId, Misfit> {
        let job = self.jobs.get(&id).ok_or("the job is not known")?;
        job.winner().ok_or("the job has no result")
    }
}
