//! How long a job rests after a lease that failed, so that one which fails everywhere does not spin through the providers.
//!
//! The first failure of each replica is followed at once: it is the provider's, most likely. From then on the rest is drawn
//! evenly from nothing to a ceiling that doubles with every failure ("full jitter"): jobs that fail together come back apart.
//! The draw is a function of job and attempt, as all draws are.

use crate::config::Config;
use crate::job::Job;
use crate::matching::{seed, splitmix64};

/// Keeps this draw apart from the one of the provider: the first digits of pi.
const SALT: u64 = 0x243f_6a88_85a3_08d3;

/// How long the job rests now, in milliseconds; 0: not at all. At most half of the time that it has left.
pub(crate) fn rest_ms(config: &Config, job: &Job, now_ms: u64) -> u64 {
    let failed = job.attempts.iter().filter(|attempt| attempt.reason.blames_provider()).count();
    let Some(doublings) = u32::try_from(failed).unwrap_or(u32::MAX).checked_sub(job.request.replicas + 1) else {
        return 0;
    };
    let doubled = config.retry_base_ms.saturating_mul(1_u64.checked_shl(doublings).unwrap_or(u64::MAX));
    let left_ms = job.terms.deadline_ms.saturating_sub(now_ms);
    let ceiling_ms = doubled.min(config.retry_max_ms).min(left_ms / 2);
    let draw = splitmix64(seed(job.id, job.granted()) ^ SALT);
    // As if the draw were a fraction of 2^64.
    let rest = (u128::from(draw) * (u128::from(ceiling_ms) + 1)) >> 64;
    u64::try_from(rest).unwrap_or(ceiling_ms)
}
