//! Who may find an open leased request by subscribing to its kind: its customer, the providers it names, and whoever
//! holds or held a lease on it. So no herd of providers starts on a job that one of them got.
//!
//! And who may read a result of a job on which several providers are to agree, while it is open: its author and the
//! customer, however they ask. So none of them copies another.

use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::nostr::{EventId, EventView, Pubkey, kind};

/// The audience of every open leased job. The writer changes it before what it tells of is committed: a reader may
/// know too early that a job is open to all, which harms nobody, but never too late that it is restricted.
#[derive(Debug, Default)]
pub struct Audiences {
    requests: Table,
    results: Table,
}

/// Events that are not for everybody now, and for whom they are.
type Audience = HashMap<EventId, HashSet<Pubkey>>;

#[derive(Debug, Default)]
struct Table(RwLock<Audience>);

impl Audiences {
    /// Whether a subscription of somebody with these authenticated keys may be given `event` for its kind.
    pub fn may_see(&self, event: &EventView<'_>, viewers: &[Pubkey]) -> bool {
        if !kind::is_job_request(event.kind) {
            return true;
        }
        self.requests.is_for(event.id, viewers)
    }

    /// Whether somebody with these authenticated keys may read a result now.
    pub fn may_read(&self, result: &EventId, viewers: &[Pubkey]) -> bool {
        self.results.is_for(result, viewers)
    }

    /// Who may read this result at present; `None`: everybody.
    pub fn readers_of(&self, result: &EventId) -> Option<Vec<Pubkey>> {
        self.results.of(result)
    }

    /// Results that somebody with these keys may not read at present.
    pub fn withheld_from(&self, viewers: &[Pubkey]) -> Vec<EventId> {
        self.results.hidden_from(viewers)
    }

    /// Who may see this request at present; `None`: everybody.
    pub fn of(&self, id: &EventId) -> Option<Vec<Pubkey>> {
        self.requests.of(id)
    }

    /// Requests that somebody with these keys may not see at present.
    pub fn hidden_from(&self, viewers: &[Pubkey]) -> Vec<EventId> {
        self.requests.hidden_from(viewers)
    }

    /// Restricts a request to these keys.
    pub(super) fn restrict(&self, job: EventId, audience: HashSet<Pubkey>) {
        self.requests.write().insert(job, audience);
    }

    /// Lets one more key see a request that is restricted. False when it could before.
    pub(super) fn admit(&self, job: &EventId, viewer: Pubkey) -> bool {
        self.requests.write().get_mut(job).is_some_and(|audience| audience.insert(viewer))
    }

    /// Lets everybody see a request. Who could before, if not everybody.
    pub(super) fn open(&self, job: &EventId) -> Option<HashSet<Pubkey>> {
        self.requests.write().remove(job)
    }

    /// Keeps a result from all but these keys.
    pub(super) fn withhold(&self, result: EventId, readers: HashSet<Pubkey>) {
        self.results.write().insert(result, readers);
    }

    /// Lets everybody read a result. Who could before, if not everybody.
    pub(super) fn release(&self, result: &EventId) -> Option<HashSet<Pubkey>> {
        self.results.write().remove(result)
    }

    /// Takes these audiences of requests, and of results, instead of all before.
    pub(super) fn replace(&self, requests: Audience, results: Audience) {
        *self.requests.write() = requests;
        *self.results.write() = results;
    }
}

impl Table {
    fn is_for(&self, id: &EventId, viewers: &[Pubkey]) -> bool {
        let is_among = |audience: &HashSet<Pubkey>| viewers.iter().any(|viewer| audience.contains(viewer));
        self.read().get(id).is_none_or(is_among)
    }

    fn of(&self, id: &EventId) -> Option<Vec<Pubkey>> {
        self.read().get(id).map(|audience| audience.iter().copied().collect())
    }

    fn hidden_from(&self, viewers: &[Pubkey]) -> Vec<EventId> {
        let seen = |audience: &HashSet<Pubkey>| viewers.iter().any(|viewer| audience.contains(viewer));
        self.read().iter().filter(|(_, audience)| !seen(audience)).map(|(id, _)| *id).collect()
    }

    // A thread that panicked cannot have left the map half changed: each change is one call on it.
    fn read(&self) -> RwLockReadGuard<'_, Audience> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Audience> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
