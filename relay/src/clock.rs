//! Two clocks, read at the edge and handed inward: the wall clock dates events and may be set at any time; the steady
//! clock measures how long something takes, and nobody sets it.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A difference between the two clocks that is no more a matter of reading one after the other.
const STEP_MS: u64 = 2_000;

/// Seconds since 1970, by the wall clock.
pub fn now_s() -> u64 {
    now_ms() / 1_000
}

/// Milliseconds since 1970, by the wall clock.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Milliseconds by the steady clock, since it was first read.
pub fn steady_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_millis() as u64
}

/// Notices when somebody sets the wall clock.
#[derive(Debug)]
pub struct StepWatch {
    /// What the wall clock would show if nobody had touched it, less the steady clock.
    ahead_ms: i64,
}

impl StepWatch {
    /// Takes the wall clock of this moment for right.
    pub fn start() -> Self {
        Self { ahead_ms: ahead_ms() }
    }

    /// By how many milliseconds it was set since the last look, if it was: forward is positive.
    pub fn look(&mut self) -> Option<i64> {
        self.compare(ahead_ms())
    }

    fn compare(&mut self, ahead_ms: i64) -> Option<i64> {
        let step_ms = ahead_ms.saturating_sub(self.ahead_ms);
        if step_ms.unsigned_abs() < STEP_MS {
            return None;
        }
        self.ahead_ms = ahead_ms;
        Some(step_ms)
    }
}

fn ahead_ms() -> i64 {
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    signed(now_ms()).saturating_sub(signed(steady_ms()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_once_and_small_differences_are_not() {
        let mut watch = StepWatch { ahead_ms: 1_000_000 };
        assert_eq!(watch.compare(1_000_000), None);
        assert_eq!(watch.compare(1_001_999), None);
        assert_eq!(watch.compare(1_086_400), Some(86_400));
        assert_eq!(watch.compare(1_086_400), None);
        assert_eq!(watch.compare(-500), Some(-1_086_900));
        assert_eq!(watch.compare(-500), None);
    }

    #[test]
    fn many_small_steps_are_noticed_together() {
        let mut watch = StepWatch { ahead_ms: 0 };
        assert_eq!(watch.compare(1_500), None);
        assert_eq!(watch.compare(3_000), Some(3_000));
    }
}
