//! A customer's past: how it dealt with those who worked for it.

use crate::id::{CustomerId, ProviderId};
use crate::provider::ESTABLISHED;
use crate::reputation::Tally;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A customer that was served, or owed money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// Its public key.
    pub id: CustomerId,
    /// When it was heard of last.
    pub heard_ms: u64,
    /// Whether it pays what it owes.
    pub tally: Tally,
    /// The first providers that did its jobs; at most [`ESTABLISHED`].
    pub served_by: BTreeSet<ProviderId>,
    /// Jobs that it paid in time.
    pub paid: u32,
    /// Jobs that it paid when it was too late.
    pub late: u32,
    /// Times that it owed money and the time passed.
    pub unpaid: u32,
    /// What it paid for results that were accepted, in millisatoshi.
    pub settled_msat: u64,
}

impl Customer {
    pub(crate) fn new(id: CustomerId, now_ms: u64) -> Self {
        Self {
            id,
            heard_ms: now_ms,
            tally: Tally::default(),
            served_by: BTreeSet::new(),
            paid: 0,
            late: 0,
            unpaid: 0,
            settled_msat: 0,
        }
    }

    /// Whether it has a standing: several providers did jobs of it. Before that its word about a provider is a newcomer's.
    pub fn is_established(&self) -> bool {
        self.served_by.len() >= ESTABLISHED
    }
}
