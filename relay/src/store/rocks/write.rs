//! Handing a batch to RocksDB without waiting for ever.
//!
//! RocksDB makes a writer wait while its buffers cannot be sorted into files, also when that is because the disk is full: it
//! would wait until somebody makes space, and so would every client, and a stop of the relay. So it is told not to wait,
//! and what it would have waited for is waited for here, where an end can be seen.

use std::io;
use std::time::{Duration, Instant};

use rocksdb::{ErrorKind, WriteBatch, WriteOptions, properties};

use super::super::StoreError;
use super::RocksStore;

/// How long merging may hold up a write before it is refused.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a held up write is tried again.
const PERIOD: Duration = Duration::from_millis(2);

impl RocksStore {
    /// Writes all of a batch or nothing.
    pub(super) fn write(&self, batch: &WriteBatch, durable: bool) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(durable);
        options.set_no_slowdown(true);
        let mut held_up: Option<HeldUp> = None;
        loop {
            // RocksDB takes the batch even if it does not write it.
            match self.db.write_opt(WriteBatch::from_data(batch.data()), &options) {
                Err(error) if error.kind() == ErrorKind::Incomplete => {
                    let held_up = held_up.get_or_insert_with(|| HeldUp::begin(self.background_faults()));
                    self.wait_for_merges(held_up, batch.size_in_bytes(), &mut options)?;
                }
                done => return Ok(done?),
            }
        }
    }

    /// Waits for a while. An error says that there is no sense in it.
    fn wait_for_merges(
        &self,
        held_up: &mut HeldUp,
        bytes: usize,
        options: &mut WriteOptions,
    ) -> Result<(), StoreError> {
        let property = |name| self.db.property_int_value(name).ok().flatten().unwrap_or(0);
        if property(properties::IS_WRITE_STOPPED) > 0 {
            // After a fault the next try tells which; if it does not, merging has stopped, and only space helps.
            let is_hopeless = held_up.has_failed || held_up.since.elapsed() > PATIENCE;
            if is_hopeless {
                return Err(
                    io::Error::new(io::ErrorKind::TimedOut, "files cannot be merged, the reason is in db/LOG").into()
                );
            }
            held_up.has_failed = self.background_faults() > held_up.faults;
            std::thread::sleep(PERIOD);
        } else if held_up.faults == 0 {
            // Only slowed, by a store that has always been well: RocksDB knows best for how long.
            options.set_no_slowdown(false);
        } else {
            // Twice as long as it would wait: a write that was not done counts against the next.
            let rate = property(properties::ACTUAL_DELAYED_WRITE_RATE).max(1 << 20);
            std::thread::sleep(PERIOD + Duration::from_micros(2_000_000 * bytes as u64 / rate));
        }
        Ok(())
    }
}

/// A write that RocksDB would have wait.
struct HeldUp {
    since: Instant,
    /// Flushes and merges that had failed until then.
    faults: u64,
    /// One has failed since.
    has_failed: bool,
}

impl HeldUp {
    fn begin(faults: u64) -> Self {
        Self { since: Instant::now(), faults, has_failed: false }
    }
}
