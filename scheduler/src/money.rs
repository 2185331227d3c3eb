//! The money of one job: what is asked, what is said to be paid, what is proven, and whether it is settled.
//!
//! **Quoted** is what a provider asked for, **claimed** what receipts say that it got, **confirmed** the part of it that is proven.
//! A receipt counts while its provider's quote is not covered, or as the first one when there is no quote; and
//! once the job has ended, only for who delivered the accepted result. Further receipts are kept and told, and count for nothing:
//! one payment settles a job.
//!
//! ```text
//! none --> due --> settled          due: the winner asked for no more than was agreed, and it is not covered yet
//!   |       |         ^             unpaid: the time to pay passed; who pays then is late
//!   |       +--> unpaid
//!   +-----------------+
//! ```

use crate::id::{JobId, ProviderId};
use serde::{Deserialize, Serialize};

/// Receipts that are kept of one job.
pub const RECEIPTS_MAX: usize = 32;

/// What a provider asked for, last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// Who.
    pub provider: ProviderId,
    /// How much, in millisatoshi.
    pub msat: u64,
    /// Whether the customer had agreed to that much: by its bid, or else by the provider's advertised price.
    pub agreed: bool,
}

/// Names of a payment. None of them may be used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Marks {
    /// The receipt's id.
    pub receipt: [u8; 32],
    /// The invoice's payment hash, or what stands for it.
    pub payment_hash: [u8; 32],
    /// The id of the payer's signed request, or what stands for it.
    pub request: [u8; 32],
}

/// A payment that somebody tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Its names.
    pub marks: Marks,
    /// Who was paid.
    pub provider: ProviderId,
    /// How much, in millisatoshi.
    pub msat: u64,
    /// Whether it counts.
    pub counts: bool,
    /// Whether it is proven that the money moved.
    pub confirmed: bool,
}

/// What is owed for the accepted result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bill {
    /// Nothing, or nobody knows yet.
    #[default]
    None,
    /// So much, by then.
    Due {
        /// In millisatoshi.
        msat: u64,
        /// The customer must have paid by then.
        pay_by_ms: u64,
    },
    /// It is paid.
    Settled {
        /// In millisatoshi.
        msat: u64,
    },
    /// The time to pay has passed.
    Unpaid {
        /// In millisatoshi.
        msat: u64,
    },
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// At most one for each provider that held a lease or delivered.
    pub quotes: Vec<Quote>,
    /// In their order; at most [`RECEIPTS_MAX`].
    pub receipts: Vec<Receipt>,
    /// How it stands with the accepted result.
    pub bill: Bill,
}

/// One provider's money, as the public sees it. In millisatoshi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Whose.
    pub provider: ProviderId,
    /// What it asked for.
    pub quoted_msat: Option<u64>,
    /// What it is said to have got.
    pub claimed_msat: u64,
    /// What of that is proven.
    pub confirmed_msat: u64,
}

impl Marks {
    /// Whether no two are the same.
    pub(crate) fn are_distinct(self) -> bool {
        self.receipt != self.payment_hash && self.receipt != self.request && self.payment_hash != self.request
    }

    /// Each of them.
    pub(crate) fn all(self) -> [[u8; 32]; 3] {
        [self.receipt, self.payment_hash, self.request]
    }
}

impl Money {
    /// What a provider asked for last.
    pub fn quote(&self, provider: ProviderId) -> Option<&Quote> {
        self.quotes.iter().find(|quote| quote.provider == provider)
    }

    /// What a provider is said to have got, in millisatoshi.
    pub fn claimed_msat(&self, provider: ProviderId) -> u64 {
        self.sum(provider, |receipt| receipt.counts)
    }

    /// What of that is proven, in millisatoshi.
    pub fn confirmed_msat(&self, provider: ProviderId) -> u64 {
        self.sum(provider, |receipt| receipt.counts && receipt.confirmed)
    }

    /// Whether a provider got what it asked for, or anything when it asked for nothing.
    pub fn covers(&self, provider: ProviderId) -> bool {
        let claimed = self.claimed_msat(provider);
        claimed > 0 && self.quote(provider).is_none_or(|quote| claimed >= quote.msat)
    }

    /// The accounts of everybody who asked for money or got some, by first appearance.
    pub fn accounts(&self) -> Vec<Account> {
        let asked = self.quotes.iter().map(|quote| quote.provider);
        let paid = self.receipts.iter().filter(|receipt| receipt.counts).map(|receipt| receipt.provider);
        let mut accounts: Vec<Account> = Vec::new();
        for provider in asked.chain(paid) {
            if accounts.iter().all(|account| account.provider != provider) {
                accounts.push(Account {
                    provider,
                    quoted_msat: self.quote(provider).map(|quote| quote.msat),
                    claimed_msat: self.claimed_msat(provider),
                    confirmed_msat: self.confirmed_msat(provider),
                });
            }
        }
        accounts
    }

    /// Sets what a provider asks for.
    pub(crate) fn ask(&mut self, quote: Quote) {
        self.quotes.retain(|known| known.provider != quote.provider);
        self.quotes.push(quote);
    }

    fn sum(&self, provider: ProviderId, is_meant: fn(&Receipt) -> bool) -> u64 {
        let meant = self.receipts.iter().filter(|receipt| receipt.provider == provider && is_meant(receipt));
        meant.fold(0, |sum, receipt| sum.saturating_add(receipt.msat))
    }

    /// What does not hold of it, in words for a developer. `winner`: who delivered the accepted result.
    pub(crate) fn flaw(&self, winner: Option<ProviderId>) -> Option<&'static str> {
        let claimed = winner.map_or(0, |winner| self.claimed_msat(winner));
        let quoted = winner.and_then(|winner| self.quote(winner)).map_or(0, |quote| quote.msat);
        let fits = match self.bill {
            Bill::None => true,
            Bill::Settled { msat } => claimed == msat && msat >= quoted && msat > 0,
            Bill::Due { msat, .. } | Bill::Unpaid { msat } => winner.is_some() && claimed < msat && msat == quoted,
        };
        let accounts = self.accounts();
        let proven = accounts.iter().all(|account| account.confirmed_msat <= account.claimed_msat);
        let rules = [
            (self.receipts.len() <= RECEIPTS_MAX, "too many receipts"),
            (fits, "the bill does not fit the receipts"),
            (proven, "more is proven than claimed"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map(|(_, flaw)| flaw)
    }
}

/// What a step must tell of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// For which job.
    pub job: JobId,
    /// The receipt, as it stands now.
    pub receipt: Receipt,
    /// All that its provider is said to have got.
    pub claimed_msat: u64,
    /// What of that is proven.
    pub confirmed_msat: u64,
}
