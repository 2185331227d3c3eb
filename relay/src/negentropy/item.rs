//! An event as reconciliation knows it.

use crate::nostr::EventId;
use crate::store::Position;

/// Oldest first, then lower id: the protocol's order, which is not the order of answers (`Position`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item {
    /// Seconds.
    pub created_at: u64,
    pub id: EventId,
}

impl Item {
    pub const FIRST: Self = Self { created_at: 0, id: EventId([0; 32]) };
    /// Where the protocol has infinity; no event stands there or behind.
    pub const END: Self = Self { created_at: u64::MAX, id: EventId([0; 32]) };
}

impl From<Position> for Item {
    fn from(position: Position) -> Self {
        Self { created_at: position.created_at(), id: position.id }
    }
}
