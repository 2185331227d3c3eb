//! How customers pay: in full, in parts, twice, late, in the name of others, with an old receipt, or not at all.

use super::cast::never_pays;
use super::customer::{customer_id, customer_number};
use super::rng::Rng;
use mercato_scheduler::{Account, Input, JobId, JobView, Marks, ProviderId};
use std::collections::BTreeSet;

/// What all customers have to pay with.
#[derive(Default)]
pub struct Purse {
    serial: u64,
    paid: BTreeSet<(JobId, ProviderId)>,
}

impl Purse {
    /// What customers send when they see how a job stands, and in how many milliseconds.
    pub fn open(&mut self, view: &JobView, rng: &mut Rng) -> Vec<(u64, Input)> {
        if never_pays(customer_number(view.customer)) {
            return Vec::new();
        }
        let asks = |account: &&Account| account.quoted_msat.is_some_and(|quoted| quoted > account.claimed_msat);
        let mut sent = Vec::new();
        for account in view.accounts.iter().filter(asks) {
            // The state is told again with each change; who has paid looks at it again only now and then.
            if !self.paid.insert((view.job, account.provider)) && !rng.chance(50) {
                continue;
            }
            let whole_msat = account.quoted_msat.unwrap_or(0).saturating_sub(account.claimed_msat);
            let parts = if whole_msat > 1 && rng.chance(100) {
                vec![whole_msat / 2, whole_msat.div_ceil(2)]
            } else {
                vec![whole_msat]
            };
            for msat in parts {
                self.pay(view, account.provider, msat, rng, &mut sent);
            }
        }
        sent
    }

    fn pay(&mut self, view: &JobView, provider: ProviderId, msat: u64, rng: &mut Rng, sent: &mut Vec<(u64, Input)>) {
        let (job, marks, confirmed) = (view.job, self.marks(), rng.chance(400));
        let payer = if rng.chance(30) { customer_id(98) } else { view.customer };
        let provider = if rng.chance(30) { ProviderId([0xdd; 32]) } else { provider };
        let late = rng.chance(50);
        let in_ms = if late { rng.between(60_000, 400_000) } else { rng.between(500, 8_000) };
        sent.push((in_ms, Input::Claimed { job, provider, payer, msat, marks, confirmed }));
        if rng.chance(100) {
            // The same payment under another receipt, and the same receipt.
            let receipt = self.marks().receipt;
            let again = Marks { receipt, ..marks };
            sent.push((in_ms + 20_000, Input::Claimed { job, provider, payer, msat, marks: again, confirmed }));
            sent.push((in_ms + 40_000, Input::Claimed { job, provider, payer, msat: 9 * msat, marks, confirmed }));
        }
        if !confirmed && rng.chance(300) {
            sent.push((in_ms + 30_000, Input::Confirmed { job, payment_hash: marks.payment_hash }));
        }
    }

    fn marks(&mut self) -> Marks {
        self.serial += 1;
        let name = |sort: u8| {
            let mut name = [sort; 32];
            name[..8].copy_from_slice(&self.serial.to_be_bytes());
            name
        };
        Marks { receipt: name(1), payment_hash: name(2), request: name(3) }
    }
}
