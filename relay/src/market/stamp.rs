//! `created_at` of job states. Of two versions of a replaceable event NIP-01 keeps the one with the later second, and
//! a job may change more than once in a second: each state is at least a second after the one before.

use std::collections::{BTreeMap, HashMap};

use mercato_scheduler::{JobId, JobView};

use super::{announce, catalogue};
use crate::nostr::{Event, EventId, Filter, Pubkey, kind};
use crate::store::{Store, StoreError};

/// The time of the newest state of every open job that changed since the start; of others the store knows it.
#[derive(Debug, Default)]
pub struct Stamps(HashMap<JobId, u64>);

impl Stamps {
    /// A job that has no state yet.
    pub fn begin(&mut self, job: JobId) {
        self.0.insert(job, 0);
    }

    /// The time for the next state of a job, in seconds.
    pub fn next(&mut self, view: &JobView, now_s: u64, store: &dyn Store, own: &Pubkey) -> u64 {
        let last = self.0.get(&view.job).copied().unwrap_or_else(|| stored_stamp(store, own, view.job, now_s));
        let next = now_s.max(last.saturating_add(1));
        if announce::is_final(view.status.as_str()) {
            self.0.remove(&view.job);
        } else {
            self.0.insert(view.job, next);
        }
        next
    }
}

fn stored_stamp(store: &dyn Store, own: &Pubkey, job: JobId, now_s: u64) -> u64 {
    match stored_state(store, own, &EventId(job.0), now_s) {
        Ok(state) => state.map_or(0, |state| state.created_at),
        Err(error) => {
            tracing::warn!(%error, ?job, "the state of a job may be dated wrongly");
            0
        }
    }
}

/// The newest state of a job that the relay signed.
pub fn stored_state(store: &dyn Store, own: &Pubkey, job: &EventId, now_s: u64) -> Result<Option<Event>, StoreError> {
    let filter = Filter {
        authors: Some(vec![*own]),
        kinds: Some(vec![kind::JOB_STATE]),
        tags: BTreeMap::from([(b'd', vec![job.to_hex().into_bytes().into_boxed_slice()])]),
        ..Filter::default()
    };
    Ok(catalogue::find(store, filter, 1, now_s)?.pop())
}
