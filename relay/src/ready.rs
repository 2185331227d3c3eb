//! Whether the relay can do its work.

use std::time::Duration;

use crate::relay::Shared;
use crate::store::free_bytes;

/// A commit that takes longer than this is stuck.
const LONG_COMMIT: Duration = Duration::from_secs(10);

impl Shared {
    /// `Err` says why events are not taken just now.
    pub fn ready(&self) -> Result<(), String> {
        if self.is_draining() {
            return Err("the relay is about to stop".to_owned());
        }
        if self.writer.is_ended() {
            return Err("the writer has ended".to_owned());
        }
        if self.writer.meters().is_store_failing() {
            return Err("the store takes no writes, its reason is in the log".to_owned());
        }
        let busy = self.writer.meters().busy_for();
        if busy > LONG_COMMIT {
            return Err(format!("the writer has been at one commit for {} s", busy.as_secs()));
        }
        let (waiting, max) = self.writer.queue();
        if waiting == max {
            return Err("the writer's queue is full".to_owned());
        }
        let least = self.now.load().relay.ready_free_mib;
        match free_bytes(&self.config.store.path) {
            Some(free) if free >> 20 < least => Err(format!("the disk is full, {} MiB are free", free >> 20)),
            // Nothing is known of a store that is in memory.
            Some(_) | None => Ok(()),
        }
    }
}
