//! The market's time. Deadlines are durations: a wall clock that somebody sets neither ends all leases at once nor keeps
//! them alive for a day. So the market starts at the wall clock, or at what its journal has reached when that is later,
//! and goes on from there by the steady clock. Only what is dated for others to read is the wall clock's.

use crate::clock::{now_ms, steady_ms};

/// One moment by both clocks, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The market's, by which the scheduler goes.
    pub market_ms: u64,
    /// The wall clock's, by which events are dated.
    pub wall_ms: u64,
}

impl Moment {
    /// Seconds since 1970, as in events.
    pub fn wall_s(self) -> u64 {
        self.wall_ms / 1_000
    }

    /// What the wall clock will show, as it goes now, when the market's time is this.
    pub fn to_wall_ms(self, market_ms: u64) -> u64 {
        shift(market_ms, self.market_ms, self.wall_ms)
    }

    /// What the market's time will be when the wall clock, as it goes now, shows this.
    pub fn to_market_ms(self, wall_ms: u64) -> u64 {
        shift(wall_ms, self.wall_ms, self.market_ms)
    }
}

/// Both clocks agree.
impl From<u64> for Moment {
    fn from(ms: u64) -> Self {
        Self { market_ms: ms, wall_ms: ms }
    }
}

/// `at`, seen from `from`, as far from `to`.
fn shift(at: u64, from: u64, to: u64) -> u64 {
    match at.checked_sub(from) {
        Some(after) => to.saturating_add(after),
        None => to.saturating_sub(from - at),
    }
}

/// A clock for one market, and for those that take its place.
#[derive(Debug, Clone, Copy)]
pub struct MarketClock {
    /// The market's time when the steady clock began.
    origin_ms: u64,
}

impl MarketClock {
    /// A clock that shows this now.
    pub fn showing(market_ms: u64) -> Self {
        Self { origin_ms: market_ms.saturating_sub(steady_ms()) }
    }

    pub fn now(self) -> Moment {
        Moment { market_ms: self.origin_ms.saturating_add(steady_ms()), wall_ms: now_ms() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_clock_shows_is_as_far_away_by_the_other() {
        let moment = Moment { market_ms: 1_000_000, wall_ms: 400_000 };
        assert_eq!(moment.to_wall_ms(1_000_500), 400_500);
        assert_eq!(moment.to_wall_ms(999_500), 399_500);
        assert_eq!(moment.to_wall_ms(500_000), 0);
        assert_eq!(moment.to_wall_ms(u64::MAX), u64::MAX - 600_000);
        assert_eq!(moment.to_market_ms(400_500), 1_000_500);
        assert_eq!(moment.to_market_ms(u64::MAX), u64::MAX);
        assert_eq!(moment.to_market_ms(0), 600_000);
    }
}
