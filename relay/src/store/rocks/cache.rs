//! Events kept decoded and ready to send.

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::super::{Position, Record};

/// About what an event takes, to guess how many will fit.
const USUAL_BYTES: u64 = 1000;

/// Records by position, bounded by bytes.
///
/// It may still hold an event that was removed while it was being read, so it is asked only for positions
/// that an index or the ids have just named.
pub struct BodyCache(Cache<Position, Record, ByBytes>);

#[derive(Clone)]
struct ByBytes;

impl Weighter<Position, Record> for ByBytes {
    fn weight(&self, _: &Position, record: &Record) -> u64 {
        (size_of::<Position>() + record.weight()) as u64
    }
}

impl BodyCache {
    pub fn new(bytes: u64) -> Self {
        Self(Cache::with_weighter((bytes / USUAL_BYTES) as usize, bytes, ByBytes))
    }

    pub fn get(&self, position: &Position) -> Option<Record> {
        self.0.get(position)
    }

    /// The same without a say in what stays.
    pub fn peek(&self, position: &Position) -> Option<Record> {
        self.0.peek(position)
    }

    pub fn put(&self, record: Record) {
        self.0.insert(record.position, record);
    }

    pub fn remove(&self, position: &Position) {
        self.0.remove(position);
    }
}
