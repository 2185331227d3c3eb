//! Validators: a result is looked at by others before it is accepted.
//!
//! A job with a [`Panel`] waits when it has its result, or a quorum of them: the relay orders a job of kind 5702 of its own accord (the
//! scheduler only asks it to, as an order is an event and has an id), with as many replicas as there are to be validators. Whoever held a
//! lease on the first job, delivered for it, or asked for it, cannot have one on the second. A validator's answer is a [`Verdict`]; a quorum of validators
//! decides, and those who are outvoted are outliers like any other provider.
//!
//! - `Pass`: the job ends with the result.
//! - Anything else: those who said so are blamed as outliers are, what they delivered counts no more, and the job goes to others.
//! - Nobody decided in time: the job ends with the result, and says that nobody has validated it ([`Finding::Unvalidated`]). A
//!   customer is better off with a result that it can look at itself than with none.
//!
//! While validators are at work the job takes no results, so what it has is no secret any more.

use crate::id::{JobId, ProviderId};
use crate::job::{Job, Terms};
use crate::request::Request;
use crate::validation::Validation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The kind of jobs that validate results.
pub const VALIDATION_KIND: u16 = 5_702;
/// Attempts at validating beyond one of each validator.
const SPARE_ATTEMPTS: u32 = 4;

/// Who is to look at a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panel {
    /// How many.
    pub validators: u32,
    /// How many of them must agree; from 1 to `validators`.
    pub quorum: u32,
    /// The most that each is paid, in millisatoshi.
    pub bid_msat: u64,
}

/// Validators are at work, or are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examination {
    /// Nobody waits for them longer.
    pub until_ms: u64,
    /// The job that they do, once it is ordered.
    pub by: Option<JobId>,
}

/// What came of it for the accepted result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// Validators let it pass.
    Passed,
    /// Nobody decided in time.
    Unvalidated,
}

impl Finding {
    /// A stable word for machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Finding::Passed => "pass",
            Finding::Unvalidated => "none",
        }
    }
}

/// What validators of a job's result are asked.
pub(crate) fn order(job: &Job, panel: Panel, until_ms: u64, attempts_max: u32) -> Request {
    let attempts = panel.validators.saturating_add(SPARE_ATTEMPTS).min(attempts_max).max(panel.validators);
    Request {
        bid_msat: Some(panel.bid_msat),
        replicas: panel.validators,
        quorum: panel.quorum,
        validate: Validation::Verdict,
        attempts: Some(attempts),
        deadline_ms: Some(until_ms),
        examines: Some(job.id),
        barred: barred(job),
        ..Request::new(VALIDATION_KIND)
    }
}

/// Nobody judges his own work, nor his own job. At most two for each attempt, and the customer.
fn barred(job: &Job) -> Vec<ProviderId> {
    let past = job.attempts.iter().map(|attempt| attempt.provider);
    let delivered = job.submissions.iter().map(|submission| submission.provider);
    let barred: BTreeSet<_> = past.chain(delivered).chain([ProviderId(job.customer.0)]).collect();
    barred.into_iter().collect()
}

/// Until when validators may take: half of the time that is left at most, so that the job may still go to others.
pub(crate) fn until_ms(terms: &Terms, now_ms: u64, longest_ms: u64) -> u64 {
    let left_ms = terms.deadline_ms.saturating_sub(now_ms);
    // A result may come when the time is over and no tick has said so.
    now_ms.saturating_add(longest_ms.min(left_ms / 2)).min(terms.deadline_ms)
}
