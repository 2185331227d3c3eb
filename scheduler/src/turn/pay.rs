//! Money is asked for, paid, proven, or does not come.

use super::Turn;
use crate::effect::{Effect, End};
use crate::id::{CustomerId, JobId, ProviderId};
use crate::job::{Job, Standing};
use crate::lease::Phase;
use crate::money::{Bill, Marks, Payment, RECEIPTS_MAX, Receipt};
use crate::record::Fact;
use crate::refusal::Refusal;

impl Turn<'_> {
    /// A provider that has delivered asks for its money. Of several quotes the first that makes a bill counts.
    pub(super) fn quote(&mut self, id: JobId, provider: ProviderId, msat: u64) -> Result<(), Refusal> {
        let job = self.known(id)?;
        if !matches!(job.standing(provider), Standing::Delivered(_)) {
            return Err(Refusal::NeverLeased);
        }
        if let Some(end) = job.end()
            && job.winner() != Some(provider)
        {
            return Err(Refusal::AlreadyEnded { end: end.clone() });
        }
        let is_news = job.money.quote(provider).is_none_or(|quote| quote.msat != msat);
        if msat > 0 && is_news && job.money.bill == Bill::None {
            self.record(Fact::Quoted { job: id, provider, msat });
            self.touched.push(id);
            self.settle(id);
        }
        Ok(())
    }

    /// A receipt tells that the customer paid a provider.
    pub(super) fn claim(
        &mut self,
        id: JobId,
        (payer, provider): (CustomerId, ProviderId),
        msat: u64,
        marks: Marks,
        confirmed: bool,
    ) -> Result<(), Refusal> {
        let job = self.known(id)?;
        check_claim(job, payer, provider, msat)?;
        if !marks.are_distinct() {
            return Err(Refusal::ReplayedPayment);
        }
        if let Some(mark) = marks.all().into_iter().find(|mark| self.state.index.marks.contains(mark)) {
            return Err(if mark == marks.receipt { Refusal::DuplicateReceipt } else { Refusal::ReplayedPayment });
        }
        let receipt = Receipt { marks, provider, msat, counts: job.takes_payment(provider), confirmed };
        self.record(Fact::Paid { job: id, receipt });
        self.announce_payment(id, marks.receipt);
        if receipt.counts {
            self.go_on_paid(id, provider);
            self.settle(id);
        }
        Ok(())
    }

    /// It is proven that the money of a known payment moved.
    pub(super) fn confirm(&mut self, id: JobId, payment_hash: [u8; 32]) -> Result<(), Refusal> {
        let job = self.known(id)?;
        let mut receipts = job.money.receipts.iter();
        let receipt = receipts.find(|receipt| receipt.marks.payment_hash == payment_hash);
        let receipt = *receipt.ok_or(Refusal::UnknownPayment)?;
        if !receipt.confirmed {
            self.record(Fact::Confirmed { job: id, payment_hash });
            self.announce_payment(id, receipt.marks.receipt);
        }
        Ok(())
    }

    /// Makes out the bill of a job that has just got its result, or settles it.
    pub(super) fn settle(&mut self, id: JobId) {
        let Some(job) = self.state.jobs.get(&id) else {
            return;
        };
        let Some(winner) = job.winner() else {
            return;
        };
        let (claimed_msat, quote) = (job.money.claimed_msat(winner), job.money.quote(winner).copied());
        let late = match job.money.bill {
            Bill::Settled { .. } => return,
            Bill::None | Bill::Due { .. } => false,
            Bill::Unpaid { .. } => true,
        };
        if job.money.covers(winner) {
            self.record(Fact::Settled { job: id, msat: claimed_msat, late });
        } else if let Some(quote) = quote.filter(|quote| quote.agreed && quote.msat > claimed_msat)
            && job.money.bill == Bill::None
        {
            let pay_by_ms = self.now_ms.saturating_add(job.terms.pay_ms);
            let forget_at_ms = pay_by_ms.saturating_add(self.config.ended_retention_ms);
            self.record(Fact::Billed { job: id, msat: quote.msat, pay_by_ms, forget_at_ms });
        }
        self.touched.push(id);
    }

    /// The time to pay for a result has passed.
    pub(super) fn go_unpaid(&mut self, id: JobId) {
        self.record(Fact::WentUnpaid { job: id });
        self.touched.push(id);
    }

    /// Whether a provider that waits for money may leave without blame: it is not paid, and did not ask for more than was agreed.
    pub(super) fn may_leave(&self, id: JobId, provider: ProviderId) -> bool {
        let Some(job) = self.state.jobs.get(&id) else {
            return false;
        };
        let waits = job.lease_of(provider).is_some_and(|lease| matches!(lease.phase, Phase::AwaitingPayment { .. }));
        let ceiling_msat = self.state.ceiling_msat(job, provider);
        let asked_msat = job.money.quote(provider).map(|quote| quote.msat);
        let is_fair = asked_msat.zip(ceiling_msat).is_none_or(|(asked, ceiling)| asked <= ceiling);
        waits && is_fair && !job.money.covers(provider)
    }

    /// A leaseholder that waited for money works on once it is covered.
    fn go_on_paid(&mut self, id: JobId, provider: ProviderId) {
        let job = self.state.jobs.get(&id).filter(|job| job.money.covers(provider));
        let lease = job.and_then(|job| job.lease_of(provider));
        if let Some(lease) = lease.filter(|lease| matches!(lease.phase, Phase::AwaitingPayment { .. })) {
            let number = lease.number;
            self.run(id, number, true);
        }
    }

    fn announce_payment(&mut self, id: JobId, receipt: [u8; 32]) {
        let Some(job) = self.state.jobs.get(&id) else {
            return;
        };
        let Some(receipt) = job.money.receipts.iter().find(|known| known.marks.receipt == receipt) else {
            return;
        };
        let payment = Payment {
            job: id,
            receipt: *receipt,
            claimed_msat: job.money.claimed_msat(receipt.provider),
            confirmed_msat: job.money.confirmed_msat(receipt.provider),
        };
        self.step.effects.push(Effect::AnnouncePayment { customer: job.customer, payment });
        self.touched.push(id);
    }
}

fn check_claim(job: &Job, payer: CustomerId, provider: ProviderId, msat: u64) -> Result<(), Refusal> {
    if job.customer != payer {
        return Err(Refusal::NotTheCustomersPayment);
    }
    if !job.has_tried(provider) {
        return Err(Refusal::PaidAStranger);
    }
    if msat == 0 {
        return Err(Refusal::NothingPaid);
    }
    if job.money.receipts.len() >= RECEIPTS_MAX {
        return Err(Refusal::TooManyReceipts { max: RECEIPTS_MAX });
    }
    Ok(())
}

impl Job {
    /// Who delivered the accepted result.
    pub fn winner(&self) -> Option<ProviderId> {
        match &self.stage {
            crate::job::Stage::Ended { end: End::Succeeded { .. }, provider, .. } => *provider,
            crate::job::Stage::Ended { .. } | crate::job::Stage::Active => None,
        }
    }

    /// Whether a payment to this provider counts now.
    fn takes_payment(&self, provider: ProviderId) -> bool {
        let may_count = self.is_open() || self.winner() == Some(provider);
        may_count && !matches!(self.money.bill, Bill::Settled { .. }) && !self.money.covers(provider)
    }
}
