//! Adaptive replication, after BOINC: a provider that others have agreed with often enough is believed, and audited now and then.
//!
//! A job that asks for it begins with one lease. When the first result is in, its provider is **trusted** if its last `n` compared
//! results all passed, `n` at least 10; the job then ends with that one result, unless it is drawn for an **audit**. Of anybody else,
//! and in an audit, the job goes on as the replicated job that it asks to be, and a cheat loses its good name by one outlier.
//!
//! ```text
//! p    = max(1 / n, g / (g + B))            the share of audits, in millionths, rounded up
//! g    = what the job pays at most (bid)    gained by one cheat that is not found
//! B    = n * g                              lost with the name: as many jobs until it is trusted again
//! drawn when splitmix64(seed(job, attempt) ^ AUDIT) mod 1,000,000 < p
//! ```
//!
//! With this `B` the second term is always below the first, whatever `g` is. The seed is that of the lease under which the result came, so
//! whoever knows the request's id and the lease can tell which results were drawn; before the lease nobody knows the attempt's number.

use crate::id::JobId;
use crate::matching::{seed, splitmix64};

/// Compared results in a row that must have passed.
pub const TRUSTED_AFTER: u32 = 10;
/// Makes the draw another one than the choice of the provider: "audit" in ASCII.
const AUDIT: u64 = 0x61_7564_6974;
const MILLION: u64 = 1_000_000;

/// Whether a provider with so many passed results in a row is believed.
pub fn is_trusted(streak: u32) -> bool {
    streak >= TRUSTED_AFTER
}

/// Whether this attempt of a trusted provider is audited all the same.
pub fn is_audited(job: JobId, attempt: u32, streak: u32) -> bool {
    splitmix64(seed(job, attempt) ^ AUDIT) % MILLION < MILLION.div_ceil(u64::from(streak.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_n_is_audited() {
        for streak in [10_u32, 20, 100] {
            let jobs = (0..40_000_u32).map(|n| JobId(std::array::from_fn(|at| n.to_le_bytes()[at % 4])));
            let audited = jobs.filter(|job| is_audited(*job, 1, streak)).count();
            let expected = 40_000 / streak as usize;
            assert!(audited.abs_diff(expected) < expected / 5 + 20, "{audited} of 40,000 at {streak}");
        }
        assert!(is_audited(JobId([1; 32]), 1, 1) && is_audited(JobId([1; 32]), 1, 0));
    }
}
