//! Which queued jobs are worth another look.
//!
//! A hint, not state: after a restart every queue is looked through once. A job that just arrived or lost its lease is looked at
//! alone. When a provider becomes available, the queues of its kinds are walked from the front, a bounded piece at a
//! step; kinds take turns, and a walk that is asked for again goes to its end first, so the tail is always reached.
//!
//! Nobody who was available before could take the jobs that a walk passes, or they would not be queued. So they are held against the
//! providers only that became available, and the walk ends when these are taken.

use crate::id::{JobId, ProviderId};
use crate::job::Place;
use crate::matching::is_feasible;
use crate::state::State;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Bound::{Excluded, Unbounded};

/// Providers that one walk remembers; with more of them it looks for everybody.
const FRESH_MAX: usize = 8;

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
    /// They became available meanwhile: once more from the front.
    again: Option<Fresh>,
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
    fn add(&mut self, provider: ProviderId) {
        match self {
            Fresh::These(these) if these.contains(&provider) => {}
            Fresh::These(these) if these.len() < FRESH_MAX => these.push(provider),
            Fresh::These(_) => *self = Fresh::Everybody,
            Fresh::Everybody => {}
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

impl Wakes {
    pub fn everything(state: &State) -> Self {
        let mut wakes = Self::default();
        for kind in state.index.queues.keys() {
            wakes.walks.insert(*kind, Walk { from: FRONT, fresh: Fresh::Everybody, again: None });
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
        let walk = self.walks.entry(kind);
        let walk = walk.or_insert_with(|| Walk { from: FRONT, fresh: Fresh::These(Vec::new()), again: None });
        walk.fresh.add(provider);
        if walk.from > FRONT {
            walk.again.get_or_insert_with(|| Fresh::These(Vec::new())).add(provider);
        }
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
        match walk.again.take() {
            Some(fresh) => *walk = Walk { from: FRONT, fresh, again: None },
            None => {
                self.walks.remove(&kind);
            }
        }
        None
    }
}
