//! Jobs that wait for the results of others: derived from the jobs, never stored.
//!
//! A request is named by the hash of its tags, so no two can name each other; still a cycle is looked for, as the core does not
//! know where ids come from. Work is done edge by edge: the end of a job with ten thousand dependants is spread over many steps.

use crate::id::JobId;
use crate::job::Job;
use crate::table::Table;
use std::collections::{BTreeMap, BTreeSet};

/// Jobs looked at before a request is refused because what it waits for waits for too many others.
pub(crate) const WALK_MAX: usize = 4_096;

/// Who waits for whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Open jobs by the unfinished job that they wait for, whether that is known or not.
    waiting: BTreeMap<JobId, BTreeSet<JobId>>,
    /// Of those, the ones that have ended: their dependants are to be told.
    due: BTreeSet<JobId>,
}

/// Why a request cannot join the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Knot {
    /// It would wait for itself.
    Cycle,
    /// There are too many to look at.
    TooLong,
}

impl Chain {
    pub fn build(jobs: &Table<JobId, Job>) -> Self {
        let mut chain = Self::default();
        jobs.values().for_each(|job| chain.add(job, jobs));
        chain
    }

    /// A job came, open or ended; `jobs` may hold it already.
    pub fn add(&mut self, job: &Job, jobs: &Table<JobId, Job>) {
        for input in job.awaited() {
            self.waiting.entry(input).or_default().insert(job.id);
            if jobs.get(&input).is_some_and(|job| !job.is_open()) {
                self.due.insert(input);
            }
        }
        if !job.is_open() {
            self.ended(job.id);
        }
    }

    /// A job has ended: who waits for it is due.
    pub fn ended(&mut self, id: JobId) {
        if self.waiting.contains_key(&id) {
            self.due.insert(id);
        }
    }

    /// A job does not wait for this one any more.
    pub fn release(&mut self, id: JobId, input: JobId) {
        let Some(dependants) = self.waiting.get_mut(&input) else {
            return;
        };
        dependants.remove(&id);
        if dependants.is_empty() {
            self.waiting.remove(&input);
            self.due.remove(&input);
        }
    }

    /// Whether anybody waits for this job.
    pub fn is_awaited(&self, id: JobId) -> bool {
        self.waiting.contains_key(&id)
    }

    pub fn is_settled(&self) -> bool {
        self.due.is_empty()
    }

    /// The next job to be told that another has ended, and that one.
    pub fn next(&self) -> Option<(JobId, JobId)> {
        let input = self.due.first()?;
        let job = self.waiting.get(input)?.first()?;
        Some((*job, *input))
    }

    /// Whether a new job that waits for these would wait for itself in the end.
    pub fn knot(&self, id: JobId, awaited: impl Iterator<Item = JobId>, jobs: &Table<JobId, Job>) -> Option<Knot> {
        let mut ahead: Vec<JobId> = awaited.collect();
        if !self.is_awaited(id) && !ahead.contains(&id) {
            return None;
        }
        let mut seen: BTreeSet<JobId> = BTreeSet::new();
        while let Some(next) = ahead.pop() {
            if next == id {
                return Some(Knot::Cycle);
            }
            if !seen.insert(next) {
                continue;
            }
            if seen.len() > WALK_MAX {
                return Some(Knot::TooLong);
            }
            ahead.extend(jobs.get(&next).into_iter().flat_map(Job::awaited));
        }
        None
    }
}
