//! Every job that the relay has told of, kept up to date from its state events.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::job::{Job, STATES};
use crate::cli::reading;
use crate::clock::now_s;
use crate::nostr::{EventId, Filter, Pubkey, kind};
use crate::store::Store;

/// How long a state may be on its way from its signature to the store, in seconds.
const ON_ITS_WAY_S: u64 = 30;

pub struct Board {
    /// The relay's key: states by others mean nothing.
    own: Pubkey,
    jobs: HashMap<String, Job>,
    /// Seconds; states dated before this have been read. They may be dated ahead of the clock, never behind it.
    since: u64,
}

impl Board {
    pub fn new(own: Pubkey) -> Self {
        Self { own, jobs: HashMap::new(), since: 0 }
    }

    /// Reads what is new in the store. Returns the jobs that changed, oldest change first.
    pub fn update(&mut self, store: &dyn Store) -> anyhow::Result<Vec<Job>> {
        let filter = Filter {
            authors: Some(vec![self.own]),
            kinds: Some(vec![kind::JOB_STATE]),
            since: Some(self.since),
            ..Filter::default()
        };
        let since = now_s().saturating_sub(ON_ITS_WAY_S);
        let mut changed = Vec::new();
        reading::every(store, filter, true, 0, |record| {
            if let Some(job) = Job::read(&record.event()?) {
                changed.extend(self.put(store, job)?);
            }
            Ok(())
        })?;
        self.since = since;
        Ok(changed)
    }

    /// The job, unless it is known to stand so.
    fn put(&mut self, store: &dyn Store, mut job: Job) -> anyhow::Result<Option<Job>> {
        job.created_at = match (self.jobs.get(&job.job), EventId::from_hex(&job.job)) {
            (Some(known), _) => known.created_at,
            (None, Some(id)) => store.get(&id)?.map_or(job.changed_at, |request| request.position.created_at()),
            (None, None) => job.changed_at,
        };
        if self.jobs.get(&job.job) == Some(&job) {
            return Ok(None);
        }
        self.jobs.insert(job.job.clone(), job.clone());
        Ok(Some(job))
    }

    /// A job by its id.
    pub fn get(&self, id: &str) -> Option<&Job> {
        self.jobs.get(id)
    }

    /// Every id, in no order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.jobs.keys().map(String::as_str)
    }

    /// Those that `wanted` names: the unfinished, newest first, then the ended, last ended first.
    pub fn sorted(&self, wanted: impl Fn(&Job) -> bool) -> Vec<&Job> {
        let mut jobs: Vec<&Job> = self.jobs.values().filter(|job| wanted(job)).collect();
        let time = |job: &Job| if job.is_final() { job.changed_at } else { job.created_at };
        jobs.sort_unstable_by_key(|job| (job.is_final(), Reverse(time(job)), &job.job));
        jobs
    }

    /// As in `2 running, 14 succeeded`.
    pub fn summary(&self) -> String {
        let counted = STATES.map(|state| (self.jobs.values().filter(|job| job.state == state).count(), state));
        let parts: Vec<String> =
            counted.iter().filter(|(count, _)| *count > 0).map(|(count, state)| format!("{count} {state}")).collect();
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
    }
}
