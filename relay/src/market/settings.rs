//! The operator's settings in the scheduler's terms.

use mercato_scheduler::Config;

use super::MarketError;
use crate::config::MarketConfig;

/// The scheduler's configuration.
///
/// # Errors
/// When the settings do not go together.
pub(super) fn scheduler_config(config: &MarketConfig) -> Result<Config, MarketError> {
    let ms = |seconds: u64| seconds.saturating_mul(1_000);
    let shortest_accept_s = config.min_accept_timeout_s.min(config.accept_timeout_s).min(config.max_accept_timeout_s);
    let own = Config {
        accept_timeout_ms: ms(config.accept_timeout_s),
        accept_timeout_derived: config.derive_accept_timeout,
        // Whoever lowers the usual time or the longest alone means that.
        accept_timeout_min_ms: ms(shortest_accept_s),
        accept_timeout_max_ms: ms(config.max_accept_timeout_s),
        run_timeout_ms: ms(config.run_timeout_s),
        run_timeout_derived: config.derive_run_timeout,
        backups: config.backups,
        // Whoever lowers the longest alone means that.
        run_timeout_min_ms: ms(config.min_run_timeout_s.min(config.max_run_timeout_s)),
        run_timeout_max_ms: ms(config.max_run_timeout_s),
        pay_timeout_ms: ms(config.pay_timeout_s),
        job_timeout_ms: ms(config.job_timeout_s),
        job_timeout_max_ms: ms(config.max_job_timeout_s),
        disconnect_grace_ms: ms(config.disconnect_grace_s),
        restart_grace_ms: ms(config.restart_grace_s),
        liveness_window_ms: ms(config.liveness_s),
        // Often enough that the window is right to a few per cent, seldom enough not to fill the journal.
        seen_resolution_ms: ms(config.liveness_s) / 30,
        auction_max_ms: ms(config.max_auction_s),
        validation_timeout_ms: ms(config.validation_timeout_s),
        retry_base_ms: ms(config.retry_s),
        retry_max_ms: ms(config.max_retry_s),
        attempts_default: config.attempts,
        attempts_max: config.max_attempts,
        // Whoever lowers the attempts alone means that.
        replicas_max: config.max_replicas.min(config.max_attempts),
        open_after_ms: (config.open_after_s > 0).then(|| ms(config.open_after_s)),
        default_slots: config.slots,
        slots_max: config.max_slots,
        jobs_max: config.max_open_jobs,
        jobs_per_customer_max: config.max_open_jobs_per_customer,
        providers_max: config.max_providers,
        ended_retention_ms: ms(config.ended_retention_s),
        ended_max: config.max_ended_jobs,
        half_life_ms: ms(config.reputation_half_life_days.saturating_mul(86_400)),
        customers_max: config.max_customers,
    };
    own.flaw().map_or(Ok(own), |flaw| Err(MarketError::Config(flaw)))
}
