//! The journal: what happened, in the past tense.

use crate::advert::Advert;
use crate::customer::Customer;
use crate::effect::End;
use crate::id::{CustomerId, JobId, ProviderId, ResultId};
use crate::job::{Job, Terms};
use crate::lease::Reason;
use crate::money::Receipt;
use crate::provider::Provider;
use crate::quantile::Pace;
use crate::request::Request;
use crate::validation::{Answer, Verdict};
use serde::{Deserialize, Serialize};

/// A fact and when it became one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Milliseconds since the Unix epoch; never less than in the record before.
    pub at_ms: u64,
    /// What happened.
    pub fact: Fact,
}

/// Something that happened. It carries what was decided, not how, so that neither a new configuration nor a new
/// scoring formula changes what an old journal means.
///
/// The order of the variants is part of the stored format: new ones go to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// A provider offers this from now on, in so many slots.
    Advertised {
        /// Who.
        provider: ProviderId,
        /// What.
        advert: Advert,
        /// Slots that count.
        slots: u32,
    },
    /// A provider offers nothing any more.
    Unadvertised {
        /// Who.
        provider: ProviderId,
    },
    /// A provider without a connection is alive until then.
    Seen {
        /// Who.
        provider: ProviderId,
        /// Until when it counts as alive.
        until_ms: u64,
    },
    /// A provider was not seen for too long.
    Lapsed {
        /// Who.
        provider: ProviderId,
    },
    /// A provider has an authenticated connection; the grace of its leases is lifted.
    CameOnline {
        /// Who.
        provider: ProviderId,
    },
    /// A provider's last authenticated connection is gone; its leases are in grace.
    WentOffline {
        /// Who.
        provider: ProviderId,
        /// It must be back by then to keep its leases.
        grace_until_ms: u64,
    },
    /// The relay was away: everybody is offline, and nobody is held to a deadline before the grace is over.
    Restarted {
        /// Leases last at least until then.
        grace_until_ms: u64,
    },
    /// A provider made room for another, or left nothing to remember.
    ProviderForgotten {
        /// Who.
        provider: ProviderId,
    },
    /// A job was taken.
    Requested {
        /// Which.
        job: JobId,
        /// Whose.
        customer: CustomerId,
        /// As asked.
        request: Box<Request>,
        /// As granted.
        terms: Terms,
    },
    /// A provider holds a lease.
    Leased {
        /// On which job.
        job: JobId,
        /// Who.
        provider: ProviderId,
        /// Fencing number.
        lease: u64,
        /// It must have said something by then.
        accept_by_ms: u64,
        /// How long its run may take.
        run_ms: u64,
        /// What it is paid by its offer.
        agreed_msat: Option<u64>,
    },
    /// A leaseholder works, from now or again after a payment.
    Ran {
        /// On which job.
        job: JobId,
        /// Under which lease.
        lease: u64,
        /// It must have delivered by then.
        run_by_ms: u64,
        /// It must have said something by then.
        heartbeat_by_ms: Option<u64>,
        /// It is slow from then on, and its job has no time to lose.
        straggles_at_ms: Option<u64>,
    },
    /// A leaseholder waits for money; its run stands still.
    PaymentAsked {
        /// For which job.
        job: JobId,
        /// Under which lease.
        lease: u64,
        /// How much, in millisatoshi.
        amount_msat: Option<u64>,
        /// The customer must have paid by then.
        pay_by_ms: u64,
        /// What is left of the run when it goes on.
        run_left_ms: u64,
    },
    /// A lease is over without a result of its own.
    LeaseEnded {
        /// On which job.
        job: JobId,
        /// Which lease.
        lease: u64,
        /// Why.
        reason: Reason,
    },
    /// A provider delivered. Its live lease, if it has one, is over.
    Submitted {
        /// For which job.
        job: JobId,
        /// Who.
        provider: ProviderId,
        /// The result.
        result: ResultId,
        /// What is compared.
        answer: Answer,
        /// The lower bound of its reputation for the kind, in thousandths.
        low: u32,
    },
    /// A job is over. No lease is live.
    Ended {
        /// Which.
        job: JobId,
        /// How.
        end: End,
        /// Who delivered, or else the last leaseholder.
        provider: Option<ProviderId>,
        /// What was decided about each submission, in their order; empty when nothing was.
        verdicts: Vec<Verdict>,
        /// Remembered until then.
        forget_at_ms: u64,
    },
    /// An ended job is not remembered any more.
    Forgotten {
        /// Which.
        job: JobId,
    },
    /// First row of a checkpoint.
    CountersRestored {
        /// The number of the next lease.
        next_lease: u64,
        /// The arrival number of the next job.
        next_arrival: u64,
    },
    /// A provider, in a checkpoint.
    ProviderRestored(Box<Provider>),
    /// A job, in a checkpoint.
    JobRestored(Box<Job>),
    /// Evidence halves in this time from now on.
    HalfLifeSet {
        /// In milliseconds.
        half_life_ms: u64,
    },
    /// A customer's past made room for another's.
    CustomerForgotten {
        /// Whose.
        customer: CustomerId,
    },
    /// A customer's past, in a checkpoint.
    CustomerRestored(Box<Customer>),
    /// Offers are taken for a job.
    BidsOpened {
        /// Which.
        job: JobId,
        /// Until then.
        until_ms: u64,
    },
    /// A provider made an offer, or another one.
    Bade {
        /// For which job.
        job: JobId,
        /// Who.
        provider: ProviderId,
        /// The message that says so.
        offer: ResultId,
        /// How much, in millisatoshi.
        amount_msat: u64,
    },
    /// No more offers are taken.
    BidsClosed {
        /// For which job.
        job: JobId,
    },
    /// A job has the result of another that it waited for.
    InputCame {
        /// Which job.
        job: JobId,
        /// The other.
        input: JobId,
        /// Its result.
        result: ResultId,
    },
    /// A job that another one waits for ended without a result.
    InputFailed {
        /// Who waits in vain.
        job: JobId,
        /// For which.
        input: JobId,
    },
    /// A leaseholder is slow: another provider is to do the job as well.
    Straggled {
        /// Which job.
        job: JobId,
        /// Under which lease.
        lease: u64,
    },
    /// A job gets no leases for a while.
    Rested {
        /// Which.
        job: JobId,
        /// Until then.
        until_ms: u64,
    },
    /// A job may have leases again.
    Woke {
        /// Which.
        job: JobId,
    },
    /// How long results of a kind take, in a checkpoint.
    RunsRestored {
        /// The kind.
        kind: u16,
        /// How often they took how long.
        pace: Pace,
    },
    /// A provider that delivered named its price.
    Quoted {
        /// For which job.
        job: JobId,
        /// Who.
        provider: ProviderId,
        /// How much, in millisatoshi.
        msat: u64,
    },
    /// A receipt came in.
    Paid {
        /// For which job.
        job: JobId,
        /// What it says, and whether it counts.
        receipt: Receipt,
    },
    /// A payment is proven.
    Confirmed {
        /// For which job.
        job: JobId,
        /// Which payment.
        payment_hash: [u8; 32],
    },
    /// Money is due for the accepted result.
    Billed {
        /// For which job.
        job: JobId,
        /// How much, in millisatoshi.
        msat: u64,
        /// It must be paid by then.
        pay_by_ms: u64,
        /// The job is remembered until then.
        forget_at_ms: u64,
    },
    /// The accepted result is paid.
    Settled {
        /// Of which job.
        job: JobId,
        /// With how much, in millisatoshi.
        msat: u64,
        /// Whether the time to pay had passed.
        late: bool,
    },
    /// The time to pay for the accepted result has passed.
    WentUnpaid {
        /// Of which job.
        job: JobId,
    },
    /// A connected provider without an advert listens for these kinds from now on; for none: it is no walk-in any more.
    Listened {
        /// Who.
        provider: ProviderId,
        /// For which kinds.
        kinds: Vec<u16>,
        /// Slots that count.
        slots: u32,
    },
    /// A job waits on for one of the providers that are known to serve it.
    Waited {
        /// Which.
        job: JobId,
        /// When to look again.
        open_at_ms: u64,
    },
    /// The first result of an adaptive job is judged by who delivered it.
    Believed {
        /// Which job.
        job: JobId,
        /// Whether it is enough; else the job goes on as a replicated one.
        enough: bool,
    },
    /// A job that nobody known could take is for everybody from now on.
    Opened {
        /// Which.
        job: JobId,
    },
    /// Whose turn it is in the queue of a kind, in a checkpoint after its jobs.
    QueueRestored {
        /// The kind.
        kind: u16,
        /// Its virtual time.
        now: u64,
        /// When the next job of a customer starts at the earliest; at most 1,000 customers, more in further rows.
        ends: Vec<(CustomerId, u64)>,
    },
    /// A job has what validators are to look at; it waits for them.
    Examining {
        /// Which.
        job: JobId,
        /// Until then.
        until_ms: u64,
    },
    /// Validators have decided, or did not in time.
    Examined {
        /// On which job.
        job: JobId,
        /// What they say; `None`: nothing.
        found: Option<Verdict>,
        /// Results that do not count any more.
        rejected: Vec<ResultId>,
    },
}
