//! A provider: its offer, its presence, its leases and its past.

use crate::advert::{Advert, Offer};
use crate::id::{CustomerId, JobId, ProviderId};
use crate::quantile::Paces;
use crate::reputation::Reputation;
use crate::validation::Verdict;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Others that a party must have dealt with, for its word to be its own and not one of the newcomers'.
pub const ESTABLISHED: usize = 3;
/// Who has fewer outcomes is a newcomer.
pub(crate) const NEWCOMER_OUTCOMES: u32 = 5;
/// Leases that a walk-in may waste before it has delivered anything.
const BYSTANDER_FAILURES: u32 = 3;

/// Whether a provider is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Presence {
    /// It has an authenticated connection.
    Online,
    /// It has none, but signed something lately. Its leases know deadlines only, no grace.
    Seen {
        /// Alive until then.
        until_ms: u64,
    },
    /// It is away and gets no leases.
    Offline {
        /// Since when.
        since_ms: u64,
        /// Until then its leases wait for it, and what it signs does not count as life: a message
        /// from before the disconnect may arrive after it.
        grace_until_ms: u64,
    },
}

/// A provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// Its public key.
    pub id: ProviderId,
    /// What it offers; `None` before its first advert and after it took that back.
    pub advert: Option<Advert>,
    /// Whether it never advertised: what it offers are the kinds that it listens for, after everybody who did.
    pub walk_in: bool,
    /// Jobs that it does at a time.
    pub slots: u32,
    /// Whether it is there.
    pub presence: Presence,
    /// Jobs that it holds a live lease on, in the order of their ids.
    pub leases: Vec<JobId>,
    /// Results accepted in time.
    pub succeeded: u32,
    /// Leases that ended by its fault, and results that a quorum did not agree with.
    pub failed: u32,
    /// Compared results that passed since the last that did not.
    pub streak: u32,
    /// Results accepted after its lease was over.
    pub late: u32,
    /// Of `failed`: results that a quorum did not agree with.
    pub outliers: u32,
    /// What it was paid for results that were accepted, in millisatoshi.
    pub settled_msat: u64,
    /// What its outcomes say about it.
    pub reputation: Reputation,
    /// The first customers whose jobs it did; at most [`ESTABLISHED`].
    pub served: BTreeSet<CustomerId>,
    /// How long its accepted results took, by kind.
    pub paces: Paces,
}

impl Provider {
    pub(crate) fn new(id: ProviderId, now_ms: u64) -> Self {
        Self {
            id,
            advert: None,
            walk_in: false,
            slots: 0,
            presence: Presence::Offline { since_ms: now_ms, grace_until_ms: now_ms },
            leases: Vec::new(),
            succeeded: 0,
            failed: 0,
            streak: 0,
            late: 0,
            outliers: 0,
            settled_msat: 0,
            reputation: Reputation::default(),
            served: BTreeSet::new(),
            paces: Paces::new(),
        }
    }

    /// Whether it may get leases as far as presence goes.
    pub fn is_alive(&self) -> bool {
        match self.presence {
            Presence::Online | Presence::Seen { .. } => true,
            Presence::Offline { .. } => false,
        }
    }

    /// Whether it has an authenticated connection.
    pub fn is_online(&self) -> bool {
        self.presence == Presence::Online
    }

    /// Slots without a lease. Zero too when a new advert has fewer slots than there are leases.
    pub fn free_slots(&self) -> u32 {
        let used = u32::try_from(self.leases.len()).unwrap_or(u32::MAX);
        self.slots.saturating_sub(used)
    }

    /// Whether it could take a job now, were one to fit.
    pub fn is_available(&self) -> bool {
        self.is_alive() && self.free_slots() > 0 && self.advert.is_some() && !self.is_bystander()
    }

    /// Whether it listens for jobs and has let every one of a few lapse: a client that watches, not one that works.
    pub fn is_bystander(&self) -> bool {
        self.walk_in && self.succeeded == 0 && self.failed >= BYSTANDER_FAILURES
    }

    /// Whether it could take a job, were a slot free.
    pub(crate) fn is_present(&self) -> bool {
        self.is_alive() && self.slots > 0 && self.advert.is_some()
    }

    /// Whether too little is known about it to rate it.
    pub fn is_newcomer(&self) -> bool {
        let outcomes = self.succeeded.saturating_add(self.failed).saturating_add(self.late);
        outcomes < NEWCOMER_OUTCOMES
    }

    /// Its offer for a job kind.
    pub fn offer(&self, kind: u16) -> Option<&Offer> {
        self.advert.as_ref()?.offer(kind)
    }

    /// It holds a lease on a job.
    pub(crate) fn take_lease(&mut self, job: JobId) {
        if let Err(place) = self.leases.binary_search(&job) {
            self.leases.insert(place, job);
        }
    }

    /// It holds none on that job any more.
    pub(crate) fn drop_lease(&mut self, job: JobId) {
        if let Ok(place) = self.leases.binary_search(&job) {
            self.leases.remove(place);
        }
    }

    /// Takes away what it offers.
    pub(crate) fn offer_nothing(&mut self) {
        (self.advert, self.walk_in, self.slots) = (None, false, 0);
    }

    /// Counts a result that was judged.
    pub(crate) fn judged(&mut self, verdict: Verdict, late: bool) {
        let count = match (verdict, late) {
            (Verdict::Pass, false) => &mut self.succeeded,
            (Verdict::Pass, true) => &mut self.late,
            (Verdict::Outlier | Verdict::Fail | Verdict::Copy, false | true) => &mut self.failed,
        };
        *count = count.saturating_add(1);
        if verdict.rejects() {
            self.outliers = self.outliers.saturating_add(1);
        }
    }

    /// Whether it has a standing: it did jobs of several customers. Before that its word about a customer is a newcomer's.
    pub fn is_established(&self) -> bool {
        self.served.len() >= ESTABLISHED
    }

    /// Whether forgetting it loses nothing.
    pub(crate) fn is_blank(&self) -> bool {
        let counts = [self.succeeded, self.failed, self.late];
        self.is_idle_offline() && self.advert.is_none() && counts == [0; 3]
    }

    pub(crate) fn is_idle_offline(&self) -> bool {
        !self.is_alive() && self.leases.is_empty()
    }
}
