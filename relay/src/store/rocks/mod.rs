//! The store on disk: RocksDB, one family an index, one writer.

mod cache;
mod check;
mod merge;
mod options;
mod plan;
mod probe;
mod scan;
mod transaction;
mod upkeep;
mod view;
mod write;

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use rocksdb::{Cache, ColumnFamily, DB, DBPinnableSlice, Direction, FlushOptions, IteratorMode, Options, ReadOptions};

use self::cache::BodyCache;
pub use self::check::{Checking, Fault};
pub use self::options::RocksOptions;
use self::transaction::RocksTransaction;
use super::keys::{
    self, Address, DELETED, DeletedKey, EVENTS, FORMAT, IDS, Index, JOURNAL, META, META_COUNTERS, META_FORMAT,
};
use super::{Head, Position, Pressure, Progress, Record, Scan, Store, StoreError, StoreStats, Transaction};
use crate::nostr::{EventId, Pubkey};

/// Writes not yet sorted into files beyond which closing sorts them, so that the next start reads no log.
const FLUSH_ON_CLOSE_BYTES: u64 = 4 << 20;

/// Events on disk.
pub struct RocksStore {
    db: DB,
    bodies: BodyCache,
    /// Held by the open transaction.
    writer: Mutex<Writer>,
    /// The sequence of the newest stored event that readers can see.
    last_sequence: AtomicU64,
    events: AtomicU64,
    /// Seconds; nothing that is stored ends before. Spares the sweep the marks of what it has removed already.
    first_end: Mutex<u64>,
    access: Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// The only process that writes.
    Write { durable: bool },
    /// Beside a process that writes.
    Read,
}

/// What the next transaction starts from. It only ever counts up, so a transaction that was dropped, or
/// whose thread died, leaves it in order.
#[derive(Debug)]
struct Writer {
    next_sequence: u64,
    next_entry: u64,
    /// Size of the last transaction: what the next is likely to need.
    batch_bytes: usize,
}

/// What `meta` keeps under `META_COUNTERS`.
#[derive(Debug, Default, Clone, Copy)]
struct Counters {
    last_sequence: u64,
    events: u64,
}

impl RocksStore {
    /// Opens the store in the folder `path`, and makes it when there is none.
    ///
    /// One process at a time may do so. `StoreError::Format` when a newer program has written there.
    pub fn open(path: &Path, options: RocksOptions) -> Result<Self, StoreError> {
        let cache = block_cache(&options);
        let mut database = options::database(&options, &cache);
        if path.join("CURRENT").exists() {
            check_families(path)?;
        }
        database.create_if_missing(true);
        // Also mends a store whose making was cut short.
        database.create_missing_column_families(true);
        let db = DB::open_cf_descriptors(&database, path, options::descriptors(&options, &cache))?;
        if read_format(&db)?.is_none() {
            if db.iterator_cf(family(&db, EVENTS), IteratorMode::Start).next().is_some() {
                return Err(StoreError::Damaged("format"));
            }
            db.put_cf(family(&db, META), META_FORMAT, FORMAT.to_be_bytes())?;
        }
        Self::new(db, &options, Access::Write { durable: options.durable })
    }

    /// Opens the store in `path` to read what it holds now, while another process writes to it.
    ///
    /// `scratch` is a folder of one's own for RocksDB's notes. `begin` is an error.
    pub fn open_secondary(path: &Path, scratch: &Path, options: RocksOptions) -> Result<Self, StoreError> {
        if !path.join("CURRENT").exists() {
            let missing = format!("no store in {}", path.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, missing).into());
        }
        check_families(path)?;
        let cache = block_cache(&options);
        let mut database = options::database(&options, &cache);
        // The writer may delete a file at any time: only what is open stays readable.
        database.set_max_open_files(-1);
        let families = options::descriptors(&options, &cache);
        let db = DB::open_cf_descriptors_as_secondary(&database, path, scratch, families)?;
        db.try_catch_up_with_primary()?;
        Self::new(db, &options, Access::Read)
    }

    /// Takes in what the writing process has committed since; for a store opened by `open_secondary`.
    pub fn catch_up(&self) -> Result<(), StoreError> {
        self.db.try_catch_up_with_primary()?;
        let counters = read_counters(&self.db)?;
        self.last_sequence.store(counters.last_sequence, Ordering::Release);
        self.events.store(counters.events, Ordering::Release);
        *self.first_end.lock().unwrap_or_else(PoisonError::into_inner) = 0;
        Ok(())
    }

    /// Waits until the disk has everything that was committed, durable or not.
    pub fn sync(&self) -> Result<(), StoreError> {
        Ok(self.db.flush_wal(true)?)
    }

    /// The folder it lies in.
    pub fn path(&self) -> &Path {
        self.db.path()
    }

    fn new(db: DB, options: &RocksOptions, access: Access) -> Result<Self, StoreError> {
        match read_format(&db)? {
            Some(FORMAT) => {}
            Some(found) => return Err(StoreError::Format { found, known: FORMAT }),
            None => return Err(StoreError::Damaged("format")),
        }
        let counters = read_counters(&db)?;
        let writer = Writer { next_sequence: counters.last_sequence + 1, next_entry: next_entry(&db)?, batch_bytes: 0 };
        Ok(Self {
            db,
            bodies: BodyCache::new(options.body_cache_bytes),
            writer: Mutex::new(writer),
            last_sequence: AtomicU64::new(counters.last_sequence),
            events: AtomicU64::new(counters.events),
            first_end: Mutex::new(0),
            access,
        })
    }

    fn family(&self, name: &'static str) -> &ColumnFamily {
        family(&self.db, name)
    }

    fn created_at(&self, id: &EventId) -> Result<Option<u64>, StoreError> {
        let value = self.db.get_pinned_cf(self.family(IDS), id.0)?;
        value.map(|bytes| number(&bytes, "id")).transpose()
    }

    /// The record at a position that an index has just named; `None` when it has gone since.
    fn record(&self, position: Position) -> Result<Option<Record>, StoreError> {
        if let Some(record) = self.bodies.get(&position) {
            return Ok(Some(record));
        }
        let value = self.db.get_pinned_cf(self.family(EVENTS), position.to_bytes())?;
        value.map(|value| self.keep(position, &value)).transpose()
    }

    fn keep(&self, position: Position, value: &DBPinnableSlice<'_>) -> Result<Record, StoreError> {
        let record = Record::decode(position, Bytes::copy_from_slice(value))?;
        self.bodies.put(record.clone());
        Ok(record)
    }

    fn version(&self, address: &Address) -> Result<Option<Position>, StoreError> {
        let value = self.db.get_pinned_cf(self.family(keys::ADDRESS), address.as_bytes())?;
        value.map(|bytes| read_position(&bytes)).transpose()
    }

    /// Up to when, in seconds, `key` is deleted.
    fn deleted(&self, key: &DeletedKey) -> Result<Option<u64>, StoreError> {
        let value = self.db.get_pinned_cf(self.family(DELETED), key.as_bytes())?;
        value.map(|bytes| number(&bytes, "deletion")).transpose()
    }

    /// Where up to `max` of the events stand that are here although they had expired at `now`, in seconds.
    fn expired_positions(&self, now: u64, max: usize) -> Result<Vec<Position>, StoreError> {
        let mut positions = Vec::new();
        // Across prefixes, each of which is one second.
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        // Held while looking: what is committed meanwhile lowers it afterwards.
        let mut first_end = self.first_end.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = self.db.raw_iterator_cf_opt(self.family(Index::Expiry.family()), options);
        entries.seek(first_end.to_be_bytes());
        let mut first = None;
        while let Some((end, position)) = entries.key().and_then(<[u8]>::split_first_chunk::<8>) {
            let end = u64::from_be_bytes(*end);
            first.get_or_insert(end);
            if positions.len() == max || end > now {
                break;
            }
            positions.push(read_position(position)?);
            entries.next();
        }
        entries.status()?;
        *first_end = first.unwrap_or(u64::MAX);
        Ok(positions)
    }

    /// Sorts what is still in the log into files, so that the next start has no log to read.
    pub fn flush(&self) -> Result<(), StoreError> {
        let families: Vec<&ColumnFamily> = options::families().into_iter().map(|name| self.family(name)).collect();
        Ok(self.db.flush_cfs_opt(&families, &FlushOptions::default())?)
    }

    fn unsorted_bytes(&self) -> u64 {
        self.sum_of(rocksdb::properties::CUR_SIZE_ALL_MEM_TABLES)
    }

    /// A property of every family, added up.
    fn sum_of(&self, property: &rocksdb::properties::PropName) -> u64 {
        let of = |name| self.db.property_int_value_cf(self.family(name), property);
        options::families().into_iter().filter_map(|name| of(name).ok().flatten()).sum()
    }
}

impl Store for RocksStore {
    fn get(&self, id: &EventId) -> Result<Option<Record>, StoreError> {
        match self.created_at(id)? {
            None => Ok(None),
            Some(created_at) => self.record(Position::new(created_at, *id)),
        }
    }

    fn is_deleted(&self, id: &EventId, author: &Pubkey) -> Result<bool, StoreError> {
        Ok(self.deleted(&DeletedKey::event(id, author))?.is_some())
    }

    fn scan(
        &self,
        scan: &mut Scan,
        budget: u32,
        found: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<Progress, StoreError> {
        scan::run(self, scan, budget, &mut scan::Found::Records(found))
    }

    fn scan_heads(
        &self,
        scan: &mut Scan,
        budget: u32,
        found: &mut dyn FnMut(&Head<'_>) -> ControlFlow<()>,
    ) -> Result<Progress, StoreError> {
        scan::run(self, scan, budget, &mut scan::Found::Heads(found))
    }

    fn scan_positions(
        &self,
        scan: &mut Scan,
        budget: u32,
        found: &mut dyn FnMut(Position) -> ControlFlow<()>,
    ) -> Result<Option<Progress>, StoreError> {
        scan::positions(self, scan, budget, found)
    }

    fn vanishing(&self) -> Result<Option<(Pubkey, u64)>, StoreError> {
        let from = [DeletedKey::VANISHING];
        let mut entries = self.db.iterator_cf(self.family(DELETED), IteratorMode::From(&from, Direction::Forward));
        let Some((key, value)) = entries.next().transpose()? else { return Ok(None) };
        let Some(author) = key.strip_prefix(&from) else { return Ok(None) };
        let author = author.try_into().map_err(|_| StoreError::Damaged("request to vanish"))?;
        Ok(Some((Pubkey(author), number(&value, "request to vanish")?)))
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let Access::Write { durable } = self.access else {
            return Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "opened to read only").into());
        };
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Box::new(RocksTransaction::new(self, writer, durable)))
    }

    fn journal(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let entries = self.db.iterator_cf(self.family(JOURNAL), IteratorMode::Start);
        entries.map(|entry| Ok(entry?.1.into_vec())).collect()
    }

    fn expired(&self, now: u64, max: usize) -> Result<Vec<EventId>, StoreError> {
        Ok(self.expired_positions(now, max)?.into_iter().map(|position| position.id).collect())
    }

    fn last_sequence(&self) -> u64 {
        self.last_sequence.load(Ordering::Acquire)
    }

    fn compact(&self) -> Result<(), StoreError> {
        self.rewrite()
    }

    fn checkpoint(&self, folder: &Path) -> Result<(), StoreError> {
        self.copy_to(folder)
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        Ok(StoreStats {
            events: self.events.load(Ordering::Acquire),
            bytes_on_disk: bytes_in(self.path())?,
            format: FORMAT,
            last_sequence: self.last_sequence(),
        })
    }

    fn pressure(&self) -> Pressure {
        use rocksdb::properties::{
            ACTUAL_DELAYED_WRITE_RATE, BACKGROUND_ERRORS, ESTIMATE_PENDING_COMPACTION_BYTES, IS_WRITE_STOPPED,
            NUM_RUNNING_COMPACTIONS,
        };
        // These three are of the whole database, whichever family is asked.
        let whole = |property| self.db.property_int_value(property).ok().flatten().unwrap_or(0);
        Pressure {
            memtable_bytes: self.unsorted_bytes(),
            pending_compaction_bytes: self.sum_of(ESTIMATE_PENDING_COMPACTION_BYTES),
            compactions: whole(NUM_RUNNING_COMPACTIONS),
            write_stopped: whole(IS_WRITE_STOPPED) > 0,
            delayed_write_rate: whole(ACTUAL_DELAYED_WRITE_RATE),
            background_errors: self.sum_of(BACKGROUND_ERRORS),
        }
    }
}

impl Drop for RocksStore {
    fn drop(&mut self) {
        // Everything is safe in the log already: a fault here only makes the next start slower.
        if self.access != Access::Read
            && self.unsorted_bytes() > FLUSH_ON_CLOSE_BYTES
            && let Err(error) = self.flush()
        {
            tracing::warn!(%error, "the store was closed without sorting its log");
        }
    }
}

impl fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksStore").field("path", &self.path()).field("access", &self.access).finish()
    }
}

/// Refuses a folder whose families are not those of this format, without changing anything in it.
fn check_families(path: &Path) -> Result<(), StoreError> {
    let found = DB::list_cf(&Options::default(), path)?;
    let known = options::families();
    if found.iter().all(|name| name == rocksdb::DEFAULT_COLUMN_FAMILY_NAME || known.contains(&name.as_str())) {
        return Ok(());
    }
    let db = DB::open_cf_for_read_only(&Options::default(), path, [META], false)
        .map_err(|_| StoreError::Damaged("set of families"))?;
    match read_format(&db)? {
        Some(found) if found != FORMAT => Err(StoreError::Format { found, known: FORMAT }),
        _ => Err(StoreError::Damaged("set of families")),
    }
}

fn read_format(db: &DB) -> Result<Option<u32>, StoreError> {
    let value = db.get_pinned_cf(family(db, META), META_FORMAT)?;
    let read = |bytes: DBPinnableSlice<'_>| bytes[..].try_into().map(u32::from_be_bytes);
    value.map(read).transpose().map_err(|_| StoreError::Damaged("format"))
}

fn read_counters(db: &DB) -> Result<Counters, StoreError> {
    let Some(value) = db.get_pinned_cf(family(db, META), META_COUNTERS)? else { return Ok(Counters::default()) };
    let (last_sequence, events) = value.split_at_checked(8).ok_or(StoreError::Damaged("counters"))?;
    Ok(Counters { last_sequence: number(last_sequence, "counters")?, events: number(events, "counters")? })
}

fn next_entry(db: &DB) -> Result<u64, StoreError> {
    match db.iterator_cf(family(db, JOURNAL), IteratorMode::End).next().transpose()? {
        None => Ok(0),
        Some((key, _)) => Ok(number(&key, "journal")? + 1),
    }
}

fn family<'a>(db: &'a DB, name: &str) -> &'a ColumnFamily {
    db.cf_handle(name).expect("every family is opened with the store")
}

fn block_cache(options: &RocksOptions) -> Cache {
    // 0: the cache learns the usual size of its entries.
    Cache::new_hyper_clock_cache(options.block_cache_bytes, 0)
}

fn number(bytes: &[u8], what: &'static str) -> Result<u64, StoreError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| StoreError::Damaged(what))
}

fn read_position(bytes: &[u8]) -> Result<Position, StoreError> {
    bytes.try_into().map(Position::from_bytes).map_err(|_| StoreError::Damaged("position"))
}

/// Files come and go while they are counted; one that has gone counts nothing.
fn bytes_in(folder: &Path) -> Result<u64, StoreError> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        bytes += entry?.metadata().map_or(0, |file| file.len());
    }
    Ok(bytes)
}
