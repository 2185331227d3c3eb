//! A store that takes no writes, most often because its disk is full: when it is tried again, and what the log says of it.

use std::time::{Duration, Instant};

use crate::store::StoreError;

/// How soon after the first failure the store is tried again. Each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Space that has come back is noticed this late at most, once the store has noticed it.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often the log says that it still lasts.
const REMINDER: Duration = Duration::from_secs(60);

/// From a commit that failed to the next that did not.
#[derive(Debug)]
pub struct Outage {
    since: Instant,
    pause: Duration,
    retry: Instant,
    told: Instant,
    /// Events that were refused so far.
    refused: u64,
    /// Why the store takes no writes.
    pub reason: String,
}

impl Outage {
    /// A commit has failed.
    pub fn begin(error: &StoreError) -> Self {
        tracing::error!(%error, "the store takes no writes: events are refused until it does");
        let now = Instant::now();
        Self {
            since: now,
            pause: FIRST_PAUSE,
            retry: now + FIRST_PAUSE,
            told: now,
            refused: 0,
            reason: error.to_string(),
        }
    }

    /// The store was tried in vain.
    pub fn go_on(&mut self, error: &StoreError) {
        let now = Instant::now();
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.retry = now + self.pause;
        self.reason = error.to_string();
        if now - self.told >= REMINDER {
            self.told = now;
            let (seconds, refused) = (self.since.elapsed().as_secs(), self.refused);
            tracing::error!(%error, seconds, refused, "the store still takes no writes");
        }
    }

    /// Counts events that were refused.
    pub fn refuse(&mut self, events: u64) {
        self.refused += events;
    }

    /// How long the store is left alone; zero when it is to be tried.
    pub fn rest(&self) -> Duration {
        self.retry.saturating_duration_since(Instant::now())
    }

    /// The store takes writes again.
    pub fn end(self) {
        let (seconds, refused) = (self.since.elapsed().as_secs(), self.refused);
        tracing::info!(seconds, refused, "the store takes writes again");
    }
}
