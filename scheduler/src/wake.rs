//! Which queued jobs are worth another look.
//!
//! A hint, not state: after a restart every queue is looked through once. A job that just arrived or lost its lease is looked at
//! alone. When a provider becomes available, the queues of its kinds are walked from the front, a bounded piece at a
//! step; kinds take turns, and a walk that is asked for again goes to its end first, so the tail is always reached.
//!
//! Nobody who was available before could take the jobs that a walk passes, or they would not be queued. So they are held against the
//! providers only that became available, a few at a time, and the walk ends when these are taken; the others have the next one. So a
//! provider that comes costs a look at each queued job of its kinds, and a job that nobody takes never costs another look at everybody.

use crate::id::{JobId, ProviderId};
use crate::job::Place;
use crate::matching::is_feasible;
use crate::state::State;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Bound::{Excluded, Unbounded};

/// Providers for whom one walk looks.
const FRESH_MAX: usize = 8;
/// Providers that wait for the next walk; with more of them it looks for everybody.
const WAITING_MAX: usize = 8_192;

/// Before all places.
const FRONT: Place = (0, 0);

/// For whom a walk looks.
#[derive(Clone, Debug)]
enum Fresh {
    These(Vec<ProviderId>),
    Everybody,
}

/// A walk through the queue of one kind.
#[derive(Clone, Debug)]
struct Walk {
    /// Jobs before this place are done.
    from: Place,
    fresh: Fresh,
    /// They became available meanwhile: once more from the front. At most [`WAITING_MAX`].
    again: BTreeSet<ProviderId>,
    /// More than that did.
    again_for_everybody: bool,
}

/// Jobs and queues to look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wakes {
    /// The first on top; one may be in it several times.
    single: BinaryHeap<Reverse<(Place, JobId)>>,
    walks: BTreeMap<u16, Walk>,
    /// The kind that had its turn last.
    last_kind: Option<u16>,
}

/// The next thing to look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// A job that may find a provider; `None`: the one passed cannot.
    pub job: Option<JobId>,
    /// Providers that were looked at to say so.
    pub looks: usize,
}

impl Fresh {
    /// Whether the rest of the walk is for this one, too.
    fn takes(&mut self, provider: ProviderId) -> bool {
        match self {
            Fresh::These(these) if these.contains(&provider) => true,
            Fresh::These(these) if these.len() < FRESH_MAX => {
                these.push(provider);
                true
            }
            Fresh::These(_) => false,
            Fresh::Everybody => true,
        }
    }

    /// Whether any of them could still take a job.
    fn can_serve(&self, kind: u16, state: &State) -> bool {
        let available = |id: &ProviderId| state.providers.get(id).is_some_and(|row| row.is_available());
        match self {
            Fresh::These(these) => these.iter().any(available),
            Fresh::Everybody => {
                let index = &state.index;
                index.supply.servers(kind).or_else(|| index.walk_ins.servers(kind)).is_some()
            }
        }
    }

    fn look(&self, job: JobId, state: &State) -> Look {
        let Fresh::These(these) = self else {
            return Look { job: Some(job), looks: 0 };
        };
        let row = state.jobs.get(&job);
        let fits = |id: &&ProviderId| {
            let provider = state.providers.get(*id);
            row.zip(provider).is_some_and(|(row, provider)| is_feasible(row, provider))
        };
        Look { job: these.iter().find(fits).map(|_| job), looks: these.len() }
    }
}

impl Walk {
    fn of(fresh: Fresh) -> Self {
        Self { from: FRONT, fresh, again: BTreeSet::new(), again_for_everybody: false }
    }

    /// This one became available.
    fn add(&mut self, provider: ProviderId) {
        let is_served = self.fresh.takes(provider);
        if is_served && self.from == FRONT {
            return;
        }
        self.again.insert(provider);
        if self.again.len() > WAITING_MAX {
            self.again.clear();
            self.again_for_everybody = true;
        }
    }

    /// The next walk, if there is to be one.
    fn next(mut self) -> Option<Self> {
        if self.again_for_everybody {
            return Some(Self::of(Fresh::Everybody));
        }
        let these: Vec<_> = std::iter::from_fn(|| self.again.pop_first()).take(FRESH_MAX).collect();
        (!these.is_empty()).then(|| Self { again: self.again, ..Self::of(Fresh::These(these)) })
    }
}

impl Wakes {
    pub fn everything(state: &State) -> Self {
        let mut wakes = Self::default();
        for kind in state.index.queues.keys() {
            wakes.walks.insert(*kind, Walk::of(Fresh::Everybody));
        }
        wakes
    }

    pub fn is_empty(&self) -> bool {
        self.single.is_empty() && self.walks.is_empty()
    }

    /// Look at one job.
    pub fn job(&mut self, place: Place, job: JobId) {
        self.single.push(Reverse((place, job)));
    }

    /// Look at every queued job of a kind: this provider became available for it.
    pub fn kind(&mut self, kind: u16, provider: ProviderId) {
        self.walks.entry(kind).or_insert_with(|| Walk::of(Fresh::These(Vec::new()))).add(provider);
    }

    /// The next job to look at. Walks end where nobody is available.
    pub fn next(&mut self, state: &State) -> Option<Look> {
        if let Some(Reverse(next)) = self.single.pop() {
            while self.single.peek() == Some(&Reverse(next)) {
                self.single.pop();
            }
            let (_, job) = next;
            return Some(Look { job: Some(job), looks: 0 });
        }
        while let Some(kind) = self.next_kind() {
            self.last_kind = Some(kind);
            if let Some(look) = self.next_of(kind, state) {
                return Some(look);
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
    fn next_of(&mut self, kind: u16, state: &State) -> Option<Look> {
        let walk = self.walks.get_mut(&kind)?;
        let queue = state.index.queues.get(&kind).filter(|_| walk.fresh.can_serve(kind, state));
        let next = queue.and_then(|queue| queue.range(walk.from..).next());
        if let Some(((start, arrival), job)) = next {
            walk.from = (*start, arrival.saturating_add(1));
            return Some(walk.fresh.look(*job, state));
        }
        let over = self.walks.remove(&kind);
        self.walks.extend(over.and_then(Walk::next).map(|next| (kind, next)));
        None
    }
}
