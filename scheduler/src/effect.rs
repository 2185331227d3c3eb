//! What the relay must tell the world.

use crate::id::{CustomerId, JobId, ProviderId, ResultId};
use crate::lease::Reason;
use serde::{Deserialize, Serialize};

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// A result was accepted.
    Succeeded {
        /// Which.
        result: ResultId,
    },
    /// Its attempts are used up, or its customer did not pay.
    Failed,
    /// Its customer took it back.
    Cancelled,
    /// Its deadline passed.
    Expired,
}

/// Where a job stands, for its public state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Waits for an eligible provider.
    Queued,
    /// Everybody may answer (open dispatch).
    Open,
    /// A provider holds a lease and has not said anything yet.
    Leased,
    /// The leaseholder works on it.
    Running,
    /// The leaseholder waits for money.
    AwaitingPayment,
    /// Ended with a result.
    Succeeded,
    /// Ended without one.
    Failed,
    /// Taken back by its customer.
    Cancelled,
    /// Out of time.
    Expired,
}

impl Status {
    /// A stable word for machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Open => "open",
            Status::Leased => "leased",
            Status::Running => "running",
            Status::AwaitingPayment => "awaiting-payment",
            Status::Succeeded => "succeeded",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
            Status::Expired => "expired",
        }
    }
}

/// A job as the public sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    /// Which job.
    pub job: JobId,
    /// Whose.
    pub customer: CustomerId,
    /// The request's kind.
    pub kind: u16,
    /// Where it stands.
    pub status: Status,
    /// The leaseholder, or who delivered.
    pub provider: Option<ProviderId>,
    /// The live lease's number.
    pub lease: Option<u64>,
    /// Leases granted so far.
    pub attempt: u32,
    /// When the next thing must have happened: the lease's next deadline, at most the job's. `None` after the end.
    pub expires_at_ms: Option<u64>,
    /// When the whole job must have ended.
    pub deadline_ms: u64,
    /// What the leaseholder waits for, in millisatoshi.
    pub amount_msat: Option<u64>,
    /// The accepted result.
    pub result: Option<ResultId>,
}

/// Something to sign and publish, in this order, in the same atomic batch as the step's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A provider holds a lease from now on.
    AnnounceLease {
        /// On which job.
        job: JobId,
        /// Whose job.
        customer: CustomerId,
        /// Who holds it.
        provider: ProviderId,
        /// Which attempt this is, from 1.
        attempt: u32,
        /// Its fencing number.
        lease: u64,
        /// The provider must have answered by then.
        expires_at_ms: u64,
        /// Where the draw came from: a function of job and attempt.
        seed: u64,
        /// The terms of the winner's score, then the score and the number of feasible providers: see [`matching`](crate::matching).
        why: Vec<(&'static str, i64)>,
    },
    /// A lease is over without a result of its own. Told to customer and provider.
    AnnounceWithdrawal {
        /// On which job.
        job: JobId,
        /// Whose job.
        customer: CustomerId,
        /// Who held it.
        provider: ProviderId,
        /// Its fencing number.
        lease: u64,
        /// Which attempt it was.
        attempt: u32,
        /// Why it is over.
        reason: Reason,
    },
    /// A job is over. Told to customer and provider.
    AnnounceEnd {
        /// Which job.
        job: JobId,
        /// Whose.
        customer: CustomerId,
        /// Who delivered, or else the last leaseholder.
        provider: Option<ProviderId>,
        /// How it ended.
        end: End,
        /// Why each attempt before failed, in order.
        reasons: Vec<(u32, ProviderId, Reason)>,
    },
    /// The public state of a job changed; once for each job and step, after everything else. A heartbeat that only
    /// moves `expires_at_ms` is not told.
    AnnounceState {
        /// The state after the step.
        view: JobView,
    },
}
