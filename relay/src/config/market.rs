//! How jobs are scheduled.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

/// How jobs are scheduled (docs/market.md).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MarketConfig {
    pub enabled: bool,
    /// Whether all that the scheduler is told is published, so that anybody can audit the leases.
    pub tape: bool,
    /// Dispatch of requests that do not say: `leased` or `open`.
    pub dispatch: Dispatch,
    pub accept_timeout_s: u64,
    pub derive_accept_timeout: bool,
    pub min_accept_timeout_s: u64,
    pub max_accept_timeout_s: u64,
    pub run_timeout_s: u64,
    /// Whether the time of a run follows what is observed, once enough is.
    pub derive_run_timeout: bool,
    /// The shortest that is derived.
    pub min_run_timeout_s: u64,
    /// Whether a slow run gets company when its job has no time for another after it.
    pub backups: bool,
    pub max_run_timeout_s: u64,
    pub pay_timeout_s: u64,
    pub job_timeout_s: u64,
    pub max_job_timeout_s: u64,
    /// How long a provider that lost its connection keeps its lease.
    pub disconnect_grace_s: u64,
    /// The same after a restart of the relay, when everybody has to connect anew.
    pub restart_grace_s: u64,
    /// How long a provider that does not authenticate counts as alive after a sign of life.
    pub liveness_s: u64,
    /// The longest that offers for a job are taken.
    pub max_auction_s: u64,
    /// The longest that a result waits for validators; at most half of the time that its job has left.
    pub validation_timeout_s: u64,
    /// The longest rest of a job after its second failed lease; doubled with each further one.
    pub retry_s: u64,
    /// The longest rest of all.
    pub max_retry_s: u64,
    pub attempts: u32,
    pub max_attempts: u32,
    /// Providers that may work on one job at a time.
    pub max_replicas: u32,
    /// Whether authenticated clients without an advert get jobs of the kinds that they subscribe to.
    pub walk_ins: bool,
    /// When a plain request that no known provider serves is shown to everybody; 0: never.
    pub open_after_s: u64,
    /// Slots of a provider that does not name them.
    pub slots: u32,
    pub max_slots: u32,
    pub max_providers: usize,
    pub max_open_jobs: usize,
    pub max_open_jobs_per_customer: usize,
    /// How long an ended job is remembered by the scheduler itself.
    pub ended_retention_s: u64,
    pub max_ended_jobs: usize,
    /// How long it takes for evidence about a provider or customer to count half.
    pub reputation_half_life_days: u64,
    /// Customers whose past is remembered.
    pub max_customers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dispatch {
    Leased,
    Open,
}

impl Default for MarketConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            tape: true,
            dispatch: Dispatch::Leased,
            accept_timeout_s: 10,
            derive_accept_timeout: true,
            min_accept_timeout_s: 5,
            max_accept_timeout_s: 60,
            run_timeout_s: 600,
            derive_run_timeout: true,
            min_run_timeout_s: 30,
            backups: true,
            max_run_timeout_s: 86_400,
            pay_timeout_s: 600,
            job_timeout_s: 3_600,
            max_job_timeout_s: 604_800,
            disconnect_grace_s: 5,
            restart_grace_s: 15,
            liveness_s: 900,
            max_auction_s: 3_600,
            validation_timeout_s: 600,
            retry_s: 1,
            max_retry_s: 60,
            attempts: 5,
            max_attempts: 20,
            max_replicas: 8,
            walk_ins: true,
            open_after_s: 10,
            slots: 1,
            max_slots: 1_000,
            max_providers: 100_000,
            max_open_jobs: 100_000,
            max_open_jobs_per_customer: 10_000,
            ended_retention_s: 3_600,
            max_ended_jobs: 100_000,
            reputation_half_life_days: 30,
            max_customers: 100_000,
        }
    }
}

impl MarketConfig {
    /// Whether the market is to know what clients listen for.
    pub fn hears_walk_ins(&self) -> bool {
        self.enabled && self.walk_ins
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.attempts >= 1, "market.attempts must be 1 or more");
        ensure!(self.attempts <= self.max_attempts, "market.attempts must not be above market.max_attempts");
        ensure!(self.max_replicas >= 1, "market.max_replicas must be 1 or more");
        ensure!(self.reputation_half_life_days >= 1, "market.reputation_half_life_days must be 1 or more");
        ensure!(self.slots >= 1, "market.slots must be 1 or more");
        ensure!(self.slots <= self.max_slots, "market.slots must not be above market.max_slots");
        Ok(())
    }
}
