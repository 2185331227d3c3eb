//! Live delivery: who is waiting for the event that was just stored.
//!
//! Every filter is posted under its most selective condition only (ids, else a tag, else authors,
//! else kinds, else everything); an event looks up its own id, tags, author and kind, and only the
//! filters found there are tried. The naive twin in `tests` tries them all.

mod screen;

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use self::screen::Screen;
use crate::connection::Connection;
use crate::nostr::{EventView, Filter, search};
use crate::outbox::{Frame, Gathering};
use crate::peer::feed::Feed;
use crate::policy::Reach;
use crate::websocket::deflate::Deflated;

/// Parts of the postings, so that no part takes long to grow.
const SHARDS: usize = 64;
/// Postings made or removed before others get the index.
const POSTINGS_AT_ONCE: usize = 512;
/// Events delivered before those who got some are woken.
const EVENTS_AT_ONCE: usize = 64;

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
    hasher: RandomState,
    /// What links to other relays follow.
    feed: Arc<Feed>,
}

/// Nobody holds it for longer than one event, or `POSTINGS_AT_ONCE`, take.
#[derive(Default)]
struct Index {
    subscriptions: Vec<Option<Subscription>>,
    free: Vec<u32>,
    postings: Postings,
    /// Number of the delivery under way, so that no subscription is tried twice for one event.
    stamp: u64,
}

/// Hash of a condition -> subscriptions posted there. Two conditions may share a hash: every
/// filter is tried in full anyway.
struct Postings(Vec<HashMap<u64, Slots, BuildHasherDefault<Unhashed>>>);

/// Subscriptions in ascending order. Most conditions are those of one subscription only.
enum Slots {
    One(u32),
    Many(Vec<u32>),
}

/// Keys are hashes already.
#[derive(Default)]
struct Unhashed(u64);

struct Subscription {
    connection: Arc<Connection>,
    prefix: Arc<str>,
    filters: Arc<[Filter]>,
    /// One for each filter; none at all when no filter needs one.
    screens: Box<[Screen]>,
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
        let (index, hasher) = (Mutex::default(), RandomState::new());
        let (open, feed) = (AtomicUsize::new(0), Arc::default());
        Self { index, committed: AtomicU64::new(committed), open, hasher, feed }
    }

    /// Says that everything up to `sequence` is in the store. Called before anybody is told so: who has heard OK
    /// and subscribes finds the event among the stored ones, delivered or not.
    pub fn committed(&self, sequence: u64) {
        self.committed.fetch_max(sequence, Ordering::SeqCst);
    }

    /// Whether nobody waits for anything. What was said to be `committed` before need not be published then: who
    /// subscribes from now on finds it in the store.
    pub fn is_idle(&self) -> bool {
        self.open.load(Ordering::SeqCst) == 0 && self.feed.is_idle()
    }

    /// What links to other relays follow.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// How many subscriptions are open.
    pub fn subscriptions(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// From now on the subscription gets every matching event with a sequence above the returned one;
    /// a query for stored events up to that sequence leaves no gap and no double.
    pub fn subscribe(&self, connection: &Arc<Connection>, prefix: Arc<str>, filters: Arc<[Filter]>) -> (Slot, u64) {
        // Counted before the sequence is read: either the writer sees the subscription, or it the writer's commit.
        self.open.fetch_add(1, Ordering::SeqCst);
        let keys = self.keys_of_filters(&filters);
        // Nothing comes after the last sequence: it gets no event before it is posted everywhere.
        let (connection, screens) = (connection.clone(), Screen::of_all(&filters));
        let subscription = Subscription { connection, prefix, filters, screens, after: u64::MAX, stamp: 0 };
        let slot = self.change(|index| index.enter(subscription));
        for keys in keys.chunks(POSTINGS_AT_ONCE) {
            self.change(|index| keys.iter().for_each(|key| index.postings.add(*key, slot)));
        }
        let after = self.change(|index| {
            // What is delivered from here on finds it; what was delivered before had been committed.
            let after = self.committed.load(Ordering::SeqCst);
            if let Some(subscription) = index.subscription(slot) {
                subscription.after = after;
            }
            after
        });
        (Slot(slot), after)
    }

    pub fn unsubscribe(&self, slot: Slot) {
        let taken = self.change(|index| index.subscriptions.get_mut(slot.0 as usize).and_then(Option::take));
        let Some(subscription) = taken else { return };
        self.open.fetch_sub(1, Ordering::SeqCst);
        for keys in self.keys_of_filters(&subscription.filters).chunks(POSTINGS_AT_ONCE) {
            self.change(|index| keys.iter().for_each(|key| index.postings.remove(*key, slot.0)));
        }
        // Only now may another have its place.
        self.change(|index| index.free.push(slot.0));
    }

    /// Hands each event, in order, to every subscription that matches. Returns how many were sent.
    pub fn publish(&self, publications: &[Publication<'_>]) -> usize {
        self.committed(publications.iter().map(|publication| publication.sequence).max().unwrap_or(0));
        let mut sent = 0;
        for publications in publications.chunks(EVENTS_AT_ONCE) {
            let _gathering = Gathering::start();
            for publication in publications {
                let keys = self.keys_of_event(&publication.view);
                sent += self.index.lock().deliver(publication, &keys);
            }
        }
        sent
    }

    fn key(&self, condition: Condition<'_>) -> u64 {
        self.hasher.hash_one(condition)
    }

    /// Every place at which one of `filters` is to be found.
    fn keys_of_filters(&self, filters: &[Filter]) -> Vec<u64> {
        let mut keys = Vec::new();
        for filter in filters {
            let rarest_tag = filter.tags.iter().min_by_key(|(_, values)| values.len());
            if let Some(ids) = &filter.ids {
                keys.extend(ids.iter().map(|id| self.key(Condition::Id(&id.0))));
            } else if let Some((name, values)) = rarest_tag {
                keys.extend(values.iter().map(|value| self.key(Condition::Tag(*name, value))));
            } else if let Some(authors) = &filter.authors {
                keys.extend(authors.iter().map(|author| self.key(Condition::Author(&author.0))));
            } else if let Some(kinds) = &filter.kinds {
                keys.extend(kinds.iter().map(|kind| self.key(Condition::Kind(*kind))));
            } else {
                keys.push(self.key(Condition::Any));
            }
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Every place at which a filter that matches `event` may be.
    fn keys_of_event(&self, event: &EventView<'_>) -> Vec<u64> {
        let own = [
            self.key(Condition::Any),
            self.key(Condition::Kind(event.kind)),
            self.key(Condition::Author(&event.pubkey.0)),
            self.key(Condition::Id(&event.id.0)),
        ];
        let tags = event.index_tags.map(|(name, value)| self.key(Condition::Tag(name, value)));
        own.into_iter().chain(tags).collect()
    }

    /// Changes the index, and then lets whoever waits for it have it: clients that subscribe without a pause would otherwise
    /// take it from each other, and nothing would be delivered meanwhile.
    fn change<T>(&self, change: impl FnOnce(&mut Index) -> T) -> T {
        let mut index = self.index.lock();
        let changed = change(&mut index);
        MutexGuard::unlock_fair(index);
        changed
    }
}

impl Index {
    fn enter(&mut self, subscription: Subscription) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.subscriptions[slot as usize] = Some(subscription);
            return slot;
        }
        self.subscriptions.push(Some(subscription));
        self.subscriptions.len() as u32 - 1
    }

    fn subscription(&mut self, slot: u32) -> Option<&mut Subscription> {
        self.subscriptions.get_mut(slot as usize)?.as_mut()
    }

    fn deliver(&mut self, publication: &Publication<'_>, keys: &[u64]) -> usize {
        self.stamp += 1;
        let mut sent = 0;
        // Compressed by the first recipient that takes it so, for all of them.
        let mut deflated: Option<Arc<Deflated>> = None;
        for slot in keys.iter().flat_map(|key| self.postings.at(*key)) {
            let Some(Some(subscription)) = self.subscriptions.get_mut(*slot as usize) else { continue };
            if std::mem::replace(&mut subscription.stamp, self.stamp) == self.stamp || !subscription.wants(publication)
            {
                continue;
            }
            let outbox = &subscription.connection.outbox;
            let deflated = outbox.compresses().then(|| deflated.get_or_insert_default().clone());
            let (prefix, body) = (subscription.prefix.clone(), publication.body.clone());
            outbox.push(Frame::Event { prefix, body, deflated });
            sent += 1;
        }
        sent
    }
}

/// Neither the bits by which a map finds its buckets nor those that it keeps there.
fn shard(key: u64) -> usize {
    (key >> 40) as usize % SHARDS
}

impl Postings {
    fn shard(&mut self, key: u64) -> &mut HashMap<u64, Slots, BuildHasherDefault<Unhashed>> {
        &mut self.0[shard(key)]
    }

    fn at(&self, key: u64) -> &[u32] {
        match self.0[shard(key)].get(&key) {
            Some(Slots::One(slot)) => std::slice::from_ref(slot),
            Some(Slots::Many(slots)) => slots,
            None => &[],
        }
    }

    fn add(&mut self, key: u64, slot: u32) {
        match self.shard(key).entry(key) {
            Entry::Vacant(place) => drop(place.insert(Slots::One(slot))),
            Entry::Occupied(mut place) => place.get_mut().add(slot),
        }
    }

    fn remove(&mut self, key: u64, slot: u32) {
        let shard = self.shard(key);
        if let Entry::Occupied(mut place) = shard.entry(key)
            && place.get_mut().remove(slot)
        {
            place.remove();
            if shard.len() < shard.capacity() / 4 {
                let room = 2 * shard.len();
                shard.shrink_to(room);
            }
        }
    }
}

impl Default for Postings {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| HashMap::default()).collect())
    }
}

impl Slots {
    fn add(&mut self, slot: u32) {
        match self {
            Self::One(one) => *self = Self::Many(vec![slot.min(*one), slot.max(*one)]),
            Self::Many(slots) => slots.insert(slots.partition_point(|other| *other < slot), slot),
        }
    }

    /// Whether none is left.
    fn remove(&mut self, slot: u32) -> bool {
        match self {
            Self::One(one) => *one == slot,
            Self::Many(slots) => {
                if let Ok(at) = slots.binary_search(&slot) {
                    slots.remove(at);
                }
                if slots.len() < slots.capacity() / 4 {
                    slots.shrink_to(2 * slots.len());
                }
                slots.is_empty()
            }
        }
    }
}

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a key is one u64");
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
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
            Reach::Only(parties) | Reach::Withheld(parties) => self.connection.holds_any(parties),
            Reach::Others(told) => !self.connection.holds_any(told),
        };
        let speaks = |words: &String| search::matches(words, &publication.body);
        let wanted = |filter: &Filter| {
            // No index knows of the event yet: its own text is searched.
            filter.conditions(&publication.view) && may_get(filter) && filter.search.as_ref().is_none_or(speaks)
        };
        let passes = |at: usize| self.screens.get(at).is_none_or(|screen| screen.lets(publication.view.pubkey));
        self.filters.iter().enumerate().any(|(at, filter)| passes(at) && wanted(filter))
    }
}
