//! Who may be told of a stored or live event: one rule for REQ, COUNT, negentropy and live delivery.

use std::sync::Arc;

use crate::connection::Connection;
use crate::market::Audiences;
use crate::nostr::{EventView, Filter, Pubkey, kind};

/// Whom an event is for, of those whose filters match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    Everyone,
    /// An open leased request: clients that have proved to hold one of these keys, and those that ask for it by name.
    Named(Vec<Pubkey>),
    /// Clients that have proved to hold one of these keys, however they ask.
    Only(Vec<Pubkey>),
}

#[derive(Debug, Default)]
pub struct Readers {
    audiences: Arc<Audiences>,
}

impl Readers {
    pub fn new(audiences: Arc<Audiences>) -> Self {
        Self { audiences }
    }

    /// Whether this client may be told of `event` in answer to `filter`.
    pub fn may_answer(&self, event: &EventView<'_>, filter: &Filter, connection: &Connection) -> bool {
        if kind::is_private(event.kind) {
            return connection.with_keys(|keys| is_involved(event, keys));
        }
        // An open leased request shows up in nobody else's feed; who names it (`ids`, `#e`) may look it up.
        filter.names_events() || connection.with_keys(|keys| self.audiences.may_see(event, keys))
    }

    /// Whom an event is for, as of now.
    pub fn reach(&self, event: &EventView<'_>) -> Reach {
        if kind::is_private(event.kind) {
            return Reach::Only(involved(event).collect());
        }
        self.audiences.of(event.id).map_or(Reach::Everyone, Reach::Named)
    }
}

/// Whether one of `keys` is a party to a private event.
fn is_involved(event: &EventView<'_>, keys: &[Pubkey]) -> bool {
    !keys.is_empty() && involved(event).any(|party| keys.contains(&party))
}

/// The parties to a private event: its recipients, and for a message signed in the sender's own name (NIP-04) the sender.
/// A gift wrap's author is a key made for it alone (NIP-59).
fn involved<'a>(event: &EventView<'a>) -> impl Iterator<Item = Pubkey> + 'a {
    let sender = (event.kind == kind::DIRECT_MESSAGE).then_some(*event.pubkey);
    let recipients = event.index_tags.named(b'p').filter_map(|value| std::str::from_utf8(value).ok());
    sender.into_iter().chain(recipients.filter_map(Pubkey::from_hex))
}
