//! Who may find an open leased request by subscribing to its kind: its customer, the providers it names, and whoever
//! holds or held a lease on it. So no herd of providers starts on a job that one of them got.

use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::nostr::{EventId, EventView, Pubkey, kind};

/// The audience of every open leased job. The writer changes it before what it tells of is committed: a reader may
/// know too early that a job is open to all, which harms nobody, but never too late that it is restricted.
#[derive(Debug, Default)]
pub struct Audiences(RwLock<HashMap<EventId, HashSet<Pubkey>>>);

impl Audiences {
    /// Whether a subscription of somebody with these authenticated keys may be given `event` for its kind.
    pub fn may_see(&self, event: &EventView<'_>, viewers: &[Pubkey]) -> bool {
        if !kind::is_job_request(event.kind) {
            return true;
        }
        match self.read().get(event.id) {
            None => true,
            Some(audience) => viewers.iter().any(|viewer| audience.contains(viewer)),
        }
    }

    /// Who may see this request at present; `None`: everybody.
    pub fn of(&self, id: &EventId) -> Option<Vec<Pubkey>> {
        self.read().get(id).map(|audience| audience.iter().copied().collect())
    }

    /// Requests that somebody with these keys may not see at present.
    pub fn hidden_from(&self, viewers: &[Pubkey]) -> Vec<EventId> {
        let seen = |audience: &HashSet<Pubkey>| viewers.iter().any(|viewer| audience.contains(viewer));
        self.read().iter().filter(|(_, audience)| !seen(audience)).map(|(job, _)| *job).collect()
    }

    /// Restricts a request to these keys.
    pub(super) fn restrict(&self, job: EventId, audience: HashSet<Pubkey>) {
        self.write().insert(job, audience);
    }

    /// Lets one more key see a request that is restricted. False when it could before.
    pub(super) fn admit(&self, job: &EventId, viewer: Pubkey) -> bool {
        self.write().get_mut(job).is_some_and(|audience| audience.insert(viewer))
    }

    /// Lets everybody see a request.
    pub(super) fn open(&self, job: &EventId) {
        self.write().remove(job);
    }

    /// Takes these audiences instead of all before.
    pub(super) fn replace(&self, audiences: HashMap<EventId, HashSet<Pubkey>>) {
        *self.write() = audiences;
    }

    // A thread that panicked cannot have left the map half changed: each change is one call on it.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<EventId, HashSet<Pubkey>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<EventId, HashSet<Pubkey>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
