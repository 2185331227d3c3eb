//! Which queued jobs are worth another look.
//!
//! A hint, not state: after a restart every queue is looked through once. A job that just arrived or lost its lease is looked at
//! alone. When a provider becomes available, the queues of its kinds are walked from the front, a bounded piece at a
//! step; kinds take turns, and a walk that is asked for again goes to its end first, so the tail is always reached.

use crate::id::JobId;
use crate::index::Index;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

/// A walk through the queue of one kind.
#[derive(Clone, Copy, Debug)]
struct Walk {
    /// Jobs that arrived before are done.
    from: u64,
    /// Another provider became available meanwhile: once more from the front.
    again: bool,
}

/// Jobs and queues to look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wakes {
    single: BTreeSet<(u64, JobId)>,
    walks: BTreeMap<u16, Walk>,
    /// The kind that had its turn last.
    last_kind: Option<u16>,
}

impl Wakes {
    pub fn everything(index: &Index) -> Self {
        let mut wakes = Self::default();
        index.queues.keys().for_each(|kind| wakes.kind(*kind));
        wakes
    }

    pub fn is_empty(&self) -> bool {
        self.single.is_empty() && self.walks.is_empty()
    }

    /// Look at one job, unless a walk will come to it.
    pub fn job(&mut self, kind: u16, arrival: u64, job: JobId) {
        if self.walks.get(&kind).is_none_or(|walk| walk.from > arrival) {
            self.single.insert((arrival, job));
        }
    }

    /// Look at every queued job of a kind.
    pub fn kind(&mut self, kind: u16) {
        let walk = self.walks.entry(kind).or_insert(Walk { from: 0, again: false });
        walk.again = walk.from > 0;
    }

    /// The next job to look at. Walks end where nobody is available.
    pub fn next(&mut self, index: &Index) -> Option<JobId> {
        if let Some((_, job)) = self.single.pop_first() {
            return Some(job);
        }
        while let Some(kind) = self.next_kind() {
            self.last_kind = Some(kind);
            if let Some(job) = self.next_of(kind, index) {
                return Some(job);
            }
        }
        None
    }

    fn next_kind(&self) -> Option<u16> {
        let after = self.last_kind.map_or(Unbounded, Excluded);
        let next = self.walks.range((after, Unbounded)).next();
        next.or_else(|| self.walks.iter().next()).map(|(kind, _)| *kind)
    }

    /// The next job of a walk, or its end.
    fn next_of(&mut self, kind: u16, index: &Index) -> Option<JobId> {
        let walk = self.walks.get_mut(&kind)?;
        let queue = index.queues.get(&kind).filter(|_| index.available.contains_key(&kind));
        let Some(queue) = queue else {
            self.walks.remove(&kind);
            return None;
        };
        if let Some((arrival, job)) = queue.range(walk.from..).next() {
            walk.from = arrival.saturating_add(1);
            return Some(*job);
        }
        if walk.again {
            *walk = Walk { from: 0, again: false };
        } else {
            self.walks.remove(&kind);
        }
        None
    }
}
