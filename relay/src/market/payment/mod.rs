//! Money in events: what providers ask for (`quote`), and what says that they were paid (`zap`, `nutzap`, `proof`).

pub mod inquiry;
pub mod invoice;
pub mod nutzap;
pub mod proof;
pub mod quote;
pub mod zap;

use mercato_scheduler::Marks;

use crate::nostr::{EventId, Pubkey};

/// What a zap receipt says beside the payment itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zap {
    /// Who signed the receipt.
    pub author: Pubkey,
    /// The invoice, if it was made for this very zap request.
    pub invoice: Option<String>,
    /// Until when it can be paid, in unix seconds.
    pub until_s: u64,
}

/// What a receipt says, with everything checked that needs no table of jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who paid.
    pub payer: Pubkey,
    /// Who was paid.
    pub payee: Pubkey,
    /// What for: the job or its result.
    pub about: Option<EventId>,
    /// How much, in millisatoshi.
    pub msat: u64,
    /// The names of the payment.
    pub marks: Marks,
    /// Whether it shows the invoice's preimage. That proves a payment of whoever made the invoice.
    pub has_preimage: bool,
    /// Of a zap: its receipt's side.
    pub zap: Option<Zap>,
}
