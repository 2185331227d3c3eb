//! Why an input changes nothing.

use crate::effect::End;
use crate::id::{JobId, ProviderId};
use crate::lease::Reason;
use crate::validation::Validation;
use thiserror::Error;

/// An input that is not accepted. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No such job, or forgotten long after its end.
    #[error("this job is not known")]
    UnknownJob,
    /// The request was taken before.
    #[error("this job is known already")]
    DuplicateJob,
    /// Only its customer may cancel a job.
    #[error("only the customer may do this")]
    NotTheCustomer,
    /// The sender never held a lease on this job.
    #[error("you never held a lease on this job")]
    NeverLeased,
    /// The sender's lease is over, or it names a lease that is not its own.
    #[error("lease {named} does not count: {}", stale_detail(*.own, .reason.as_ref()))]
    StaleLease {
        /// The lease that was judged: the one named, or else the sender's own.
        named: u64,
        /// The sender's own lease on this job.
        own: u64,
        /// Why the sender's own lease ended; `None` when it is live.
        reason: Option<Reason>,
    },
    /// The job is over.
    #[error("this job has ended: {}", end_word(.end))]
    AlreadyEnded {
        /// How.
        end: End,
    },
    /// This very result was accepted before.
    #[error("this result was accepted already")]
    DuplicateResult,
    /// The sender delivered another result for this job.
    #[error("you delivered a result for this job already")]
    SecondResult,
    /// Results of this job are compared, and this one cannot be.
    #[error("{}", unfit_detail(*.validate))]
    UnfitAnswer {
        /// How they are compared.
        validate: Validation,
    },
    /// A result's kind is its request's plus 1000.
    #[error("a result of this job has kind {expected}, not {got}")]
    WrongResultKind {
        /// The right kind.
        expected: u16,
        /// The kind that came.
        got: u16,
    },
    /// The relay has as many open jobs as it takes.
    #[error("there are {max} open jobs; try again later")]
    TooManyJobs {
        /// The bound.
        max: usize,
    },
    /// The customer has as many open jobs as it may.
    #[error("you have {max} open jobs; wait for some to end")]
    TooManyJobsOfCustomer {
        /// The bound.
        max: usize,
    },
    /// More replicas than the relay leases at a time.
    #[error("a job has at most {max} replicas here")]
    TooManyReplicas {
        /// The bound.
        max: u32,
    },
    /// A job whose result it needs ended without one.
    #[error("a job that this one waits for ended without a result")]
    InputFailed {
        /// Which.
        input: JobId,
    },
    /// It would wait for itself.
    #[error("this job would wait for itself")]
    InputCycle,
    /// What it waits for waits for too many others.
    #[error("the jobs that this one waits for wait for too many others")]
    InputsTooDeep,
    /// Nobody asked for offers, or their time is over.
    #[error("no offers are taken for this job now")]
    NoBidding,
    /// More than the customer pays.
    #[error("this job pays {max_msat} msat at most")]
    OfferTooHigh {
        /// The request's bid.
        max_msat: u64,
    },
    /// An offer of somebody who could not have the job.
    #[error("you could not have this job: be there, and advertise what it asks for")]
    NotEligible,
    /// A provider changes its mind too often.
    #[error("you have made {max} offers for this job")]
    TooManyRevisions {
        /// The bound.
        max: usize,
    },
    /// As many providers have made offers as are compared.
    #[error("{max} providers have made offers for this job")]
    TooManyBids {
        /// The bound.
        max: usize,
    },
    /// The request came after its own deadline.
    #[error("the deadline of this job has passed")]
    DeadlinePassed,
    /// The directory is full of providers that are present.
    #[error("there are {max} providers; try again later")]
    TooManyProviders {
        /// The bound.
        max: usize,
        /// Who found no place.
        provider: ProviderId,
    },
    /// Somebody else than the customer paid.
    #[error("only the customer's payment counts for this job")]
    NotTheCustomersPayment,
    /// Who was paid has nothing to do with the job.
    #[error("who was paid never held a lease on this job")]
    PaidAStranger,
    /// A receipt of nothing.
    #[error("nothing was paid")]
    NothingPaid,
    /// This very receipt was taken before.
    #[error("this receipt was taken already")]
    DuplicateReceipt,
    /// The payment that the receipt tells of was used before.
    #[error("this payment was used before")]
    ReplayedPayment,
    /// A proof of a payment that nobody told of.
    #[error("this payment is not known")]
    UnknownPayment,
    /// As many receipts as are kept of one job.
    #[error("a job has at most {max} receipts")]
    TooManyReceipts {
        /// The bound.
        max: usize,
    },
    /// A request that can never be scheduled as it is.
    #[error("{0}")]
    InvalidRequest(Flaw),
    /// An advert that cannot be used as it is.
    #[error("{0}")]
    InvalidAdvert(Flaw),
    /// Validators look at the results of the job.
    #[error("validators look at what was delivered; this job takes no further results now")]
    UnderExamination,
    /// An order for validators that nobody asked for.
    #[error("this job waits for no validators")]
    NotExamined,
    /// More validators than there may be.
    #[error("a result has at most {max} validators here")]
    TooManyValidators {
        /// The bound.
        max: u32,
    },
}

/// What is wrong with a request or an advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Flaw {
    /// The result's kind would not fit.
    #[error("the kind is too high to have a result kind")]
    KindTooHigh,
    /// A timeout of nothing.
    #[error("a timeout must not be zero")]
    ZeroTimeout,
    /// No attempts at all.
    #[error("the number of attempts must not be zero")]
    ZeroAttempts,
    /// A quorum of none, or of more than there are replicas.
    #[error("the quorum must be from 1 to the number of replicas")]
    WrongQuorum,
    /// A tolerance out of range.
    #[error("a tolerance must be from 0 to 10^18, and a relative one at most 1")]
    WrongTolerance,
    /// Replicas in open dispatch.
    #[error("only a leased job has replicas")]
    OpenReplicas,
    /// Adaptive replication of a job without a quorum.
    #[error("adaptive validation needs a quorum of 2 or more")]
    AdaptiveAlone,
    /// Attempts that do not suffice for the replicas.
    #[error("the number of attempts must not be less than the number of replicas")]
    FewerAttemptsThanReplicas,
    /// Named providers that do not suffice for the quorum.
    #[error("a request that names providers must name as many as its quorum needs")]
    FewerNamedThanQuorum,
    /// More than 32 requirements.
    #[error("a request has at most 32 requirements")]
    TooManyRequirements,
    /// More than 32 values in a requirement.
    #[error("a requirement has at most 32 values")]
    TooManyValues,
    /// More than 64 named providers.
    #[error("a request names at most 64 providers")]
    TooManyNamed,
    /// An auction of a job in open dispatch.
    #[error("only a leased job takes offers")]
    OpenAuction,
    /// More than 16 inputs.
    #[error("a job has at most 16 other jobs as inputs")]
    TooManyInputs,
    /// Inputs of a job in open dispatch.
    #[error("only a leased job waits for others")]
    OpenInputs,
    /// Operands that do not fit the operator.
    #[error("the values of a requirement do not fit its operator")]
    WrongOperands,
    /// More than 64 capabilities.
    #[error("an advert has at most 64 capabilities")]
    TooManyCaps,
    /// More than 32 conditions in an advert.
    #[error("an advert has at most 32 conditions on jobs")]
    TooManyAccepts,
    /// More than 8 wishes for an order.
    #[error("a request has at most 8 wishes for an order of providers")]
    TooManyRanks,
    /// More than 64 parameters.
    #[error("a request has at most 64 parameters")]
    TooManyParams,
    /// More than 256 offers.
    #[error("an advert has at most 256 job kinds")]
    TooManyOffers,
    /// An attribute without a name.
    #[error("an attribute must have a name")]
    EmptyName,
    /// A name or text over 256 bytes.
    #[error("a name or a text value has at most 256 bytes")]
    TextTooLong,
    /// A quorum of no validators, or of more than are asked for.
    #[error("the quorum of validators must be from 1 to their number")]
    WrongPanel,
    /// Validators of a job in open dispatch.
    #[error("only a leased job has validators")]
    OpenPanel,
    /// What only the relay may ask.
    #[error("only the relay orders validators")]
    NotAnOrder,
}

fn stale_detail(own: u64, reason: Option<&Reason>) -> String {
    match reason {
        Some(reason) => reason.to_string(),
        None => format!("your lease on this job is {own}"),
    }
}

fn unfit_detail(validate: Validation) -> &'static str {
    match validate {
        Validation::Exact => "a result of this job is compared by its digest and must have one",
        Validation::Verdict => "a validator says pass, fail, outlier or copy",
        Validation::Tolerance { .. } => {
            "a result of this job is 1 to 256 decimal numbers of up to 18 digits and 12 decimal places"
        }
    }
}

fn end_word(end: &End) -> &'static str {
    match end {
        End::Succeeded { .. } => "it has its result",
        End::Failed => "it failed",
        End::Cancelled => "it was cancelled",
        End::Expired => "its deadline passed",
    }
}
