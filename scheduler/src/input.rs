//! What the relay tells the scheduler.

use crate::advert::Advert;
use crate::id::{CustomerId, JobId, ProviderId, ResultId};
use crate::money::Marks;
use crate::request::Request;
use crate::validation::Answer;
use serde::{Deserialize, Serialize};

/// What a provider says about a job it works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Feedback {
    /// It has begun, or is still at it.
    Processing,
    /// Part of the result.
    Partial,
    /// It says that it is done; only a result ends the job, so this is a heartbeat.
    Success,
    /// It gives up.
    Error {
        /// Why, in its words; cut to 256 bytes.
        reason: String,
    },
    /// It would do the job for so much.
    Offer {
        /// The message that says so.
        offer: ResultId,
        /// How much, in millisatoshi.
        amount_msat: u64,
    },
    /// It waits for money.
    PaymentRequired {
        /// How much, in millisatoshi.
        amount_msat: Option<u64>,
    },
}

/// One thing that happened outside.
#[expect(clippy::large_enum_variant, reason = "one is there at a time, and a request is the usual one")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// A provider published an advert; it replaces the one before. An advert may be old: it is no sign of life.
    Advertise {
        /// Who.
        provider: ProviderId,
        /// What it offers.
        advert: Advert,
    },
    /// A provider took its advert back. Its leases go on, it gets no new ones.
    Unadvertise {
        /// Who.
        provider: ProviderId,
    },
    /// A provider signed something just now: liveness of one without an authenticated connection.
    /// Nothing happens when it is unknown or online.
    Seen {
        /// Who.
        provider: ProviderId,
    },
    /// The first authenticated connection of a public key. The caller may leave out keys that have neither an advert
    /// nor a lease, if it says `Online` after their advert.
    Online {
        /// Who.
        provider: ProviderId,
    },
    /// Its last authenticated connection is gone.
    Offline {
        /// Who.
        provider: ProviderId,
    },
    /// A customer asks for work.
    Request {
        /// The id of the request.
        job: JobId,
        /// Who asks.
        customer: CustomerId,
        /// What for.
        request: Request,
    },
    /// A provider reports on a job.
    Feedback {
        /// Which job.
        job: JobId,
        /// Who reports.
        provider: ProviderId,
        /// The lease number that it names, if any.
        lease: Option<u64>,
        /// What it says.
        feedback: Feedback,
    },
    /// A provider delivers.
    Result {
        /// Which job.
        job: JobId,
        /// Who delivers.
        provider: ProviderId,
        /// The lease number that it names, if any.
        lease: Option<u64>,
        /// The result's id.
        result: ResultId,
        /// The result's kind.
        kind: u16,
        /// What is compared, when the job [compares](crate::Job::compares); else not looked at.
        answer: Answer,
    },
    /// The customer takes the request back.
    Cancel {
        /// Which job.
        job: JobId,
        /// Who says so.
        by: CustomerId,
    },
    /// The job kinds that the connections of a provider listen for, in place of those before. Counts while it is online
    /// and has no advert: existing frameworks never advertise to the relay that they work on.
    Listen {
        /// Who.
        provider: ProviderId,
        /// For which kinds; more than 64 count as none.
        kinds: Vec<u16>,
    },
    /// The relay came back: nobody is connected. Give this once after [`restore`](crate::Scheduler::restore).
    Restarted,
    /// Time has passed: give this when [`next_deadline_ms`](crate::Scheduler::next_deadline_ms) has come.
    Tick,
    /// A provider that delivered names its price. Give this after its result.
    Quoted {
        /// For which job.
        job: JobId,
        /// Who.
        provider: ProviderId,
        /// How much, in millisatoshi.
        msat: u64,
    },
    /// A receipt says that a provider was paid.
    Claimed {
        /// For which job.
        job: JobId,
        /// Who was paid.
        provider: ProviderId,
        /// Who paid.
        payer: CustomerId,
        /// How much, in millisatoshi.
        msat: u64,
        /// Names of the payment, none of which may have been used before.
        marks: Marks,
        /// Whether the receipt proves that the money moved.
        confirmed: bool,
    },
    /// It is proven that a claimed payment's money moved.
    Confirmed {
        /// For which job.
        job: JobId,
        /// Which payment.
        payment_hash: [u8; 32],
    },
    /// Validators are ordered, as [`OrderValidation`](crate::Effect::OrderValidation) asks. Give this in the same atomic batch.
    Examine {
        /// Whose result they look at.
        job: JobId,
        /// The id of the order.
        by: JobId,
    },
}
