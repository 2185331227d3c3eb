//! What an operator asks of the files: to be compacted, to be copied.

use std::io;
use std::path::Path;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{BottommostLevelCompaction, CompactOptions, properties};

use super::super::{StoreError, free_bytes};
use super::{RocksStore, options};

impl RocksStore {
    /// Rewrites every file, so that nothing that was removed or replaced takes space any more. Reads and writes go on.
    pub(super) fn rewrite(&self) -> Result<(), StoreError> {
        let faults = self.background_faults();
        self.flush()?;
        let mut how = CompactOptions::default();
        // Ordinary merging goes on meanwhile: a relay must not stop writing because its operator tidies up.
        how.set_exclusive_manual_compaction(false);
        how.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        for name in options::families() {
            self.db.compact_range_cf_opt(self.family(name), None::<&[u8]>, None::<&[u8]>, &how);
        }
        // The call itself tells nothing.
        match self.background_faults() > faults {
            true => {
                let free =
                    free_bytes(self.path()).map_or_else(String::new, |free| format!(", {} MiB are free", free >> 20));
                Err(io::Error::other(format!("the compaction failed{free}; RocksDB's reason is in db/LOG")).into())
            }
            false => Ok(()),
        }
    }

    /// Copies the store as it is at one moment. Files that never change are shared where the file system can.
    pub(super) fn copy_to(&self, folder: &Path) -> Result<(), StoreError> {
        Ok(Checkpoint::new(&self.db)?.create_checkpoint(folder)?)
    }

    pub(super) fn background_faults(&self) -> u64 {
        self.db.property_int_value(properties::BACKGROUND_ERRORS).ok().flatten().unwrap_or(0)
    }
}
