//! Whether everything that is kept about an event agrees with the event.
//!
//! An event tells which entries it must have in every family. Both sides are summed up, entry by entry, in any order:
//! how many there are, and two sums of their hashes. Equal sums mean equal sets, so a sound store is read once, in
//! order and in constant memory. Only a family whose sums differ is searched for what is missing or astray.

use std::hash::{DefaultHasher, Hasher};

use rocksdb::{IteratorMode, ReadOptions};

use super::super::keys::{self, ADDRESS, Address, DeletedKey, EVENTS, IDS, Index};
use super::super::{Head, Position, Record, StoreError};
use super::transaction::recipients;
use super::{RocksStore, read_counters, read_position};
use crate::nostr::kind::DELETION;
use crate::nostr::{Event, EventId, Pubkey};

/// What is wrong with a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("an event's key has {0} bytes, not 40")]
    Key(usize),
    #[error("event {id}: {what}")]
    Event { id: EventId, what: &'static str },
    #[error("event {id}: {family} does not lead to it")]
    Missing { id: EventId, family: &'static str },
    #[error("{family} leads to event {id}, which is not there or does not belong there")]
    Stray { id: EventId, family: &'static str },
    #[error("{family} has a malformed entry")]
    Malformed { family: &'static str },
    #[error("event {0} is stored, though its deletion is on record")]
    Undeleted(EventId),
    #[error("deletion {0}: what it deletes is not on record")]
    Unrecorded(EventId),
    #[error("the counter says {counted} events, {stored} are stored")]
    Count { counted: u64, stored: u64 },
    #[error("the last sequence is said to be {counted}, event {id} has {found}")]
    Sequence { counted: u64, id: EventId, found: u64 },
}

/// How thorough to be, and whom to tell.
pub struct Checking<'a> {
    /// Also checks every signature, which takes longer than all else.
    pub signatures: bool,
    /// Called for each event read.
    pub progress: &'a mut dyn FnMut(),
    pub found: &'a mut dyn FnMut(Fault),
}

/// A set of entries, summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    entries: u64,
    hashes: [u64; 2],
}

impl Sum {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.entries += 1;
        for (seed, sum) in (0..).zip(&mut self.hashes) {
            let mut hasher = DefaultHasher::new();
            hasher.write_u8(seed);
            hasher.write_usize(key.len());
            hasher.write(key);
            hasher.write(value);
            *sum = sum.wrapping_add(hasher.finish());
        }
    }
}

/// A family that an event must have entries in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Ids,
    Address,
    Index(Index),
}

impl Family {
    const ALL: [Self; 2 + Index::ALL.len()] = {
        let mut all = [Self::Ids; 2 + Index::ALL.len()];
        all[1] = Self::Address;
        let mut at = 0;
        while at < Index::ALL.len() {
            all[2 + at] = Self::Index(Index::ALL[at]);
            at += 1;
        }
        all
    };

    fn name(self) -> &'static str {
        match self {
            Self::Ids => IDS,
            Self::Address => ADDRESS,
            Self::Index(index) => index.family(),
        }
    }

    /// The id of the event that an entry leads to, and the event's place.
    fn position(self, key: &[u8], value: &[u8]) -> Option<Position> {
        match self {
            Self::Ids => Some(Position::new(u64::from_be_bytes(value.try_into().ok()?), EventId(key.try_into().ok()?))),
            Self::Address => read_position(value).ok(),
            Self::Index(index) => read_position(key.get(index.prefix_bytes()..)?).ok(),
        }
    }
}

/// Every entry that an event must have, each once.
fn each_entry(head: &Head<'_>, mut entry: impl FnMut(Family, &[u8], &[u8])) {
    let (position, view) = (head.position, head.view());
    entry(Family::Ids, &position.id.0, &position.created_at().to_be_bytes());
    if let Some(address) = Address::of(&view) {
        entry(Family::Address, address.as_bytes(), &position.to_bytes());
    }
    let mut ranges = Vec::new();
    keys::each_range(&view, head.expiration, |index, prefix| ranges.push((index, prefix)));
    ranges.sort_unstable_by(|(i, a), (j, b)| (*i as usize, a.as_bytes()).cmp(&(*j as usize, b.as_bytes())));
    // A tag may stand twice.
    ranges.dedup();
    for (index, prefix) in ranges {
        entry(Family::Index(index), prefix.at(position).as_ref(), &[]);
    }
}

impl RocksStore {
    /// Reads everything and tells what does not agree. For a store that nobody writes to meanwhile, or a secondary.
    pub fn check(&self, checking: &mut Checking<'_>) -> Result<(), StoreError> {
        let mut sums = [Sum::default(); Family::ALL.len()];
        let counters = read_counters(&self.db)?;
        let mut stored = 0;
        self.each(EVENTS, |key, value| {
            stored += 1;
            (checking.progress)();
            let Ok(position) = read_position(key) else {
                (checking.found)(Fault::Key(key.len()));
                return Ok(());
            };
            let head = match read_event(position, value, checking.signatures) {
                Ok((head, event)) => {
                    self.check_deletions(&head, &event, checking.found)?;
                    head
                }
                Err(what) => {
                    (checking.found)(Fault::Event { id: position.id, what });
                    return Ok(());
                }
            };
            if head.sequence == 0 || head.sequence > counters.last_sequence {
                let (counted, found) = (counters.last_sequence, head.sequence);
                (checking.found)(Fault::Sequence { counted, id: position.id, found });
            }
            each_entry(&head, |family, key, value| {
                let at = Family::ALL.iter().position(|f| *f == family).expect("every family is among all");
                sums[at].add(key, value);
            });
            Ok(())
        })?;
        if stored != counters.events {
            (checking.found)(Fault::Count { counted: counters.events, stored });
        }
        for (family, expected) in Family::ALL.into_iter().zip(sums) {
            let mut sum = Sum::default();
            self.each(family.name(), |key, value| {
                sum.add(key, value);
                Ok(())
            })?;
            if sum != expected {
                self.search(family, checking.found)?;
            }
        }
        Ok(())
    }

    /// Finds out what is missing in a family, and what is there for no reason.
    fn search(&self, family: Family, found: &mut dyn FnMut(Fault)) -> Result<(), StoreError> {
        let name = family.name();
        self.each(EVENTS, |key, value| {
            let Some((head, _)) = read_position(key).ok().and_then(|position| Head::decode(position, value).ok())
            else {
                return Ok(());
            };
            let mut missing = Ok(false);
            each_entry(&head, |of, key, value| {
                if of == family && matches!(missing, Ok(false)) {
                    let stored = self.db.get_pinned_cf(self.family(name), key);
                    missing = stored.map(|stored| stored.is_none_or(|stored| stored[..] != *value));
                }
            });
            if missing? {
                found(Fault::Missing { id: head.position.id, family: name });
            }
            Ok(())
        })?;
        self.each(name, |key, value| {
            let Some(position) = family.position(key, value) else {
                found(Fault::Malformed { family: name });
                return Ok(());
            };
            let record = self.db.get_pinned_cf(self.family(EVENTS), position.to_bytes())?;
            let head = record.as_ref().and_then(|value| Head::decode(position, value).ok());
            let mut belongs = false;
            if let Some((head, _)) = head {
                each_entry(&head, |of, k, v| belongs |= of == family && (k, v) == (key, value));
            }
            if !belongs {
                found(Fault::Stray { id: position.id, family: name });
            }
            Ok(())
        })
    }

    /// NIP-09: what was deleted is not stored, and what a stored deletion deletes stays on record.
    fn check_deletions(&self, head: &Head<'_>, event: &Event, found: &mut dyn FnMut(Fault)) -> Result<(), StoreError> {
        let view = head.view();
        if head.kind == DELETION {
            let mut recorded = true;
            for (name, value) in view.index_tags {
                let text = std::str::from_utf8(value).unwrap_or_default();
                recorded &= match name {
                    b'e' => match EventId::from_hex(text) {
                        Some(id) => self.deleted(&DeletedKey::event(&id, &event.pubkey))?.is_some(),
                        None => true,
                    },
                    b'a' => match Address::parse(value).filter(|(owner, _)| *owner == event.pubkey) {
                        Some((_, address)) => {
                            self.deleted(&DeletedKey::address(&address))?.is_some_and(|until| event.created_at <= until)
                        }
                        None => true,
                    },
                    _ => true,
                };
            }
            if !recorded {
                found(Fault::Unrecorded(event.id));
            }
            return Ok(());
        }
        let mut deleted = match Address::of(&view) {
            Some(address) => {
                self.deleted(&DeletedKey::address(&address))?.is_some_and(|until| event.created_at <= until)
            }
            None => false,
        };
        let may_ask: Vec<Pubkey> = std::iter::once(event.pubkey).chain(recipients(&view)).collect();
        for author in may_ask {
            deleted |= self.deleted(&DeletedKey::event(&event.id, &author))?.is_some();
        }
        if deleted {
            found(Fault::Undeleted(event.id));
        }
        Ok(())
    }

    fn each(
        &self,
        family: &'static str,
        mut entry: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        // It is read once: it must not push out what is asked for.
        options.fill_cache(false);
        for item in self.db.iterator_cf_opt(self.family(family), options, IteratorMode::Start) {
            let (key, value) = item?;
            entry(&key, &value)?;
        }
        Ok(())
    }
}

/// A stored event, if what is stored is what would be stored for it today.
fn read_event(position: Position, value: &[u8], signatures: bool) -> Result<(Head<'_>, Event), &'static str> {
    let (head, body) = Head::decode(position, value).map_err(|_| "its record is cut short")?;
    let text = std::str::from_utf8(&value[body..]).map_err(|_| "its body is not UTF-8")?;
    let event = Event::parse(text).map_err(|_| "its body is not an event with that content's id")?;
    if (event.id, event.created_at) != (position.id, position.created_at()) {
        return Err("its body is of another event");
    }
    if Record::encode(&event, head.sequence) != value {
        return Err("its head does not tell what its body says");
    }
    if signatures && event.verify_signature().is_err() {
        return Err("bad signature");
    }
    Ok((head, event))
}
