//! Live delivery: who is waiting for the event that was just stored.
//!
//! Every filter is posted under its most selective condition only (ids, else a tag, else authors,
//! else kinds, else everything); an event looks up its own id, tags, author and kind, and only the
//! filters found there are tried. The naive twin in `tests` tries them all.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::connection::Connection;
use crate::nostr::{EventView, Filter, search};
use crate::outbox::Frame;
use crate::policy::Reach;

/// A place in the index, valid until `unsubscribe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u32);

/// One event on its way to subscribers.
pub struct Publication<'a> {
    pub view: EventView<'a>,
    pub body: Bytes,
    /// Its place in the order of storing.
    pub sequence: u64,
    pub reach: Reach,
}

pub struct Live {
    index: Mutex<Index>,
    /// Sequence of the newest event that is in the store. Delivery follows behind it.
    committed: AtomicU64,
    /// How many subscriptions are open.
    open: AtomicUsize,
}

#[derive(Default)]
struct Index {
    subscriptions: Vec<Option<Subscription>>,
    free: Vec<u32>,
    /// Hash of a condition -> subscriptions posted there. Two conditions may share a hash: every
    /// filter is tried in full anyway.
    postings: HashMap<u64, Vec<u32>>,
    hasher: RandomState,
    /// Number of the delivery under way, so that no subscription gets one event twice.
    stamp: u64,
}

struct Subscription {
    connection: Arc<Connection>,
    prefix: Arc<str>,
    filters: Arc<[Filter]>,
    /// Events up to this sequence were in the store when it was opened: its query answers with them.
    after: u64,
    stamp: u64,
}

#[derive(Hash)]
enum Condition<'a> {
    Id(&'a [u8; 32]),
    Tag(u8, &'a [u8]),
    Author(&'a [u8; 32]),
    Kind(u16),
    Any,
}

impl Live {
    /// `committed` is the sequence of the newest event that is in the store already.
    pub fn new(committed: u64) -> Self {
        Self { index: Mutex::default(), committed: AtomicU64::new(committed), open: AtomicUsize::new(0) }
    }

    /// Says that everything up to `sequence` is in the store. Called before anybody is told so: who has heard OK
    /// and subscribes finds the event among the stored ones, delivered or not.
    pub fn committed(&self, sequence: u64) {
        self.committed.fetch_max(sequence, Ordering::SeqCst);
    }

    /// Whether nobody waits for anything. What was said to be `committed` before need not be published then: who
    /// subscribes from now on finds it in the store.
    pub fn is_idle(&self) -> bool {
        self.open.load(Ordering::SeqCst) == 0
    }

    /// From now on the subscription gets every matching event with a sequence above the returned one;
    /// a query for stored events up to that sequence leaves no gap and no double.
    pub fn subscribe(&self, connection: &Arc<Connection>, prefix: Arc<str>, filters: Arc<[Filter]>) -> (Slot, u64) {
        let mut index = self.lock();
        // Counted before the sequence is read: either the writer sees the subscription, or it the writer's commit.
        self.open.fetch_add(1, Ordering::SeqCst);
        let after = self.committed.load(Ordering::SeqCst);
        let slot = index.free.pop().unwrap_or_else(|| {
            index.subscriptions.push(None);
            index.subscriptions.len() as u32 - 1
        });
        for filter in filters.iter() {
            index.for_each_posting(filter, |postings, key| postings.entry(key).or_default().push(slot));
        }
        index.subscriptions[slot as usize] =
            Some(Subscription { connection: connection.clone(), prefix, filters, after, stamp: 0 });
        (Slot(slot), after)
    }

    pub fn unsubscribe(&self, slot: Slot) {
        let mut index = self.lock();
        let Some(subscription) = index.subscriptions[slot.0 as usize].take() else { return };
        self.open.fetch_sub(1, Ordering::SeqCst);
        for filter in subscription.filters.iter() {
            index.for_each_posting(filter, |postings, key| {
                if let Some(slots) = postings.get_mut(&key) {
                    if let Some(at) = slots.iter().position(|other| *other == slot.0) {
                        slots.swap_remove(at);
                    }
                    if slots.is_empty() {
                        postings.remove(&key);
                    }
                }
            });
        }
        index.free.push(slot.0);
    }

    /// Hands each event, in order, to every subscription that matches. Returns how many were sent.
    pub fn publish(&self, publications: &[Publication<'_>]) -> usize {
        let mut index = self.lock();
        self.committed(publications.iter().map(|publication| publication.sequence).max().unwrap_or(0));
        publications.iter().map(|publication| index.deliver(publication)).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn key(&self, condition: Condition<'_>) -> u64 {
        self.hasher.hash_one(condition)
    }

    /// Calls `act` for every place at which `filter` is to be found.
    fn for_each_posting(&mut self, filter: &Filter, mut act: impl FnMut(&mut HashMap<u64, Vec<u32>>, u64)) {
        let rarest_tag = filter.tags.iter().min_by_key(|(_, values)| values.len());
        let keys: Vec<u64> = if let Some(ids) = &filter.ids {
            ids.iter().map(|id| self.key(Condition::Id(&id.0))).collect()
        } else if let Some((name, values)) = rarest_tag {
            values.iter().map(|value| self.key(Condition::Tag(*name, value))).collect()
        } else if let Some(authors) = &filter.authors {
            authors.iter().map(|author| self.key(Condition::Author(&author.0))).collect()
        } else if let Some(kinds) = &filter.kinds {
            kinds.iter().map(|kind| self.key(Condition::Kind(*kind))).collect()
        } else {
            vec![self.key(Condition::Any)]
        };
        for key in keys {
            act(&mut self.postings, key);
        }
    }

    fn deliver(&mut self, publication: &Publication<'_>) -> usize {
        self.stamp += 1;
        let event = &publication.view;
        let mut keys = vec![
            self.key(Condition::Any),
            self.key(Condition::Kind(event.kind)),
            self.key(Condition::Author(&event.pubkey.0)),
            self.key(Condition::Id(&event.id.0)),
        ];
        keys.extend(event.index_tags.map(|(name, value)| self.key(Condition::Tag(name, value))));
        let mut sent = 0;
        for key in keys {
            for slot in self.postings.get(&key).into_iter().flatten() {
                let Some(subscription) = &mut self.subscriptions[*slot as usize] else { continue };
                if subscription.stamp == self.stamp || !subscription.wants(publication) {
                    continue;
                }
                subscription.stamp = self.stamp;
                let prefix = subscription.prefix.clone();
                let body = publication.body.clone();
                subscription.connection.outbox.push(Frame::event(prefix, body));
                sent += 1;
            }
        }
        sent
    }
}

impl Subscription {
    fn wants(&self, publication: &Publication<'_>) -> bool {
        if publication.sequence <= self.after {
            return false;
        }
        let may_get = |filter: &Filter| match &publication.reach {
            Reach::Everyone => true,
            Reach::Named(named) => filter.names_events() || self.connection.holds_any(named),
            Reach::Only(parties) => self.connection.holds_any(parties),
        };
        let speaks = |words: &String| search::matches(words, &publication.body);
        let wanted = |filter: &Filter| {
            // No index knows of the event yet: its own text is searched.
            filter.conditions(&publication.view) && may_get(filter) && filter.search.as_ref().is_none_or(speaks)
        };
        self.filters.iter().any(wanted)
    }
}
