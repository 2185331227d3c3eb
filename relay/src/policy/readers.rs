//! Who may be told of a stored or live event: one rule for REQ, COUNT, negentropy and live delivery.

use std::sync::Arc;

use crate::connection::Connection;
use crate::market::Audiences;
use crate::nostr::{EventId, EventView, Filter, Pubkey, kind};

/// Whom an event is for, of those whose filters match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    Everyone,
    /// An open leased request: clients that have proved to hold one of these keys, and those that ask for it by name.
    Named(Vec<Pubkey>),
    /// A result that is withheld for a while: clients that have proved to hold one of these keys, however they ask, and
    /// no other relay.
    Withheld(Vec<Pubkey>),
    /// A result that was withheld until now: everyone but clients that hold one of these keys, who got it when it came.
    Others(Vec<Pubkey>),
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
        if may_be_withheld(event.kind) {
            return connection.with_keys(|keys| self.audiences.may_read(event.id, keys));
        }
        // An open leased request shows up in nobody else's feed; who names it (`ids`, `#e`) may look it up.
        filter.names_events() || connection.with_keys(|keys| self.audiences.may_see(event, keys))
    }

    /// Of the events that are for everybody but for a while, those that this client may not be told of in answer to
    /// `filter`: what is to be taken out of a set that was made for all.
    pub fn hidden(&self, filter: &Filter, connection: &Connection) -> Vec<EventId> {
        let asks_for =
            |is_such: fn(u16) -> bool| filter.kinds.as_ref().is_none_or(|kinds| kinds.iter().copied().any(is_such));
        let mut hidden = match asks_for(kind::is_job_request) && !filter.names_events() {
            true => connection.with_keys(|keys| self.audiences.hidden_from(keys)),
            false => Vec::new(),
        };
        if asks_for(may_be_withheld) {
            hidden.extend(connection.with_keys(|keys| self.audiences.withheld_from(keys)));
        }
        hidden
    }

    /// What of `filter` finds the private events that this client may be told of, among others.
    pub fn private(&self, filter: &Filter, connection: &Connection) -> Vec<Filter> {
        let keys = connection.keys();
        let asked = |kind: &u16| filter.kinds.as_ref().is_none_or(|kinds| kinds.contains(kind));
        let kinds: Vec<u16> = kind::PRIVATE.into_iter().filter(asked).collect();
        if keys.is_empty() || kinds.is_empty() {
            return Vec::new();
        }
        let mut received = Filter { kinds: Some(kinds), ..filter.clone() };
        let parties = keys.iter().map(|key| key.to_hex().into_bytes().into_boxed_slice());
        let named = filter.tags.get(&b'p');
        let mut parties: Vec<_> = parties.filter(|key| named.is_none_or(|named| named.contains(key))).collect();
        parties.sort_unstable();
        received.tags.insert(b'p', parties);
        let mut authors = keys;
        authors.retain(|key| filter.authors.as_ref().is_none_or(|authors| authors.contains(key)));
        authors.sort_unstable();
        let sent = Filter { kinds: Some(vec![kind::DIRECT_MESSAGE]), authors: Some(authors), ..filter.clone() };
        let filters = [Some(received), asked(&kind::DIRECT_MESSAGE).then_some(sent)];
        filters.into_iter().flatten().filter(|filter| !filter.is_never()).collect()
    }

    /// Whom an event is for, as of now.
    pub fn reach(&self, event: &EventView<'_>) -> Reach {
        if kind::is_private(event.kind) {
            return Reach::Only(involved(event).collect());
        }
        if may_be_withheld(event.kind) {
            return self.audiences.readers_of(event.id).map_or(Reach::Everyone, Reach::Withheld);
        }
        self.audiences.of(event.id).map_or(Reach::Everyone, Reach::Named)
    }
}

/// Results on which others are to agree, and offers that are sealed.
fn may_be_withheld(kind: u16) -> bool {
    kind::is_job_result(kind) || kind == kind::JOB_FEEDBACK
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
