//! Requests of the transaction that is being built: a lease on one of them must carry it, but the store does not
//! show it yet.

use std::collections::HashMap;

use bytes::Bytes;

use crate::nostr::{Event, EventId};
use crate::store::Store;

/// Requests since the store last moved on.
#[derive(Debug, Default)]
pub struct Uncommitted {
    /// The store's newest sequence when the first of them came. A higher one says that they are committed.
    sequence: u64,
    requests: HashMap<EventId, Bytes>,
}

impl Uncommitted {
    /// Remembers a request until it is committed.
    pub fn put(&mut self, event: &Event, store: &dyn Store) {
        let sequence = store.last_sequence();
        if self.sequence != sequence {
            self.sequence = sequence;
            self.requests.clear();
        }
        self.requests.insert(event.id, event.body().clone());
    }

    /// Forgets a request that was refused.
    pub fn forget(&mut self, id: &EventId) {
        self.requests.remove(id);
    }

    /// A request as JSON, from here or from the store. A lease goes out without it when it is gone (removed by the
    /// operator, or a store at fault): the job is the scheduler's, not the event's.
    pub fn request(&self, id: &EventId, store: &dyn Store) -> Option<String> {
        let body = match self.requests.get(id) {
            Some(body) => Some(body.clone()),
            None => store
                .get(id)
                .unwrap_or_else(|error| {
                    tracing::warn!(%error, %id, "a lease goes out without its request");
                    None
                })
                .map(|record| record.body()),
        };
        body.and_then(|body| String::from_utf8(body.to_vec()).ok())
    }
}
