//! A group of writes, gathered in one batch and synced once.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use bytes::Bytes;
use rocksdb::{ColumnFamily, WriteBatch};

use super::super::keys::{
    self, ADDRESS, Address, DELETED, DeletedKey, EVENTS, IDS, Index, JOURNAL, META, META_COUNTERS,
};
use super::super::{Admission, Changes, Position, Record, StoreError, Transaction};
use super::{RocksStore, Writer};
use crate::nostr::kind::{DELETION, VANISH};
use crate::nostr::{Event, EventId, EventView, Pubkey};

/// NIP-59: its author is a throw-away key, so its recipient may delete it.
const GIFT_WRAP: u16 = 1059;

/// Room that a transaction is given at once, at most.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// Dropped without `commit`, it leaves nothing.
pub struct RocksTransaction<'a> {
    store: &'a RocksStore,
    writer: MutexGuard<'a, Writer>,
    batch: WriteBatch,
    overlay: Overlay,
    families: Families<'a>,
    /// The sequence of the event stored last, in this transaction or before.
    last_sequence: u64,
    /// How many events the store holds with this transaction's writes.
    events: u64,
    durable: bool,
    is_touched: bool,
}

/// What this transaction has written so far, for the lookups that decide about its next event.
#[derive(Default)]
struct Overlay {
    /// `None` where this transaction removed the event.
    records: HashMap<EventId, Option<Record>>,
    removed: Vec<Position>,
    versions: HashMap<Address, Option<Position>>,
    deleted: HashMap<DeletedKey, u64>,
}

/// Handles that every event needs, looked up by name once.
struct Families<'a> {
    events: &'a ColumnFamily,
    ids: &'a ColumnFamily,
    address: &'a ColumnFamily,
    deleted: &'a ColumnFamily,
    journal: &'a ColumnFamily,
    meta: &'a ColumnFamily,
    indexes: [&'a ColumnFamily; Index::ALL.len()],
}

impl<'a> Families<'a> {
    fn of(store: &'a RocksStore) -> Self {
        Self {
            events: store.family(EVENTS),
            ids: store.family(IDS),
            address: store.family(ADDRESS),
            deleted: store.family(DELETED),
            journal: store.family(JOURNAL),
            meta: store.family(META),
            indexes: Index::ALL.map(|index| store.family(index.family())),
        }
    }

    fn index(&self, index: Index) -> &'a ColumnFamily {
        self.indexes[index as usize]
    }
}

impl<'a> RocksTransaction<'a> {
    pub fn new(store: &'a RocksStore, writer: MutexGuard<'a, Writer>, durable: bool) -> Self {
        Self {
            store,
            batch: WriteBatch::with_capacity_bytes(writer.batch_bytes),
            overlay: Overlay::default(),
            families: Families::of(store),
            last_sequence: store.last_sequence.load(Ordering::Acquire),
            events: store.events.load(Ordering::Acquire),
            durable,
            is_touched: false,
            writer,
        }
    }

    fn is_stored(&self, id: &EventId) -> Result<bool, StoreError> {
        match self.overlay.records.get(id) {
            Some(record) => Ok(record.is_some()),
            None => Ok(self.store.created_at(id)?.is_some()),
        }
    }

    fn record(&self, id: &EventId) -> Result<Option<Record>, StoreError> {
        match self.overlay.records.get(id) {
            Some(record) => Ok(record.clone()),
            None => super::super::Store::get(self.store, id),
        }
    }

    fn version(&self, address: &Address) -> Result<Option<Position>, StoreError> {
        match self.overlay.versions.get(address) {
            Some(position) => Ok(*position),
            None => self.store.version(address),
        }
    }

    fn deleted(&self, key: &DeletedKey) -> Result<Option<u64>, StoreError> {
        match self.overlay.deleted.get(key) {
            Some(created_at) => Ok(Some(*created_at)),
            None => self.store.deleted(key),
        }
    }

    /// Whether someone who may has asked that this id be deleted.
    fn is_id_deleted(&self, event: &EventView<'_>) -> Result<bool, StoreError> {
        if !is_deletable(event.kind) {
            return Ok(false);
        }
        for author in std::iter::once(*event.pubkey).chain(recipients(event)) {
            if self.deleted(&DeletedKey::event(event.id, &author))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the author, or the recipient of a gift wrap, has asked to vanish since (NIP-62).
    fn has_vanished(&self, event: &EventView<'_>) -> Result<bool, StoreError> {
        if event.kind == VANISH {
            return Ok(false);
        }
        for author in std::iter::once(*event.pubkey).chain(recipients(event)) {
            if self.deleted(&DeletedKey::vanished(&author))?.is_some_and(|until| event.created_at <= until) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn put(&mut self, record: Record, value: &[u8], address: Option<Address>) {
        let position = record.position;
        self.batch.put_cf(self.families.events, position.to_bytes(), value);
        self.batch.put_cf(self.families.ids, position.id.0, position.created_at().to_be_bytes());
        keys::each_range(&record.view(), record.expiration, |index, prefix| {
            self.batch.put_cf(self.families.index(index), prefix.at(position), []);
        });
        if let Some(address) = address {
            self.batch.put_cf(self.families.address, address.as_bytes(), position.to_bytes());
            self.overlay.versions.insert(address, Some(position));
        }
        self.overlay.records.insert(position.id, Some(record));
        self.events += 1;
    }

    fn take_out(&mut self, record: &Record) -> Result<(), StoreError> {
        let position = record.position;
        self.batch.delete_cf(self.families.events, position.to_bytes());
        self.batch.delete_cf(self.families.ids, position.id.0);
        keys::each_range(&record.view(), record.expiration, |index, prefix| {
            self.batch.delete_cf(self.families.index(index), prefix.at(position));
        });
        if let Some(address) = Address::of(&record.view())
            && self.version(&address)? == Some(position)
        {
            self.batch.delete_cf(self.families.address, address.as_bytes());
            self.overlay.versions.insert(address, None);
        }
        self.overlay.records.insert(position.id, None);
        self.overlay.removed.push(position);
        self.events = self.events.checked_sub(1).ok_or(StoreError::Damaged("counters"))?;
        Ok(())
    }

    /// NIP-09: what the tags of a deletion name, now and whenever it arrives.
    fn delete_what_is_asked(&mut self, deletion: &Event) -> Result<(), StoreError> {
        for (name, value) in deletion.index_tags() {
            match name {
                b'e' => self.delete_event(deletion, value)?,
                b'a' => self.delete_address(deletion, value)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn delete_event(&mut self, deletion: &Event, value: &[u8]) -> Result<(), StoreError> {
        let Some(id) = std::str::from_utf8(value).ok().and_then(EventId::from_hex) else { return Ok(()) };
        self.mark_deleted(DeletedKey::event(&id, &deletion.pubkey), deletion.created_at);
        match self.record(&id)? {
            Some(record) if may_delete(&deletion.pubkey, &record) => self.take_out(&record),
            _ => Ok(()),
        }
    }

    fn delete_address(&mut self, deletion: &Event, value: &[u8]) -> Result<(), StoreError> {
        let address = match Address::parse(value) {
            Some((owner, address)) if owner == deletion.pubkey => address,
            _ => return Ok(()),
        };
        let key = DeletedKey::address(&address);
        let until = self.deleted(&key)?.unwrap_or(0).max(deletion.created_at);
        self.mark_deleted(key, until);
        match self.version(&address)? {
            Some(version) if version.created_at() <= until => self.remove(&version.id).map(drop),
            _ => Ok(()),
        }
    }

    fn mark_deleted(&mut self, key: DeletedKey, created_at: u64) {
        self.batch.put_cf(self.families.deleted, key.as_bytes(), created_at.to_be_bytes());
        self.overlay.deleted.insert(key, created_at);
    }
}

impl Transaction for RocksTransaction<'_> {
    fn admit(&self, event: &Event) -> Result<Admission, StoreError> {
        if self.is_stored(&event.id)? {
            return Ok(Admission::Duplicate);
        }
        if self.is_id_deleted(&event.view())? || self.has_vanished(&event.view())? {
            return Ok(Admission::Deleted);
        }
        let Some(address) = Address::of(&event.view()) else { return Ok(Admission::Fresh) };
        if self.deleted(&DeletedKey::address(&address))?.is_some_and(|until| event.created_at <= until) {
            return Ok(Admission::Deleted);
        }
        let position = Position::new(event.created_at, event.id);
        match self.version(&address)? {
            Some(version) if version < position => Ok(Admission::Replaced),
            _ => Ok(Admission::Fresh),
        }
    }

    fn insert(&mut self, event: &Event) -> Result<u64, StoreError> {
        let address = Address::of(&event.view());
        if let Some(address) = &address
            && let Some(version) = self.version(address)?
        {
            self.remove(&version.id)?;
        }
        let sequence = self.next_sequence();
        self.last_sequence = sequence;
        let value = Bytes::from(Record::encode(event, sequence));
        let record = Record::decode(Position::new(event.created_at, event.id), value.clone())?;
        self.put(record, &value, address);
        if event.kind == DELETION {
            self.delete_what_is_asked(event)?;
        }
        Ok(sequence)
    }

    fn next_sequence(&mut self) -> u64 {
        let sequence = self.writer.next_sequence;
        self.writer.next_sequence += 1;
        sequence
    }

    fn vanish(&mut self, author: &Pubkey, until: u64) -> Result<(), StoreError> {
        let mark = DeletedKey::vanished(author);
        let until = self.deleted(&mark)?.unwrap_or(0).max(until);
        self.mark_deleted(mark, until);
        self.mark_deleted(DeletedKey::vanishing(author), until);
        Ok(())
    }

    fn vanished(&mut self, author: &Pubkey) -> Result<(), StoreError> {
        self.batch.delete_cf(self.families.deleted, DeletedKey::vanishing(author).as_bytes());
        Ok(())
    }

    fn remove(&mut self, id: &EventId) -> Result<bool, StoreError> {
        match self.record(id)? {
            None => Ok(false),
            Some(record) => self.take_out(&record).map(|()| true),
        }
    }

    fn append_journal(&mut self, entry: &[u8]) -> Result<(), StoreError> {
        self.batch.put_cf(self.families.journal, self.writer.next_entry.to_be_bytes(), entry);
        self.writer.next_entry += 1;
        Ok(())
    }

    fn clear_journal(&mut self) -> Result<(), StoreError> {
        // Numbers go on, so that this range never covers a later entry.
        let end = self.writer.next_entry.to_be_bytes();
        self.batch.delete_range_cf(self.families.journal, 0u64.to_be_bytes(), end);
        Ok(())
    }

    fn touch(&mut self) {
        self.is_touched = true;
    }

    fn commit(mut self: Box<Self>) -> Result<Changes, StoreError> {
        if self.batch.is_empty() && !self.is_touched {
            return Ok(Changes::default());
        }
        let counters = [self.last_sequence.to_be_bytes(), self.events.to_be_bytes()].concat();
        self.batch.put_cf(self.families.meta, META_COUNTERS, counters);
        self.writer.batch_bytes = self.batch.size_in_bytes().min(MAX_BATCH_BYTES);
        self.store.write(&self.batch, self.durable)?;
        for position in &self.overlay.removed {
            self.store.bodies.remove(position);
        }
        let ends = self.overlay.records.values().flatten().filter_map(|record| record.expiration);
        if let Some(end) = ends.min() {
            let mut first_end = self.store.first_end.lock().unwrap_or_else(PoisonError::into_inner);
            *first_end = end.min(*first_end);
        }
        let stored: Vec<Record> = self.overlay.records.drain().filter_map(|(_, record)| record).collect();
        for record in &stored {
            self.store.bodies.put(record.clone());
        }
        self.store.events.store(self.events, Ordering::Release);
        // Last: who reads this sequence finds every event up to it.
        self.store.last_sequence.store(self.last_sequence, Ordering::Release);
        Ok(Changes { removed: std::mem::take(&mut self.overlay.removed), stored })
    }
}

/// Who else than its author may delete an event.
pub(super) fn recipients(event: &EventView<'_>) -> impl Iterator<Item = Pubkey> {
    let values = (event.kind == GIFT_WRAP).then(|| event.index_tags.named(b'p')).into_iter().flatten();
    values.filter_map(|value| std::str::from_utf8(value).ok().and_then(Pubkey::from_hex))
}

/// Neither a deletion nor a request to vanish can be deleted (NIP-09, NIP-62).
fn is_deletable(kind: u16) -> bool {
    !matches!(kind, DELETION | VANISH)
}

fn may_delete(author: &Pubkey, record: &Record) -> bool {
    is_deletable(record.kind) && (record.pubkey == *author || recipients(&record.view()).any(|p| p == *author))
}
