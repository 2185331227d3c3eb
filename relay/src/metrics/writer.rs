//! What is counted of the writer and of live delivery.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::{Histogram, KindCounts, Labelled};

/// What became of an event that reached the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Stored,
    Duplicate,
    Refused,
    /// The commit failed.
    Failed,
}

const OUTCOMES: [&str; 4] = ["stored", "duplicate", "refused", "failed"];

#[derive(Debug)]
pub struct WriterMeters {
    pub events: KindCounts,
    pub group: Histogram,
    pub commit: Histogram,
    pub failed_commits: Counter,
    answers: Labelled<Histogram, 4>,
    /// From the commit to the last push into an outbox.
    pub delivery_lag: Histogram,
    pub deliveries: Counter,
    /// When the commit under way began, in milliseconds since `epoch`, from 1; 0 between commits.
    begun: AtomicU64,
    epoch: Instant,
    /// Whether the last commit failed.
    store_fails: AtomicBool,
}

impl Default for WriterMeters {
    fn default() -> Self {
        Self {
            events: KindCounts::default(),
            group: Histogram::of_sizes(),
            commit: Histogram::of_latency(),
            failed_commits: Counter::default(),
            answers: Labelled::latencies("outcome", OUTCOMES),
            delivery_lag: Histogram::of_latency(),
            deliveries: Counter::default(),
            begun: AtomicU64::new(0),
            epoch: Instant::now(),
            store_fails: AtomicBool::new(false),
        }
    }
}

impl WriterMeters {
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.events.clone()));
        registry.register("mercato_group_commands", "Commands committed together", self.group.clone());
        registry.register("mercato_commit_seconds", "Judging a group and committing it", self.commit.clone());
        registry.register("mercato_failed_commits", "Groups that could not be stored", self.failed_commits.clone());
        let help = "From coming to the writer with an event, a wait for room included, to its OK";
        self.answers.register(registry, "mercato_ok_seconds", help);
        let help = "From a commit to its events being queued for the last subscriber";
        registry.register("mercato_live_lag_seconds", help, self.delivery_lag.clone());
        registry.register("mercato_deliveries", "Events queued for live subscribers", self.deliveries.clone());
    }

    pub fn answered(&self, outcome: Outcome, since: Instant) {
        self.answers.at(outcome as usize).observe(since.elapsed());
    }

    /// A commit begins.
    pub fn begin(&self) {
        self.begun.store(self.now(), Ordering::Relaxed);
    }

    /// It ended, well or not.
    pub fn end(&self) {
        self.begun.store(0, Ordering::Relaxed);
    }

    /// Whether the store takes no writes, as far as the last commit tells.
    pub fn set_store_failing(&self, fails: bool) {
        self.store_fails.store(fails, Ordering::Relaxed);
    }

    /// Whether the last commit failed.
    pub fn is_store_failing(&self) -> bool {
        self.store_fails.load(Ordering::Relaxed)
    }

    /// How long the commit under way has taken so far; zero when there is none.
    pub fn busy_for(&self) -> Duration {
        match self.begun.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            begun => Duration::from_millis(self.now().saturating_sub(begun)),
        }
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64 + 1
    }
}
