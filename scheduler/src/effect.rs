//! What the relay must tell the world.

use crate::examination::{Examination, Finding, Panel};
use crate::id::{CustomerId, JobId, ProviderId, ResultId};
use crate::lease::Reason;
use crate::money::{Account, Bill, Payment};
use crate::request::Upstream;
use crate::validation::Verdict;
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
    /// Waits for the result of another job.
    Blocked,
    /// Takes offers.
    Bidding,
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
    /// Results are in, and none has its quorum; another provider is to decide.
    Validating,
    /// Ended with a result.
    Succeeded,
    /// Ended without one.
    Failed,
    /// Taken back by its customer.
    Cancelled,
    /// Out of time.
    Expired,
    /// Ended with a result, and paid.
    Settled,
    /// Ended with a result, and not paid in time.
    Unpaid,
}

impl Status {
    /// A stable word for machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Blocked => "blocked",
            Status::Bidding => "bidding",
            Status::Queued => "queued",
            Status::Open => "open",
            Status::Leased => "leased",
            Status::Running => "running",
            Status::AwaitingPayment => "awaiting-payment",
            Status::Validating => "validating",
            Status::Succeeded => "succeeded",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
            Status::Expired => "expired",
            Status::Settled => "settled",
            Status::Unpaid => "unpaid",
        }
    }
}

/// A live lease as the public sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// Its fencing number.
    pub number: u64,
    /// Who holds it.
    pub provider: ProviderId,
    /// Which attempt at the job it is.
    pub attempt: u32,
    /// When the next thing must have happened: its next deadline, at most the job's.
    pub expires_at_ms: u64,
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
    /// The holder of the oldest live lease, or who delivered, or else held the last lease.
    pub provider: Option<ProviderId>,
    /// Live leases, by number.
    pub leases: Vec<LeaseView>,
    /// Leases granted so far.
    pub attempt: u32,
    /// Jobs whose results it needs, and those results that are there.
    pub inputs: Vec<Upstream>,
    /// When the whole job must have ended.
    pub deadline_ms: u64,
    /// Offers are taken until then.
    pub bids_until_ms: Option<u64>,
    /// It gets no further leases before then.
    pub rests_until_ms: Option<u64>,
    /// What a leaseholder, or who delivered, waits for, in millisatoshi.
    pub amount_msat: Option<u64>,
    /// Providers that are to work on it at a time, and how many of them must agree.
    pub replicas: (u32, u32),
    /// Results that came in.
    pub results: u32,
    /// The accepted result.
    pub result: Option<ResultId>,
    /// Validators are at work.
    pub examination: Option<Examination>,
    /// What came of it for the accepted result.
    pub examined: Option<Finding>,
    /// The money of each provider that asked for some or got some.
    pub accounts: Vec<Account>,
    /// How it stands with the payment for the accepted result.
    pub bill: Bill,
}

/// A result that was compared with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Who delivered.
    pub provider: ProviderId,
    /// The result.
    pub result: ResultId,
    /// What was decided about it, if anything.
    pub verdict: Option<Verdict>,
    /// The lower bound of its provider's reputation when it came, in thousandths.
    pub low: u32,
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
        /// How long its run may take.
        run_ms: u64,
        /// What the provider is paid by its offer, in millisatoshi.
        agreed_msat: Option<u64>,
        /// The jobs that it waited for, and their results.
        inputs: Vec<Upstream>,
        /// The slow lease beside which it goes: who delivers first wins.
        backs_up: Option<u64>,
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
    /// A result was judged, because several were compared; before the end of its job.
    AnnounceVerdict {
        /// The job.
        job: JobId,
        /// Who delivered.
        provider: ProviderId,
        /// The result.
        result: ResultId,
        /// What is decided.
        verdict: Verdict,
        /// How many results are in the quorum.
        agreed: u32,
        /// How many were compared.
        results: u32,
    },
    /// A job is over. Told to customer and providers.
    AnnounceEnd {
        /// Which job.
        job: JobId,
        /// Whose.
        customer: CustomerId,
        /// Who delivered, or else the last leaseholder.
        provider: Option<ProviderId>,
        /// How it ended.
        end: End,
        /// The job that it waited for in vain.
        failed_input: Option<JobId>,
        /// Why each attempt that did not bring the result failed, in order.
        reasons: Vec<(u32, ProviderId, Reason)>,
        /// When results were compared, or validated: each of them.
        judged: Vec<Judged>,
        /// Whether the accepted result was validated, if that was asked.
        examined: Option<Finding>,
    },
    /// The public state of a job changed; once for each job and step, after everything else. A heartbeat that only
    /// moves `expires_at_ms` is not told.
    AnnounceState {
        /// The state after the step.
        view: JobView,
    },
    /// A payment was taken note of, or is proven now. Told to customer and provider.
    AnnouncePayment {
        /// Who paid.
        customer: CustomerId,
        /// What.
        payment: Payment,
    },
    /// A result waits for validators: order a job of kind [`VALIDATION_KIND`](crate::VALIDATION_KIND), and give its id as
    /// [`Input::Examine`](crate::Input::Examine).
    OrderValidation {
        /// Whose result.
        job: JobId,
        /// Whose job.
        customer: CustomerId,
        /// The result.
        result: ResultId,
        /// Who is asked for.
        panel: Panel,
        /// Nobody waits longer than this.
        until_ms: u64,
    },
}
