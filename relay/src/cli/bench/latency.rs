//! Latencies and their percentiles.

use std::time::Duration;

/// Measured times; every one is kept, so percentiles are exact.
#[derive(Debug, Default)]
pub struct Latencies {
    us: Vec<u32>,
}

impl Latencies {
    /// Adds one.
    pub fn add(&mut self, latency: Duration) {
        self.us.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    /// Adds all of another.
    pub fn append(&mut self, mut other: Self) {
        self.us.append(&mut other.us);
    }

    /// The smallest time that `percent` of all do not exceed, in milliseconds; `None` of none.
    pub fn percentile_ms(&mut self, percent: usize) -> Option<f64> {
        self.us.sort_unstable();
        let rank = (self.us.len() * percent).div_ceil(100).saturating_sub(1);
        self.us.get(rank).map(|us| f64::from(*us) / 1e3)
    }
}

impl FromIterator<u32> for Latencies {
    /// From microseconds.
    fn from_iter<I: IntoIterator<Item = u32>>(us: I) -> Self {
        Self { us: us.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_smallest_that_enough_do_not_exceed() {
        let mut latencies: Latencies = (1..=100).rev().map(|ms| ms * 1_000).collect();
        assert_eq!(latencies.percentile_ms(50), Some(50.0));
        assert_eq!(latencies.percentile_ms(99), Some(99.0));
        assert_eq!(latencies.percentile_ms(100), Some(100.0));
        assert_eq!(Latencies::default().percentile_ms(50), None);
    }
}
