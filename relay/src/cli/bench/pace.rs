//! An even rate, as a world of independent senders would give it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A timer wakes up to this late by itself; being later than that is the relay's doing.
const TIMER_SLACK: Duration = Duration::from_millis(2);

/// When each piece of a load is due.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    started: Instant,
    gap: Duration,
}

impl Pace {
    /// Begins now, `per_s` pieces a second.
    pub fn start(per_s: f64) -> Self {
        Self { started: Instant::now(), gap: Duration::from_secs_f64(1.0 / per_s) }
    }

    /// Waits until piece `at` is due.
    pub async fn wait(&self, at: usize) {
        sleep_until(self.due(at)).await;
    }

    /// Whether piece `at` is due already.
    pub fn is_due(&self, at: usize) -> bool {
        self.due(at) <= Instant::now()
    }

    /// From when the latency of piece `at` counts, if it is sent now. A relay that keeps its sender from sending must
    /// not have the pieces sent late look fast.
    pub fn counts_from(&self, at: usize) -> Instant {
        let now = Instant::now();
        self.due(at).max(now.checked_sub(TIMER_SLACK).unwrap_or(now)).min(now)
    }

    fn due(&self, at: usize) -> Instant {
        self.started + self.gap.mul_f64(at as f64)
    }
}
