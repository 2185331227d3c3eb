//! How long to wait before the next attempt: random between nothing and a bound that doubles (full jitter), so that the
//! peers of a relay that comes back do not all come at once.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub struct Backoff {
    bound: Duration,
}

impl Backoff {
    pub fn new() -> Self {
        Self { bound: FIRST }
    }

    /// To be called when all is well again.
    pub fn reset(&mut self) {
        self.bound = FIRST;
    }

    pub fn next(&mut self) -> Duration {
        let wait = self.bound.mul_f64(fraction());
        self.bound = (self.bound * 2).min(LONGEST);
        wait
    }
}

/// Random, 0 to 1; the middle where the system has no randomness.
fn fraction() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_below_a_bound_that_doubles_up_to_the_longest() {
        let mut backoff = Backoff::new();
        let mut bound = FIRST;
        for _ in 0..20 {
            assert!(backoff.next() <= bound);
            bound = (bound * 2).min(LONGEST);
        }
        assert_eq!(backoff.bound, LONGEST);
        let waits: std::collections::HashSet<Duration> = (0..10).map(|_| backoff.next()).collect();
        assert!(waits.len() > 1, "peers must not come in step");
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
