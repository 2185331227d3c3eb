//! The store as it is at one moment, for one slice of a scan.
//!
//! Without it a slice could read in an index that a version stands somewhere, and find it replaced when it
//! fetches the record: a question about one address would be answered with neither version.

use std::ops::ControlFlow;

use bytes::Bytes;
use rocksdb::{DB, DBRawIterator, ReadOptions, SnapshotWithThreadMode};

use super::super::keys::{EVENTS, IDS, Index};
use super::super::{Head, Position, Record, StoreError};
use super::{Access, RocksStore};
use crate::nostr::EventId;

pub struct View<'a> {
    store: &'a RocksStore,
    /// None where only this process could change what it sees, and does not: beside a writer.
    snapshot: Option<SnapshotWithThreadMode<'a, DB>>,
}

impl<'a> View<'a> {
    pub fn of(store: &'a RocksStore) -> Self {
        let snapshot = (store.access != Access::Read).then(|| store.db.snapshot());
        Self { store, snapshot }
    }

    /// An iterator over the entries of one prefix after another.
    pub fn index(&self, index: Index, ascending: bool) -> DBRawIterator<'_> {
        let mut options = self.options();
        if ascending {
            // RocksDB walks backwards through a prefix only in total order.
            options.set_total_order_seek(true);
        } else {
            // Filters spare files that have nothing of the prefix that was last sought.
            options.set_prefix_same_as_start(true);
        }
        self.store.db.raw_iterator_cf_opt(self.store.family(index.family()), options)
    }

    pub fn events(&self, fill_cache: bool) -> DBRawIterator<'_> {
        let mut options = self.options();
        options.fill_cache(fill_cache);
        self.store.db.raw_iterator_cf_opt(self.store.family(EVENTS), options)
    }

    /// Seconds, for those of `ids` that are stored.
    pub fn created_at(&self, ids: &[EventId]) -> Result<Vec<Option<u64>>, StoreError> {
        let keys: Vec<&[u8]> = ids.iter().map(|id| &id.0[..]).collect();
        let family = self.store.family(IDS);
        let values = self.store.db.batched_multi_get_cf_opt(family, keys, ids.is_sorted(), &self.options());
        let read = |value: Option<_>| value.map(|bytes: rocksdb::DBPinnableSlice<'_>| super::number(&bytes, "id"));
        values.into_iter().map(|value| read(value?).transpose()).collect()
    }

    /// The records at `positions`; what is not cached is read in one go, which lets RocksDB share the
    /// search between neighbours.
    pub fn records(&self, positions: &[Position]) -> Result<Vec<Option<Record>>, StoreError> {
        let store = self.store;
        let mut records: Vec<Option<Record>> = positions.iter().map(|position| store.bodies.get(position)).collect();
        let missing: Vec<usize> = (0..records.len()).filter(|at| records[*at].is_none()).collect();
        if missing.is_empty() {
            return Ok(records);
        }
        let keys: Vec<[u8; Position::BYTES]> = missing.iter().map(|at| positions[*at].to_bytes()).collect();
        let family = store.family(EVENTS);
        let values = store.db.batched_multi_get_cf_opt(family, &keys, keys.is_sorted(), &self.options());
        for (at, value) in missing.into_iter().zip(values) {
            records[at] = value?.map(|value| store.keep(positions[at], &value)).transpose()?;
        }
        Ok(records)
    }

    /// Hands the head of each event at `positions` to `found`, in that order, from where it lies: the body cache is
    /// asked, and left as it is.
    pub fn each_head(
        &self,
        positions: &[Position],
        mut found: impl FnMut(&Head<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let store = self.store;
        let cached: Vec<Option<Record>> = positions.iter().map(|position| store.bodies.peek(position)).collect();
        let missing = positions.iter().zip(&cached).filter(|(_, record)| record.is_none());
        let keys: Vec<[u8; Position::BYTES]> = missing.map(|(position, _)| position.to_bytes()).collect();
        let family = store.family(EVENTS);
        let mut values =
            store.db.batched_multi_get_cf_opt(family, &keys, keys.is_sorted(), &self.options()).into_iter();
        for (position, record) in positions.iter().zip(&cached) {
            let flow = match record {
                Some(record) => found(&record.head()),
                None => match values.next().transpose()?.flatten() {
                    Some(value) => found(&Head::decode(*position, &value)?.0),
                    None => ControlFlow::Continue(()),
                },
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A record from bytes just read in passing; the cache is asked first, to share its copy.
    pub fn decode(&self, position: Position, value: &[u8]) -> Result<Record, StoreError> {
        match self.store.bodies.get(&position) {
            Some(record) => Ok(record),
            None => Record::decode(position, Bytes::copy_from_slice(value)),
        }
    }

    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        if let Some(snapshot) = &self.snapshot {
            options.set_snapshot(snapshot);
        }
        options
    }
}
