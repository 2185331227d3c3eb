//! A job as its newest state event tells of it (docs/market.md).

use serde::Serialize;

use crate::nostr::{Event, EventId, Pubkey};

/// Every state, in the order of a job's life.
pub const STATES: [&str; 13] = [
    "blocked",
    "queued",
    "open",
    "leased",
    "running",
    "awaiting-payment",
    "validating",
    "succeeded",
    "settled",
    "unpaid",
    "failed",
    "cancelled",
    "expired",
];

/// How one job stands. As JSON, times are in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Job {
    /// Id of the request.
    pub job: String,
    pub kind: u16,
    pub state: String,
    pub customer: Option<String>,
    /// Who has the lease, or had it when the job ended.
    pub provider: Option<String>,
    /// Everybody who holds a lease, or the provider.
    #[serde(skip)]
    pub parties: Vec<String>,
    pub attempt: u32,
    pub lease: Option<u64>,
    /// When the lease ends.
    pub lease_deadline: Option<u64>,
    /// When the job ends, one way or the other.
    pub deadline: Option<u64>,
    pub amount_msat: Option<u64>,
    /// Id of the result.
    pub result: Option<String>,
    /// When it was asked for; as far as known.
    pub created_at: u64,
    /// When it came to this state.
    pub changed_at: u64,
}

impl Job {
    /// What a kind 30383 says; `None` when it is none that the relay would write. `created_at` is left to the caller.
    pub fn read(state: &Event) -> Option<Self> {
        let tags = state.tags();
        let tag = |name: &str| -> Option<&str> {
            let tag = tags.iter().find(|tag| tag.first().is_some_and(|first| first == name))?;
            tag.get(1).map(String::as_str)
        };
        let parties =
            tags.iter().filter(|tag| tag.first().is_some_and(|first| first == "p")).filter_map(|tag| tag.get(1));
        let owned = |name| tag(name).map(str::to_owned);
        let number = |name| tag(name).and_then(|value| value.parse().ok());
        Some(Self {
            job: EventId::from_hex(tag("d")?)?.to_hex(),
            kind: tag("k")?.parse().ok()?,
            state: owned("status")?,
            customer: owned("customer"),
            provider: owned("provider"),
            parties: parties.cloned().collect(),
            attempt: tag("attempt").and_then(|value| value.parse().ok()).unwrap_or(0),
            lease: number("lease"),
            lease_deadline: number("lease_deadline"),
            deadline: number("deadline"),
            amount_msat: number("amount"),
            result: owned("result"),
            created_at: state.created_at,
            changed_at: state.created_at,
        })
    }

    /// Whether nothing more will happen to it.
    pub fn is_final(&self) -> bool {
        matches!(self.state.as_str(), "succeeded" | "failed" | "cancelled" | "expired" | "settled" | "unpaid")
    }

    /// Whether this key holds a lease on it, or did when it ended.
    pub fn is_by(&self, provider: &str) -> bool {
        self.provider.as_deref() == Some(provider)
            || self.customer.as_deref() != Some(provider) && self.parties.iter().any(|party| party == provider)
    }

    pub fn provider_key(&self) -> Option<Pubkey> {
        self.provider.as_deref().and_then(Pubkey::from_hex)
    }
}
