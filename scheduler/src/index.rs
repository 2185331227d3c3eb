//! What makes the next thing to do quick to find: derived from jobs and providers, never stored.

use crate::customer::Customer;
use crate::id::{CustomerId, JobId, ProviderId};
use crate::job::{Job, Place, Stage};
use crate::provider::{Presence, Provider};
use crate::supply::{Seat, Supply};
use crate::table::{Handle, Table};
use crate::wheel::Wheel;
use std::collections::{BTreeMap, BTreeSet};

/// All indexes. Two states with equal tables have equal indexes; `check` holds us to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// The next deadline of each job that has one.
    pub deadlines: Wheel,
    /// Jobs that want a lease by kind, in the order of their turns.
    pub queues: BTreeMap<u16, BTreeMap<Place, JobId>>,
    /// Ended jobs by the time to forget them, then by the time they ended.
    pub ended: BTreeSet<(u64, u64, JobId)>,
    /// Number of open jobs of each customer that has any.
    pub open_by_customer: BTreeMap<CustomerId, usize>,
    /// Number of open jobs.
    pub open: usize,
    /// Who could take a job.
    pub supply: Supply,
    /// Who never advertised and could take a job that nobody else can.
    pub walk_ins: Supply,
    /// When providers without a connection stop counting as alive.
    pub lapses: BTreeSet<(u64, ProviderId)>,
    /// Providers that are away and hold no lease, by the end of their grace: who makes room first.
    pub idle: BTreeSet<(u64, ProviderId)>,
    /// Customers by when they were heard of last: who makes room first.
    pub customers: BTreeSet<(u64, CustomerId)>,
    /// Names of every payment that a remembered job knows of.
    pub marks: BTreeSet<[u8; 32]>,
}

/// A job's places in the indexes.
pub(crate) struct JobKeys {
    row: (Handle, JobId),
    deadline_ms: Option<u64>,
    queue: Option<(u16, Place)>,
    ended_ms: Option<(u64, u64)>,
    open_of: Option<CustomerId>,
}

impl JobKeys {
    pub fn of(job: &Job, handle: Handle) -> Self {
        let ended_ms = match &job.stage {
            Stage::Ended { at_ms, forget_at_ms, .. } => Some((*forget_at_ms, *at_ms)),
            Stage::Active => None,
        };
        Self {
            row: (handle, job.id),
            deadline_ms: job.next_deadline().map(|due| due.at_ms),
            queue: (job.wanted() > 0).then_some((job.request.kind, job.place())),
            ended_ms,
            open_of: job.is_open().then_some(job.customer),
        }
    }
}

/// A provider's places in the indexes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProviderKeys {
    seat: Seat,
    lapse_ms: Option<u64>,
    idle_ms: Option<u64>,
}

impl ProviderKeys {
    pub fn of(provider: &Provider) -> Self {
        let (lapse_ms, idle_ms) = match provider.presence {
            Presence::Online => (None, None),
            Presence::Seen { until_ms } => (Some(until_ms), None),
            Presence::Offline { grace_until_ms, .. } => (None, provider.leases.is_empty().then_some(grace_until_ms)),
        };
        Self { seat: Seat::of(provider), lapse_ms, idle_ms }
    }
}

impl Index {
    pub fn build<'a>(
        jobs: &Table<JobId, Job>,
        providers: impl Iterator<Item = &'a Provider>,
        customers: impl Iterator<Item = &'a Customer>,
    ) -> Self {
        let customers = customers.map(|customer| (customer.heard_ms, customer.id)).collect();
        let mut index = Self { customers, ..Self::default() };
        for (id, job) in jobs.iter() {
            index.add_job(&JobKeys::of(job, jobs.handle(id).expect("it was told by the table")));
            index.marks.extend(marks(job));
        }
        providers.for_each(|provider| index.add_provider(provider));
        index
    }

    pub fn move_job(&mut self, before: &JobKeys, after: &JobKeys) {
        self.deadlines.set(after.row, before.deadline_ms, after.deadline_ms);
        if before.queue != after.queue {
            self.leave_queue(before);
            self.join_queue(after);
        }
        if before.ended_ms != after.ended_ms {
            self.remove_end(before);
            self.add_end(after);
        }
        if before.open_of != after.open_of {
            self.count_less(before);
            self.count_more(after);
        }
    }

    /// A provider changed, but not its advert.
    pub fn move_provider(&mut self, before: ProviderKeys, provider: &Provider) {
        let after = ProviderKeys::of(provider);
        self.supply_of(provider).seat(provider.id, provider.advert.as_ref(), before.seat, after.seat);
        if (before.lapse_ms, before.idle_ms) != (after.lapse_ms, after.idle_ms) {
            self.remove_times(before, provider.id);
            self.add_times(after, provider.id);
        }
    }

    pub fn add_job(&mut self, keys: &JobKeys) {
        self.deadlines.set(keys.row, None, keys.deadline_ms);
        self.join_queue(keys);
        self.add_end(keys);
        self.count_more(keys);
    }

    pub fn remove_job(&mut self, keys: &JobKeys) {
        self.deadlines.set(keys.row, keys.deadline_ms, None);
        self.leave_queue(keys);
        self.remove_end(keys);
        self.count_less(keys);
    }

    fn join_queue(&mut self, keys: &JobKeys) {
        if let Some((kind, place)) = keys.queue {
            self.queues.entry(kind).or_default().insert(place, keys.row.1);
        }
    }

    fn leave_queue(&mut self, keys: &JobKeys) {
        if let Some((kind, place)) = keys.queue {
            remove_from(&mut self.queues, kind, |queue| {
                queue.remove(&place);
                queue.is_empty()
            });
        }
    }

    fn add_end(&mut self, keys: &JobKeys) {
        if let Some((forget_at_ms, at_ms)) = keys.ended_ms {
            self.ended.insert((forget_at_ms, at_ms, keys.row.1));
        }
    }

    fn remove_end(&mut self, keys: &JobKeys) {
        if let Some((forget_at_ms, at_ms)) = keys.ended_ms {
            self.ended.remove(&(forget_at_ms, at_ms, keys.row.1));
        }
    }

    fn count_more(&mut self, keys: &JobKeys) {
        if let Some(customer) = keys.open_of {
            *self.open_by_customer.entry(customer).or_default() += 1;
            self.open += 1;
        }
    }

    fn count_less(&mut self, keys: &JobKeys) {
        if let Some(customer) = keys.open_of {
            remove_from(&mut self.open_by_customer, customer, |open| {
                *open -= 1;
                *open == 0
            });
            self.open -= 1;
        }
    }

    pub fn add_provider(&mut self, provider: &Provider) {
        self.supply_of(provider).add(provider);
        self.add_times(ProviderKeys::of(provider), provider.id);
    }

    pub fn remove_provider(&mut self, provider: &Provider) {
        self.supply_of(provider).remove(provider);
        self.remove_times(ProviderKeys::of(provider), provider.id);
    }

    fn supply_of(&mut self, provider: &Provider) -> &mut Supply {
        if provider.walk_in { &mut self.walk_ins } else { &mut self.supply }
    }

    fn add_times(&mut self, keys: ProviderKeys, id: ProviderId) {
        if let Some(at_ms) = keys.lapse_ms {
            self.lapses.insert((at_ms, id));
        }
        if let Some(at_ms) = keys.idle_ms {
            self.idle.insert((at_ms, id));
        }
    }

    fn remove_times(&mut self, keys: ProviderKeys, id: ProviderId) {
        if let Some(at_ms) = keys.lapse_ms {
            self.lapses.remove(&(at_ms, id));
        }
        if let Some(at_ms) = keys.idle_ms {
            self.idle.remove(&(at_ms, id));
        }
    }
}

/// The names of every payment for a job.
pub(crate) fn marks(job: &Job) -> impl Iterator<Item = [u8; 32]> {
    job.money.receipts.iter().flat_map(|receipt| receipt.marks.all())
}

/// Changes an entry and drops it when `change` says that nothing is left of it.
fn remove_from<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, change: impl FnOnce(&mut V) -> bool) {
    if map.get_mut(&key).is_some_and(change) {
        map.remove(&key);
    }
}
