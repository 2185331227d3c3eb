//! What the market would have others asked about a payment, and what it is told in return (`payments` does the asking).

use sha2::{Digest, Sha256};

use super::Claim;
use crate::nostr::{EventId, Pubkey};
use crate::payments::Address;

/// A question to the world outside, left once its commit is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inquiry {
    /// Who signs the zap receipts of this address; and the receipt by this author that waits for it, if any.
    Signer { address: Address, receipt: Option<(Box<Settled>, Pubkey)> },
    /// Whether this invoice is settled, which can be paid until then.
    Invoice { settled: Box<Settled>, invoice: String, until_s: u64 },
}

/// A payment whose money has moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// For this job.
    pub job: EventId,
    /// Of this invoice.
    pub payment_hash: [u8; 32],
    /// What stands for a receipt if nobody has brought one.
    pub claim: Option<Claim>,
}

impl Settled {
    /// Whether this is the preimage of its invoice, in hex.
    pub fn is_paid_by(&self, preimage: &str) -> bool {
        let mut bytes = [0; 32];
        let is_read = preimage.len() == 64 && const_hex::decode_to_slice(preimage, &mut bytes).is_ok();
        is_read && <[u8; 32]>::from(Sha256::digest(bytes)) == self.payment_hash
    }
}
