//! What the operator decides: times and bounds.

use crate::reputation::HALF_LIFE_MS;
use serde::{Deserialize, Serialize};

const SECOND: u64 = 1_000;

/// Times in milliseconds, and the bound of every table.
///
/// A change takes effect for what comes after it: records carry what was decided, so a replay under another
/// configuration gives the same state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// How long a leaseholder may take to say anything, when the request does not say.
    pub accept_timeout_ms: u64,
    /// How long a run may take from acceptance, when the request does not say.
    pub run_timeout_ms: u64,
    /// Whether a run of a request that does not say gets three times what 95 of 100 runs take, once enough are known.
    pub run_timeout_derived: bool,
    /// The least that is derived so.
    pub run_timeout_min_ms: u64,
    /// Whether a run that takes longer than most gets company when its job has no time for another after it.
    pub backups: bool,
    /// The most that a request may ask for its accept, heartbeat and run timeouts.
    pub run_timeout_max_ms: u64,
    /// How long a provider waits for its payment, when the request does not say.
    pub pay_timeout_ms: u64,
    /// How long a job may stay open, when the request names no deadline.
    pub job_timeout_ms: u64,
    /// The most that a job may stay open, whatever deadline it names; also the most for its pay timeout.
    pub job_timeout_max_ms: u64,
    /// How long a leaseholder that disconnected may take to come back.
    pub disconnect_grace_ms: u64,
    /// How long leaseholders may take to come back after the relay itself was away.
    pub restart_grace_ms: u64,
    /// How long a provider without an authenticated connection counts as alive after it signed something.
    pub liveness_window_ms: u64,
    /// `Seen` renews a provider's liveness in the journal only when that moves it by this much.
    pub seen_resolution_ms: u64,
    /// The most that a job rests after the second lease that failed; doubled after each further one. 0: it never rests.
    pub retry_base_ms: u64,
    /// The most that it ever rests.
    pub retry_max_ms: u64,
    /// The longest that offers for a job are taken.
    pub auction_max_ms: u64,
    /// The longest that a result waits for validators; at most half of the time that its job has left.
    pub validation_timeout_ms: u64,
    /// Leases that a job may use up, when the request does not say.
    pub attempts_default: u32,
    /// The most leases that a job may use up; also bounds the history kept with it.
    pub attempts_max: u32,
    /// The most replicas that a job may ask for.
    pub replicas_max: u32,
    /// How long a job that may be opened waits for a first lease before everybody may answer it; `None`: for ever.
    pub open_after_ms: Option<u64>,
    /// Slots of a provider whose advert does not say.
    pub default_slots: u32,
    /// The most slots that count, whatever an advert says.
    pub slots_max: u32,
    /// Open jobs of everybody together.
    pub jobs_max: usize,
    /// Open jobs of one customer.
    pub jobs_per_customer_max: usize,
    /// Providers known at a time; when full, the one away for longest makes room.
    pub providers_max: usize,
    /// How long an ended job is remembered, so that what comes late gets a clear answer.
    pub ended_retention_ms: u64,
    /// Ended jobs remembered at a time; the oldest goes first.
    pub ended_max: usize,
    /// How long it takes for evidence about a provider or customer to count half.
    pub half_life_ms: u64,
    /// Customers whose past is remembered; the one heard of longest ago goes first.
    pub customers_max: usize,
    /// Whether a leaseholder of a request that does not say gets three times what 95 of 100 first words take, once enough are known.
    pub accept_timeout_derived: bool,
    /// The least that is derived so.
    pub accept_timeout_min_ms: u64,
    /// The most that is derived so.
    pub accept_timeout_max_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        const HOUR: u64 = 3_600 * SECOND;
        Self {
            accept_timeout_ms: 10 * SECOND,
            run_timeout_ms: 600 * SECOND,
            run_timeout_derived: true,
            backups: true,
            run_timeout_min_ms: 30 * SECOND,
            run_timeout_max_ms: 24 * HOUR,
            pay_timeout_ms: 600 * SECOND,
            job_timeout_ms: HOUR,
            job_timeout_max_ms: 7 * 24 * HOUR,
            disconnect_grace_ms: 5 * SECOND,
            restart_grace_ms: 15 * SECOND,
            liveness_window_ms: 900 * SECOND,
            seen_resolution_ms: 30 * SECOND,
            auction_max_ms: HOUR,
            validation_timeout_ms: 600 * SECOND,
            retry_base_ms: SECOND,
            retry_max_ms: 60 * SECOND,
            attempts_default: 5,
            attempts_max: 16,
            replicas_max: 8,
            open_after_ms: None,
            default_slots: 1,
            slots_max: 1_024,
            jobs_max: 100_000,
            jobs_per_customer_max: 1_000,
            providers_max: 100_000,
            ended_retention_ms: HOUR,
            ended_max: 100_000,
            half_life_ms: HALF_LIFE_MS,
            customers_max: 100_000,
            accept_timeout_derived: true,
            accept_timeout_min_ms: 5 * SECOND,
            accept_timeout_max_ms: 60 * SECOND,
        }
    }
}

impl Config {
    /// What is wrong with these settings, in words for the operator; `None` when they can be used.
    pub fn flaw(&self) -> Option<&'static str> {
        let rules = [
            (self.accept_timeout_ms > 0, "accept_timeout_ms must not be 0"),
            (self.run_timeout_ms > 0, "run_timeout_ms must not be 0"),
            (self.pay_timeout_ms > 0, "pay_timeout_ms must not be 0"),
            (self.job_timeout_ms > 0, "job_timeout_ms must not be 0"),
            (self.run_timeout_ms <= self.run_timeout_max_ms, "run_timeout_ms must not exceed run_timeout_max_ms"),
            (self.job_timeout_ms <= self.job_timeout_max_ms, "job_timeout_ms must not exceed job_timeout_max_ms"),
            (self.run_timeout_min_ms > 0, "run_timeout_min_ms must not be 0"),
            (self.accept_timeout_min_ms > 0, "accept_timeout_min_ms must not be 0"),
            (
                self.accept_timeout_min_ms <= self.accept_timeout_max_ms,
                "accept_timeout_min_ms must not exceed accept_timeout_max_ms",
            ),
            (
                self.run_timeout_min_ms <= self.run_timeout_max_ms,
                "run_timeout_min_ms must not exceed run_timeout_max_ms",
            ),
            (self.attempts_default > 0, "attempts_default must not be 0"),
            (self.attempts_default <= self.attempts_max, "attempts_default must not exceed attempts_max"),
            (self.replicas_max > 0, "replicas_max must not be 0"),
            (self.replicas_max <= self.attempts_max, "replicas_max must not exceed attempts_max"),
            (self.default_slots <= self.slots_max, "default_slots must not exceed slots_max"),
            (self.half_life_ms >= SECOND, "half_life_ms must be 1000 or more"),
            (self.ended_max > 0, "ended_max must not be 0"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map(|(_, flaw)| flaw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert_eq!(Config::default().flaw(), None);
    }

    #[test]
    fn an_inverted_bound_is_named() {
        let config = Config { attempts_default: 17, ..Config::default() };
        assert_eq!(config.flaw(), Some("attempts_default must not exceed attempts_max"));
    }
}
