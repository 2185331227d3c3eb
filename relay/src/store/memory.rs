//! The store's twin in memory, too simple to be wrong: every answer comes from looking at every event.
//!
//! It shares no rule with the store on disk, so that a test that compares the two compares two readings
//! of NIP-01, NIP-09 and NIP-40. A transaction works on a copy of everything, so keep it small.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;

use super::{Admission, Changes, Position, Progress, Record, Scan, Store, StoreError, StoreStats, Transaction};
use crate::nostr::kind::{DELETION, Retention, VANISH, retention};
use crate::nostr::{Event, EventId, EventView, Pubkey};

/// NIP-59: its author is a throw-away key, so its recipient may delete it.
const GIFT_WRAP: u16 = 1059;

/// A store that is gone when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: RwLock<State>,
    /// The sequence taken last, stored or not. Held by the open transaction.
    taken: Mutex<u64>,
}

#[derive(Debug, Default, Clone)]
struct State {
    events: BTreeMap<Position, Record>,
    /// Every deletion ever asked for; they outlive the events that asked.
    deletions: Vec<Deletion>,
    /// Who asked to vanish, and up to when (NIP-62).
    vanished: BTreeMap<Pubkey, u64>,
    /// Those of whom something may be left.
    vanishing: BTreeMap<Pubkey, u64>,
    journal: Vec<Vec<u8>>,
    /// The sequence of the event stored last.
    stored: u64,
}

#[derive(Debug, Clone)]
struct Deletion {
    author: Pubkey,
    created_at: u64,
    target: Target,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Event(EventId),
    Address { kind: u16, identifier: Vec<u8> },
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for MemoryStore {
    fn get(&self, id: &EventId) -> Result<Option<Record>, StoreError> {
        Ok(self.read(|state| state.find(id).cloned()))
    }

    fn is_deleted(&self, id: &EventId, author: &Pubkey) -> Result<bool, StoreError> {
        let target = Target::Event(*id);
        Ok(self.read(|state| state.deletions.iter().any(|d| d.author == *author && d.target == target)))
    }

    fn scan(
        &self,
        scan: &mut Scan,
        budget: u32,
        found: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<Progress, StoreError> {
        // The lock is not held while the receiver runs: it may call the store again.
        let mut records: Vec<Record> = self.read(|state| state.events.values().cloned().collect());
        if scan.ascending {
            records.reverse();
        }
        let behind = |position: Position| match scan.after {
            None => true,
            Some(after) if scan.ascending => position < after,
            Some(after) => position > after,
        };
        records.retain(|record| behind(record.position));
        if scan.room == 0 || scan.filter.limit == Some(0) {
            return Ok(Progress::Done);
        }
        for (looked_at, record) in (0..).zip(records) {
            if looked_at == budget.max(1) {
                return Ok(Progress::More);
            }
            scan.after = Some(record.position);
            if scan.wants(&record.head()) {
                scan.room -= 1;
                if found(record).is_break() || scan.room == 0 {
                    return Ok(Progress::Done);
                }
            }
        }
        Ok(Progress::Done)
    }

    fn vanishing(&self) -> Result<Option<(Pubkey, u64)>, StoreError> {
        Ok(self.read(|state| state.vanishing.first_key_value().map(|(author, until)| (*author, *until))))
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Box::new(MemoryTransaction { store: self, state: self.read(State::clone), taken }))
    }

    fn journal(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(self.read(|state| state.journal.clone()))
    }

    fn expired(&self, now: u64, max: usize) -> Result<Vec<EventId>, StoreError> {
        let mut ended: Vec<Record> =
            self.read(|state| state.events.values().filter(|r| r.is_expired(now)).cloned().collect());
        ended.sort_by_key(|record| (record.expiration, record.position));
        Ok(ended.iter().take(max).map(|record| record.position.id).collect())
    }

    fn last_sequence(&self) -> u64 {
        self.read(|state| state.stored)
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        Ok(self.read(|state| StoreStats {
            events: state.events.len() as u64,
            bytes_on_disk: 0,
            format: 0,
            last_sequence: state.stored,
        }))
    }
}

impl State {
    fn find(&self, id: &EventId) -> Option<&Record> {
        self.events.values().find(|record| record.position.id == *id)
    }

    /// Whether someone who may has asked that `event` be deleted.
    fn is_deleted(&self, event: &EventView<'_>) -> bool {
        // NIP-09 and NIP-62: a deletion against one of these has no effect.
        !matches!(event.kind, DELETION | VANISH)
            && self.deletions.iter().any(|deletion| match &deletion.target {
                Target::Event(id) => {
                    id == event.id && (deletion.author == *event.pubkey || is_wrapped_for(event, &deletion.author))
                }
                Target::Address { .. } => {
                    deletion.author == *event.pubkey
                        && address(event).as_ref() == Some(&deletion.target)
                        && event.created_at <= deletion.created_at
                }
            })
    }

    fn has_vanished(&self, event: &EventView<'_>) -> bool {
        event.kind != VANISH
            && self.vanished.iter().any(|(author, until)| {
                event.created_at <= *until && (event.pubkey == author || is_wrapped_for(event, author))
            })
    }

    /// Where stored versions of the address that `event` writes to stand.
    fn versions(&self, event: &EventView<'_>) -> Vec<Position> {
        let Some(written) = address(event) else { return Vec::new() };
        let is_version =
            |record: &&Record| record.pubkey == *event.pubkey && address(&record.view()).as_ref() == Some(&written);
        self.events.values().filter(is_version).map(|record| record.position).collect()
    }

    fn delete_what_is_asked(&mut self, deletion: &Event) {
        for tag in deletion.tags() {
            let [name, value, ..] = tag.as_slice() else { continue };
            let target = match name.as_str() {
                "e" => EventId::from_hex(value).map(Target::Event),
                "a" => read_address(value, &deletion.pubkey),
                _ => None,
            };
            if let Some(target) = target {
                let (author, created_at) = (deletion.pubkey, deletion.created_at);
                self.deletions.push(Deletion { author, created_at, target });
            }
        }
        let mut events = std::mem::take(&mut self.events);
        events.retain(|_, record| !self.is_deleted(&record.view()));
        self.events = events;
    }
}

/// The address of a replaceable or addressable event.
fn address(event: &EventView<'_>) -> Option<Target> {
    let identifier = match retention(event.kind) {
        Retention::Replaceable => Vec::new(),
        Retention::Addressable => event.index_tags.named(b'd').next().unwrap_or_default().to_vec(),
        Retention::Regular | Retention::Ephemeral => return None,
    };
    Some(Target::Address { kind: event.kind, identifier })
}

/// `kind:pubkey:d`, when it is an address of `author`.
fn read_address(value: &str, author: &Pubkey) -> Option<Target> {
    let mut parts = value.splitn(3, ':');
    let kind: u16 = parts.next()?.parse().ok()?;
    let pubkey = Pubkey::from_hex(parts.next()?)?;
    let identifier = parts.next()?.as_bytes().to_vec();
    let is_address = match retention(kind) {
        Retention::Replaceable => identifier.is_empty(),
        Retention::Addressable => true,
        Retention::Regular | Retention::Ephemeral => false,
    };
    (is_address && pubkey == *author).then_some(Target::Address { kind, identifier })
}

fn is_wrapped_for(event: &EventView<'_>, recipient: &Pubkey) -> bool {
    event.kind == GIFT_WRAP && event.index_tags.named(b'p').any(|value| value == recipient.to_hex().as_bytes())
}

/// A copy of everything, put in place of the original on commit.
struct MemoryTransaction<'a> {
    store: &'a MemoryStore,
    state: State,
    taken: MutexGuard<'a, u64>,
}

impl Transaction for MemoryTransaction<'_> {
    fn admit(&self, event: &Event) -> Result<Admission, StoreError> {
        let position = Position::new(event.created_at, event.id);
        Ok(if self.state.find(&event.id).is_some() {
            Admission::Duplicate
        } else if self.state.is_deleted(&event.view()) || self.state.has_vanished(&event.view()) {
            Admission::Deleted
        } else if self.state.versions(&event.view()).iter().any(|version| *version < position) {
            Admission::Replaced
        } else {
            Admission::Fresh
        })
    }

    fn insert(&mut self, event: &Event) -> Result<u64, StoreError> {
        for version in self.state.versions(&event.view()) {
            self.state.events.remove(&version);
        }
        let sequence = self.next_sequence();
        self.state.stored = sequence;
        let position = Position::new(event.created_at, event.id);
        let record = Record::decode(position, Bytes::from(Record::encode(event, sequence)))?;
        self.state.events.insert(position, record);
        if event.kind == DELETION {
            self.state.delete_what_is_asked(event);
        }
        Ok(sequence)
    }

    fn next_sequence(&mut self) -> u64 {
        *self.taken += 1;
        *self.taken
    }

    fn vanish(&mut self, author: &Pubkey, until: u64) -> Result<(), StoreError> {
        let until = self.state.vanished.get(author).map_or(until, |before| until.max(*before));
        self.state.vanished.insert(*author, until);
        self.state.vanishing.insert(*author, until);
        Ok(())
    }

    fn vanished(&mut self, author: &Pubkey) -> Result<(), StoreError> {
        self.state.vanishing.remove(author);
        Ok(())
    }

    fn remove(&mut self, id: &EventId) -> Result<bool, StoreError> {
        let before = self.state.events.len();
        self.state.events.retain(|position, _| position.id != *id);
        Ok(self.state.events.len() < before)
    }

    fn append_journal(&mut self, entry: &[u8]) -> Result<(), StoreError> {
        self.state.journal.push(entry.to_vec());
        Ok(())
    }

    fn clear_journal(&mut self) -> Result<(), StoreError> {
        self.state.journal.clear();
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<Changes, StoreError> {
        let mut state = self.store.state.write().unwrap_or_else(PoisonError::into_inner);
        let gone = state.events.values().filter(|old| self.state.events.get(&old.position) != Some(*old));
        let new = self.state.events.values().filter(|new| state.events.get(&new.position) != Some(*new));
        let (removed, stored) = (gone.map(|old| old.position).collect(), new.cloned().collect());
        *state = self.state;
        Ok(Changes { removed, stored })
    }
}
