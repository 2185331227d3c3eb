//! What each outcome says about whom.
//!
//! | outcome | says of the provider | says of the customer |
//! |---|---|---|
//! | a result is accepted, or agrees with the accepted one | 1 for | |
//! | the same, late | 1/2 for (its lease counted against it before) | |
//! | a quorum says something else, or validators reject it | 2 against | |
//! | a lease ends by its fault | against, by the weight of what it was paid | |
//! | the accepted result is paid | for, by the weight of what was paid, less the 1 from before | the same, for |
//! | the same, late | the same | half as much for |
//! | it is not paid in time | | against, by the weight of what is owed |
//! | a leaseholder waited in vain for what was agreed | | 1 against |
//!
//! Nobody's word about himself counts: a job that a key does for itself says nothing.

use super::{Misfit, State};
use crate::credibility::NEWCOMER_LOW;
use crate::customer::Customer;
use crate::id::{CustomerId, JobId, ProviderId};
use crate::lease::Reason;
use crate::provider::{ESTABLISHED, Provider};
use crate::reputation::{Counterparty, Evidence, OUTCOME, weight};
use crate::table::Table;
use crate::validation::Verdict;

/// Rank of a customer of whom nothing is known.
const NEWCOMER_RANK: u32 = 12;

impl State {
    /// Customers that were served, or owed money.
    pub fn customers(&self) -> &Table<CustomerId, Customer> {
        &self.customers
    }

    /// How long it takes for evidence to count half.
    pub fn half_life_ms(&self) -> u64 {
        self.half_life_ms
    }

    /// How well a provider does jobs of this kind, by the lower bound of its reputation in thousandths; a newcomer has 120.
    pub fn low_permille(&self, provider: &Provider, kind: u16) -> i64 {
        provider.reputation.low_permille(kind, self.now_ms, self.half_life_ms)
    }

    /// As `low_permille`, of one who may not be known.
    pub(crate) fn low_of(&self, provider: ProviderId, kind: u16) -> u32 {
        let low = self.providers.get(&provider).map(|row| self.low_permille(row, kind));
        low.and_then(|low| u32::try_from(low).ok()).unwrap_or(NEWCOMER_LOW)
    }

    /// How well a customer pays, from 0 to 100, by the lower bound of its reputation; a newcomer has 12.
    pub fn customer_rank(&self, customer: CustomerId) -> u32 {
        let Some(row) = self.customers.get(&customer) else {
            return NEWCOMER_RANK;
        };
        let low = row.tally.evidence(self.now_ms, self.half_life_ms).low_permille();
        u32::try_from(low / 10).unwrap_or(0)
    }

    /// How much of its quota of open jobs a customer of this rank has: who ranks below a newcomer has less.
    pub(crate) fn quota(rank: u32, whole: usize) -> usize {
        let rank = rank.min(NEWCOMER_RANK);
        let share = |whole: usize| u64::try_from(whole).unwrap_or(u64::MAX).saturating_mul(u64::from(rank));
        let quota = share(whole) / u64::from(NEWCOMER_RANK);
        usize::try_from(quota).unwrap_or(usize::MAX).clamp(whole.min(1), whole)
    }

    /// A lease ended without a result.
    pub(super) fn lease_failed(&mut self, id: JobId, provider: ProviderId, reason: &Reason) -> Result<(), Misfit> {
        let money = &self.jobs.get(&id).ok_or("the job is not known")?.money;
        let was_owed = money.quote(provider).is_some_and(|quote| quote.agreed) && !money.covers(provider);
        let bad = weight(money.claimed_msat(provider));
        if reason.blames_provider() {
            self.rate_provider(id, provider, Evidence { good: 0, bad })?;
        }
        if *reason == Reason::Unpaid && was_owed {
            self.rate_customer(id, provider, Evidence { good: 0, bad: OUTCOME }, |row| {
                row.unpaid = row.unpaid.saturating_add(1);
            })?;
        }
        Ok(())
    }

    /// The accepted result is paid.
    pub(super) fn bill_settled(&mut self, id: JobId, winner: ProviderId, msat: u64, late: bool) -> Result<(), Misfit> {
        let worth = weight(msat);
        if self.providers.contains_key(&winner) {
            self.change_provider(winner, |row| row.settled_msat = row.settled_msat.saturating_add(msat))?;
            self.rate_provider(id, winner, Evidence { good: worth - OUTCOME, bad: 0 })?;
        }
        let good = if late { worth / 2 } else { worth };
        self.rate_customer(id, winner, Evidence { good, bad: 0 }, |row| {
            let count = if late { &mut row.late } else { &mut row.paid };
            *count = count.saturating_add(1);
            row.settled_msat = row.settled_msat.saturating_add(msat);
        })
    }

    /// The accepted result was not paid in time.
    pub(super) fn bill_unpaid(&mut self, id: JobId, winner: ProviderId, msat: u64) -> Result<(), Misfit> {
        self.rate_customer(id, winner, Evidence { good: 0, bad: weight(msat) }, |row| {
            row.unpaid = row.unpaid.saturating_add(1);
        })
    }

    fn rate_customer(
        &mut self,
        id: JobId,
        provider: ProviderId,
        outcome: Evidence,
        count: impl FnOnce(&mut Customer),
    ) -> Result<(), Misfit> {
        let customer = self.jobs.get(&id).ok_or("the job is not known")?.customer;
        if customer.0 == provider.0 {
            return Ok(());
        }
        let known = self.providers.get(&provider).is_some_and(Provider::is_established);
        let who = if known { Counterparty::Known(provider.0) } else { Counterparty::Newcomer };
        let (now_ms, half_life_ms) = (self.now_ms, self.half_life_ms);
        self.enter_customer(customer, |row| {
            row.tally.note(who, outcome, now_ms, half_life_ms);
            count(row);
        });
        Ok(())
    }

    /// A result was judged.
    pub(super) fn result_judged(
        &mut self,
        id: JobId,
        provider: ProviderId,
        verdict: Verdict,
        late: bool,
    ) -> Result<(), Misfit> {
        let outcome = match (verdict, late) {
            (Verdict::Pass, false) => Evidence { good: OUTCOME, bad: 0 },
            (Verdict::Pass, true) => Evidence { good: OUTCOME / 2, bad: 0 },
            (Verdict::Outlier | Verdict::Fail | Verdict::Copy, false | true) => Evidence { good: 0, bad: 2 * OUTCOME },
        };
        self.rate_provider(id, provider, outcome)?;
        match verdict {
            Verdict::Pass => self.acquaint(id, provider),
            Verdict::Outlier | Verdict::Fail | Verdict::Copy => Ok(()),
        }
    }

    fn rate_provider(&mut self, id: JobId, provider: ProviderId, outcome: Evidence) -> Result<(), Misfit> {
        let job = self.jobs.get(&id).ok_or("the job is not known")?;
        let (kind, customer) = (job.request.kind, job.customer);
        if customer.0 == provider.0 {
            return Ok(());
        }
        let known = self.customers.get(&customer).is_some_and(Customer::is_established);
        let who = if known { Counterparty::Known(customer.0) } else { Counterparty::Newcomer };
        let (now_ms, half_life_ms) = (self.now_ms, self.half_life_ms);
        self.change_provider(provider, |row| row.reputation.note(kind, who, outcome, now_ms, half_life_ms))
    }

    /// A provider did a customer's job well: the word of each gains weight by knowing others.
    fn acquaint(&mut self, id: JobId, provider: ProviderId) -> Result<(), Misfit> {
        let customer = self.jobs.get(&id).ok_or("the job is not known")?.customer;
        if customer.0 == provider.0 {
            return Ok(());
        }
        self.enter_customer(customer, |row| {
            if row.served_by.len() < ESTABLISHED {
                row.served_by.insert(provider);
            }
        });
        if self.providers.get(&provider).is_some_and(Provider::is_established) {
            return Ok(());
        }
        self.change_provider(provider, |row| {
            row.served.insert(customer);
        })
    }

    /// Runs `change` on what is remembered of a customer, who may be new.
    fn enter_customer(&mut self, id: CustomerId, change: impl FnOnce(&mut Customer)) {
        let now_ms = self.now_ms;
        let row = self.customers.get_or_insert_with(id, || Customer::new(id, now_ms));
        self.index.customers.remove(&(row.heard_ms, id));
        row.heard_ms = now_ms;
        change(row);
        self.index.customers.insert((now_ms, id));
    }

    pub(super) fn forget_customer(&mut self, id: CustomerId) -> Result<(), Misfit> {
        let row = self.customers.remove(&id).ok_or("the customer is not known")?;
        self.index.customers.remove(&(row.heard_ms, id));
        Ok(())
    }

    pub(super) fn restore_customer(&mut self, row: &Customer) -> Result<(), Misfit> {
        self.index.customers.insert((row.heard_ms, row.id));
        let entered = self.customers.insert_new(row.id, Box::new(row.clone()));
        entered.map(|_| ()).ok_or("the customer is known already")
    }
}
