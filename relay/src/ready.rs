//! Whether the relay can do its work.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use crate::relay::Shared;

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

/// Bytes that may still be written to the file system of `path`.
fn free_bytes(path: &Path) -> Option<u64> {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
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
