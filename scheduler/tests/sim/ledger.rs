//! Judges the money that was taken note of, by book-keeping of its own.

use mercato_scheduler::{Bill, CustomerId, Effect, Input, JobId, ProviderId};
use std::collections::{BTreeMap, BTreeSet};

type Judged = Result<(), String>;

/// What is known of one job.
#[derive(Default)]
struct Page {
    customer: Option<CustomerId>,
    /// Who held a lease or delivered.
    parties: BTreeSet<ProviderId>,
    /// Claimed and confirmed.
    totals: BTreeMap<ProviderId, (u64, u64)>,
    settled_msat: Option<u64>,
}

#[derive(Default)]
pub struct Ledger {
    pages: BTreeMap<JobId, Page>,
    marks: BTreeSet<[u8; 32]>,
}

fn hold(holds: bool, claim: impl FnOnce() -> String) -> Judged {
    if holds { Ok(()) } else { Err(claim()) }
}

impl Ledger {
    /// A committed input that changed something.
    #[expect(clippy::wildcard_enum_match_arm, reason = "only what moves money is looked at")]
    pub fn input(&mut self, input: &Input) -> Judged {
        match input {
            Input::Request { job, customer, .. } => {
                self.pages.entry(*job).or_default().customer = Some(*customer);
                Ok(())
            }
            Input::Examine { job, by } => {
                let customer = self.pages.get(job).and_then(|page| page.customer);
                self.pages.entry(*by).or_default().customer = customer;
                Ok(())
            }
            Input::Result { job, provider, .. } => {
                self.pages.entry(*job).or_default().parties.insert(*provider);
                Ok(())
            }
            Input::Claimed { job, provider, payer, marks, .. } => {
                let page = self.pages.entry(*job).or_default();
                hold(page.customer == Some(*payer), || format!("{payer:?} paid for {job:?}, which is not its own"))?;
                hold(page.parties.contains(provider), || {
                    format!("{provider:?} is paid for {job:?}, which it never held")
                })?;
                for mark in [marks.receipt, marks.payment_hash, marks.request] {
                    hold(self.marks.insert(mark), || format!("a payment for {job:?} was used twice"))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A published effect.
    #[expect(clippy::wildcard_enum_match_arm, reason = "only what moves money is looked at")]
    pub fn effect(&mut self, effect: &Effect) -> Judged {
        match effect {
            Effect::AnnounceLease { job, provider, .. } => {
                self.pages.entry(*job).or_default().parties.insert(*provider);
                Ok(())
            }
            Effect::AnnouncePayment { payment, .. } => {
                let (job, receipt) = (payment.job, payment.receipt);
                let page = self.pages.entry(job).or_default();
                let before = page.totals.get(&receipt.provider).copied().unwrap_or_default();
                let now = (payment.claimed_msat, payment.confirmed_msat);
                page.totals.insert(receipt.provider, now);
                hold(now.0 >= before.0 && now.1 >= before.1, || {
                    format!("{job:?} lost money: {before:?}, then {now:?}")
                })?;
                hold(now.1 <= now.0, || format!("{job:?} proved more than was claimed"))?;
                let grew = now.0 > before.0;
                hold(!grew || receipt.counts, || format!("{job:?} counts a payment that does not count"))?;
                hold(page.settled_msat.is_none() || !grew, || format!("{job:?} was settled and is paid again"))
            }
            Effect::AnnounceState { view } => {
                let page = self.pages.entry(view.job).or_default();
                let settled = match view.bill {
                    Bill::Settled { msat } => Some(msat),
                    Bill::None | Bill::Due { .. } | Bill::Unpaid { .. } => None,
                };
                let before = std::mem::replace(&mut page.settled_msat, settled);
                hold(before.is_none() || before == settled, || {
                    format!("{:?} was settled, and is not any more", view.job)
                })?;
                let winner = view.provider.and_then(|winner| page.totals.get(&winner));
                hold(settled.is_none() || winner.map(|(claimed, _)| *claimed) == settled, || {
                    format!("{:?} was settled without a payment to who delivered", view.job)
                })
            }
            _ => Ok(()),
        }
    }
}
