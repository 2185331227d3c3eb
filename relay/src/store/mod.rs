//! Where events live: a seam with an embedded RocksDB behind it, and an in-memory twin that is too
//! simple to be wrong, against which every test compares.
//!
//! Reads may run anywhere at any time. Writes go through one `Transaction` at a time, held by the
//! writer (`crate::writer`); what a transaction did is visible and durable once `commit` returns,
//! all of it or nothing.

pub mod keys;
pub mod memory;
pub mod nostr_database;
pub mod record;
#[cfg(feature = "rocksdb")]
pub mod rocks;

use std::ops::ControlFlow;
use std::sync::Arc;

pub use record::{Head, Record};

use crate::nostr::{Event, EventId, Filter, Pubkey};

/// Where an event stands among all answers: newest first, then lower id (NIP-01).
///
/// The derived order is the order of answers; as a key it is written `!created_at` big-endian, then id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Bitwise complement of `created_at`, so that newer sorts first.
    descending: u64,
    pub id: EventId,
}

impl Position {
    pub const BYTES: usize = 40;

    pub fn new(created_at: u64, id: EventId) -> Self {
        Self { descending: !created_at, id }
    }

    /// Seconds since 1970.
    pub fn created_at(&self) -> u64 {
        !self.descending
    }

    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.descending.to_be_bytes());
        bytes[8..].copy_from_slice(&self.id.0);
        bytes
    }

    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let (descending, id) = bytes.split_at(8);
        Self {
            descending: u64::from_be_bytes(descending.try_into().expect("8 of 40 bytes")),
            id: EventId(id.try_into().expect("32 of 40 bytes")),
        }
    }
}

/// A fault of the store itself: never the client's doing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[cfg(feature = "rocksdb")]
    #[error("store: {0}")]
    Rocks(#[from] ::rocksdb::Error),
    #[error("store: {0} is damaged")]
    Damaged(&'static str),
    #[error("store: {}", other_format(*found, *known))]
    Format { found: u32, known: u32 },
    #[error("store: {0}")]
    Io(#[from] std::io::Error),
}

fn other_format(found: u32, known: u32) -> String {
    match found < known {
        true => format!("it has format {found}, this program needs {known}: run `mercato migrate`"),
        false => format!("it has format {found}, newer than this program, which knows {known}: use a later version"),
    }
}

/// What the store says to one event before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is new; `insert` will keep it.
    Fresh,
    /// It is already here.
    Duplicate,
    /// A newer version of its address is here.
    Replaced,
    /// Its author asked that it be deleted (NIP-09), or to vanish (NIP-62).
    Deleted,
}

/// One filter on its way through the store, resumable between slices.
#[derive(Debug, Clone)]
pub struct Scan {
    pub filter: Filter,
    /// Oldest first instead of newest first (export).
    pub ascending: bool,
    /// The last position looked at; the next slice starts behind it.
    pub after: Option<Position>,
    /// Events stored with a higher sequence are passed over: live delivery has them.
    pub max_sequence: u64,
    /// How many more events the scan may find.
    pub room: u64,
    /// Seconds; events whose NIP-40 expiration is not later are passed over.
    pub now: u64,
    /// What the store has found out and need not find out again in the next slice.
    pub notes: Notes,
}

impl Scan {
    /// Everything that `filter` asks for, newest first, what has expired included.
    pub fn new(filter: Filter) -> Self {
        let room = filter.limit.unwrap_or(u64::MAX);
        Self { filter, ascending: false, after: None, max_sequence: u64::MAX, room, now: 0, notes: Notes::default() }
    }

    /// Whether what the filter cannot tell is as asked.
    fn wants(&self, head: &Head<'_>) -> bool {
        head.sequence <= self.max_sequence && !head.is_expired(self.now) && self.filter.matches(&head.view())
    }
}

/// A store's own notes on a scan: 40 bytes for each id of its filter, or for each of a bounded number of expired events.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// Where those of the filter's ids stand that were stored when they were first looked up.
    #[cfg_attr(not(feature = "rocksdb"), expect(dead_code))]
    points: Option<Arc<[Position]>>,
    /// What is here although it had expired when the scan began, in order.
    #[cfg_attr(not(feature = "rocksdb"), expect(dead_code))]
    expired: Option<Arc<[Position]>>,
}

/// Where a slice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The slice's budget is spent; call again to go on.
    More,
    /// Nothing is left, the room is used up, or the receiver broke off.
    Done,
}

/// Sizes for an operator to read; estimates where counting would cost a scan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    pub events: u64,
    pub bytes_on_disk: u64,
    pub format: u32,
    pub last_sequence: u64,
}

/// Names of copies beside a store that are on their way to somewhere else; what is left of them is removed at a start.
pub const CHECKPOINT: &str = "checkpoint-";

/// A place for a copy beside the store in `folder`.
pub fn unused_checkpoint(folder: &std::path::Path) -> Result<std::path::PathBuf, StoreError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    // Whoever is told of it may have another working folder.
    Ok(std::path::absolute(folder)?.join(format!("{CHECKPOINT}{}", const_hex::encode(random))))
}

/// Bytes that may still be written to the file system of `path`.
pub fn free_bytes(path: &std::path::Path) -> Option<u64> {
    let path = std::ffi::CString::new(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())).ok()?;
    let mut room = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends in a zero; the call fills the structure when it answers 0, and only then it is read.
    let room = unsafe {
        if libc::statvfs(path.as_ptr(), room.as_mut_ptr()) != 0 {
            return None;
        }
        room.assume_init()
    };
    Some(room.f_bavail.saturating_mul(room.f_frsize))
}

/// How far the store is behind with its own housekeeping; all zero for one that does none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Writes not yet sorted into files.
    pub memtable_bytes: u64,
    /// What waits to be merged.
    pub pending_compaction_bytes: u64,
    /// Merges under way.
    pub compactions: u64,
    /// Writes wait for merges.
    pub write_stopped: bool,
    /// Bytes a second to which writes are slowed; 0: they are not.
    pub delayed_write_rate: u64,
    /// Faults of flushes and merges.
    pub background_errors: u64,
}

pub trait Store: Send + Sync + std::fmt::Debug {
    fn get(&self, id: &EventId) -> Result<Option<Record>, StoreError>;

    /// Whether a deletion of this id by `author` is on record (NIP-09).
    fn is_deleted(&self, id: &EventId, author: &Pubkey) -> Result<bool, StoreError>;

    /// Looks at up to `budget` index entries, or one of each range it has to merge when those are more, and
    /// hands every match, in order and once, to `found`.
    fn scan(
        &self,
        scan: &mut Scan,
        budget: u32,
        found: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<Progress, StoreError>;

    /// The same for who needs no body (COUNT, NIP-77): nothing is copied, and nothing pushed out of a cache.
    fn scan_heads(
        &self,
        scan: &mut Scan,
        budget: u32,
        found: &mut dyn FnMut(&Head<'_>) -> ControlFlow<()>,
    ) -> Result<Progress, StoreError> {
        self.scan(scan, budget, &mut |record| found(&record.head()))
    }

    /// The same for who needs no event at all, only where each stands, whatever its sequence. `None` where the indexes alone
    /// cannot tell: then nothing was found, nor is in a later slice of the scan.
    fn scan_positions(
        &self,
        _scan: &mut Scan,
        _budget: u32,
        _found: &mut dyn FnMut(Position) -> ControlFlow<()>,
    ) -> Result<Option<Progress>, StoreError> {
        Ok(None)
    }

    /// One who asked to vanish (NIP-62) and of whom there may be events left; up to when they are to be removed, inclusive.
    fn vanishing(&self) -> Result<Option<(Pubkey, u64)>, StoreError>;

    /// Opens the one write transaction; waits while another is open.
    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError>;

    /// The scheduler's journal, oldest entry first.
    fn journal(&self) -> Result<Vec<Vec<u8>>, StoreError>;

    /// Ids of up to `max` events that had expired at `now` (seconds), for removal.
    fn expired(&self, now: u64, max: usize) -> Result<Vec<EventId>, StoreError>;

    /// The sequence given to the newest stored event; 0 when there is none.
    fn last_sequence(&self) -> u64;

    fn stats(&self) -> Result<StoreStats, StoreError>;

    /// Gives back the space of what was removed. Takes its time; reads and writes go on.
    fn compact(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Copies what is stored at one moment into a folder that is not there yet, while reads and writes go on.
    fn checkpoint(&self, folder: &std::path::Path) -> Result<(), StoreError> {
        let text = format!("there are no files to copy to {}", folder.display());
        Err(std::io::Error::new(std::io::ErrorKind::Unsupported, text).into())
    }

    /// How it keeps up with its own housekeeping.
    fn pressure(&self) -> Pressure {
        Pressure::default()
    }
}

/// A group of writes that becomes visible and durable at once. It sees its own writes.
pub trait Transaction {
    /// Whether `event` would be kept. Never called with an ephemeral event.
    fn admit(&self, event: &Event) -> Result<Admission, StoreError>;

    /// Keeps an event that was `Fresh`: removes what it replaces, carries out what it deletes
    /// (kind 5: `e` and `a` tags of the same author; a gift wrap also for its `p` recipient).
    /// Returns its sequence.
    fn insert(&mut self, event: &Event) -> Result<u64, StoreError>;

    /// Takes a sequence for an event that is delivered but not kept.
    fn next_sequence(&mut self) -> u64;

    /// Admits nothing of `author` any more that is not newer than `until` (seconds), nor gift wraps for him, but requests
    /// to vanish (NIP-62). What is here of it is listed by `Store::vanishing` until `vanished`.
    fn vanish(&mut self, author: &Pubkey, until: u64) -> Result<(), StoreError>;

    /// Nothing is left to remove of one who asked to vanish.
    fn vanished(&mut self, author: &Pubkey) -> Result<(), StoreError>;

    /// Removes an event without leaving a deletion on record. False when it was not here.
    fn remove(&mut self, id: &EventId) -> Result<bool, StoreError>;

    /// Adds an entry to the end of the scheduler's journal.
    fn append_journal(&mut self, entry: &[u8]) -> Result<(), StoreError>;

    /// Drops every journal entry so far, those of this transaction included.
    fn clear_journal(&mut self) -> Result<(), StoreError>;

    /// Has `commit` write even if there is nothing to, which tells whether the disk takes it.
    fn touch(&mut self) {}

    /// Makes everything durable, then visible; says what came of it.
    fn commit(self: Box<Self>) -> Result<Changes, StoreError>;
}

/// Who is told what every commit did, by the writer, before anybody else is. It must not wait.
pub trait Follower: Send + Sync + std::fmt::Debug {
    fn committed(&self, changes: &Changes);
}

/// What one commit did to the set of stored events, for who follows it.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Taken out; one that was put back since is in `stored` too.
    pub removed: Vec<Position>,
    /// New, and still there at the end.
    pub stored: Vec<Record>,
}
