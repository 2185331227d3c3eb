//! A job: its request, where it stands, and the leases it used up.

use crate::effect::{End, JobView, Status};
use crate::id::{CustomerId, JobId, ProviderId, ResultId};
use crate::lease::{Attempt, Lease};
use crate::request::{Dispatch, Request};
use serde::{Deserialize, Serialize};

/// What the scheduler grants a request: its wishes, cut to the operator's bounds. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How long a leaseholder may take to say anything.
    pub accept_ms: u64,
    /// How long a run may take.
    pub run_ms: u64,
    /// How long a provider waits for money.
    pub pay_ms: u64,
    /// The longest silence while running.
    pub heartbeat_ms: Option<u64>,
    /// Leases that the job may use up.
    pub attempts: u32,
    /// When the whole job must have ended.
    pub deadline_ms: u64,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Waits for an eligible provider.
    Queued,
    /// Everybody may answer.
    Open,
    /// The leaseholder has not said anything yet.
    Leased {
        /// The live lease.
        lease: Lease,
        /// It must have said something by then.
        accept_by_ms: u64,
    },
    /// The leaseholder works.
    Running {
        /// The live lease.
        lease: Lease,
        /// It must have delivered by then.
        run_by_ms: u64,
        /// It must have said something by then.
        heartbeat_by_ms: Option<u64>,
    },
    /// The leaseholder waits for money.
    AwaitingPayment {
        /// The live lease.
        lease: Lease,
        /// How much, in millisatoshi.
        amount_msat: Option<u64>,
        /// The customer must have paid by then.
        pay_by_ms: u64,
        /// What is left of the run when it goes on.
        run_left_ms: u64,
    },
    /// Over.
    Ended {
        /// How.
        end: End,
        /// Who delivered, or else the last leaseholder.
        provider: Option<ProviderId>,
        /// When.
        at_ms: u64,
        /// Remembered until then.
        forget_at_ms: u64,
    },
}

impl Phase {
    /// Where a job begins.
    pub(crate) fn first(dispatch: Dispatch) -> Self {
        match dispatch {
            Dispatch::Leased => Phase::Queued,
            Dispatch::Open => Phase::Open,
        }
    }
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The id of its request.
    pub id: JobId,
    /// Whose it is.
    pub customer: CustomerId,
    /// As asked; after the end without requirements and named providers.
    pub request: Request,
    /// As granted.
    pub terms: Terms,
    /// Place in the order of arrival of all jobs: the queue's order.
    pub arrival: u64,
    /// When it arrived.
    pub arrived_ms: u64,
    /// Leases that are over without a result of their own, oldest first; at most `terms.attempts`.
    pub attempts: Vec<Attempt>,
    /// Where it stands.
    pub phase: Phase,
}

/// Which deadline of a job comes next. In the order in which they win a tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// The whole job's.
    Job,
    /// The disconnected leaseholder's return.
    Grace,
    /// The leaseholder's first word.
    Accept,
    /// The result.
    Run,
    /// The next word.
    Heartbeat,
    /// The customer's payment.
    Pay,
}

/// What a provider is to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// It holds the live lease.
    Holder(&'a Lease),
    /// It held a lease that is over.
    Past(&'a Attempt),
    /// It delivered the accepted result.
    Winner,
    /// It never held a lease.
    Stranger,
}

impl Job {
    /// Whether it has not ended.
    pub fn is_open(&self) -> bool {
        self.end().is_none()
    }

    /// How it ended.
    pub fn end(&self) -> Option<&End> {
        match &self.phase {
            Phase::Ended { end, .. } => Some(end),
            Phase::Queued
            | Phase::Open
            | Phase::Leased { .. }
            | Phase::Running { .. }
            | Phase::AwaitingPayment { .. } => None,
        }
    }

    /// The live lease.
    pub fn lease(&self) -> Option<&Lease> {
        match &self.phase {
            Phase::Leased { lease, .. } | Phase::Running { lease, .. } | Phase::AwaitingPayment { lease, .. } => {
                Some(lease)
            }
            Phase::Queued | Phase::Open | Phase::Ended { .. } => None,
        }
    }

    pub(crate) fn lease_mut(&mut self) -> Option<&mut Lease> {
        match &mut self.phase {
            Phase::Leased { lease, .. } | Phase::Running { lease, .. } | Phase::AwaitingPayment { lease, .. } => {
                Some(lease)
            }
            Phase::Queued | Phase::Open | Phase::Ended { .. } => None,
        }
    }

    /// The next deadline of an open job and when it is.
    pub fn next_deadline(&self) -> Option<(u64, Deadline)> {
        let (lease, own, second) = match &self.phase {
            Phase::Queued | Phase::Open => (None, None, None),
            Phase::Leased { lease, accept_by_ms } => (Some(lease), Some((*accept_by_ms, Deadline::Accept)), None),
            Phase::Running { lease, run_by_ms, heartbeat_by_ms } => (
                Some(lease),
                Some((*run_by_ms, Deadline::Run)),
                heartbeat_by_ms.map(|by_ms| (by_ms, Deadline::Heartbeat)),
            ),
            Phase::AwaitingPayment { lease, pay_by_ms, .. } => (Some(lease), Some((*pay_by_ms, Deadline::Pay)), None),
            Phase::Ended { .. } => return None,
        };
        let whole = Some((self.terms.deadline_ms, Deadline::Job));
        let grace = lease.and_then(|lease| lease.grace_until_ms).map(|by_ms| (by_ms, Deadline::Grace));
        [whole, grace, own, second].into_iter().flatten().min()
    }

    /// What this provider is to the job.
    pub fn standing(&self, provider: ProviderId) -> Standing<'_> {
        if let Some(lease) = self.lease().filter(|lease| lease.provider == provider) {
            return Standing::Holder(lease);
        }
        if let Some(attempt) = self.attempts.iter().find(|attempt| attempt.provider == provider) {
            return Standing::Past(attempt);
        }
        match &self.phase {
            Phase::Ended { end: End::Succeeded { .. }, provider: Some(winner), .. } if *winner == provider => {
                Standing::Winner
            }
            Phase::Queued
            | Phase::Open
            | Phase::Leased { .. }
            | Phase::Running { .. }
            | Phase::AwaitingPayment { .. }
            | Phase::Ended { .. } => Standing::Stranger,
        }
    }

    /// Whether it waits for its leaseholder to come back.
    pub(crate) fn is_in_grace(&self) -> bool {
        self.lease().is_some_and(|lease| lease.grace_until_ms.is_some())
    }

    /// Sets or lifts the grace of the live lease.
    pub(crate) fn set_grace(&mut self, until_ms: Option<u64>) {
        if let Some(lease) = self.lease_mut() {
            lease.grace_until_ms = until_ms;
        }
    }

    /// Moves the live lease's own deadlines to no earlier than this, within the job's.
    pub(crate) fn extend_to(&mut self, at_ms: u64) {
        let at_ms = at_ms.min(self.terms.deadline_ms);
        match &mut self.phase {
            Phase::Leased { accept_by_ms, .. } => *accept_by_ms = at_ms.max(*accept_by_ms),
            Phase::Running { run_by_ms, heartbeat_by_ms, .. } => {
                *run_by_ms = at_ms.max(*run_by_ms);
                *heartbeat_by_ms = heartbeat_by_ms.map(|by_ms| at_ms.max(by_ms));
            }
            Phase::AwaitingPayment { pay_by_ms, .. } => *pay_by_ms = at_ms.max(*pay_by_ms),
            Phase::Queued | Phase::Open | Phase::Ended { .. } => {}
        }
    }

    /// Whether this provider had its chance.
    pub fn has_tried(&self, provider: ProviderId) -> bool {
        self.attempts.iter().any(|attempt| attempt.provider == provider)
    }

    /// Whether the request lets this provider hold a lease.
    pub fn admits(&self, provider: ProviderId) -> bool {
        self.request.providers.is_empty() || self.request.providers.contains(&provider)
    }

    /// The number of the next attempt, from 1.
    pub fn next_attempt(&self) -> u32 {
        u32::try_from(self.attempts.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Leases granted so far when none is live. The one that brought the result is not among `attempts`, unless it
    /// was late.
    fn last_attempt(&self) -> u32 {
        match &self.phase {
            Phase::Ended { end: End::Succeeded { .. }, provider: Some(winner), .. }
                if self.request.dispatch == Dispatch::Leased && !self.has_tried(*winner) =>
            {
                self.next_attempt()
            }
            Phase::Queued
            | Phase::Open
            | Phase::Leased { .. }
            | Phase::Running { .. }
            | Phase::AwaitingPayment { .. }
            | Phase::Ended { .. } => self.next_attempt() - 1,
        }
    }

    /// The job as the public sees it.
    pub fn view(&self) -> JobView {
        let lease = self.lease();
        let (amount_msat, result, winner) = self.payment_and_result();
        JobView {
            job: self.id,
            customer: self.customer,
            kind: self.request.kind,
            status: self.status(),
            provider: lease.map(|lease| lease.provider).or(winner),
            lease: lease.map(|lease| lease.number),
            attempt: lease.map_or_else(|| self.last_attempt(), |lease| lease.attempt),
            expires_at_ms: self.next_deadline().map(|(at_ms, _)| at_ms),
            deadline_ms: self.terms.deadline_ms,
            amount_msat,
            result,
        }
    }

    /// Where it stands, in one word.
    pub fn status(&self) -> Status {
        match &self.phase {
            Phase::Queued => Status::Queued,
            Phase::Open => Status::Open,
            Phase::Leased { .. } => Status::Leased,
            Phase::Running { .. } => Status::Running,
            Phase::AwaitingPayment { .. } => Status::AwaitingPayment,
            Phase::Ended { end: End::Succeeded { .. }, .. } => Status::Succeeded,
            Phase::Ended { end: End::Failed, .. } => Status::Failed,
            Phase::Ended { end: End::Cancelled, .. } => Status::Cancelled,
            Phase::Ended { end: End::Expired, .. } => Status::Expired,
        }
    }

    fn payment_and_result(&self) -> (Option<u64>, Option<ResultId>, Option<ProviderId>) {
        match &self.phase {
            Phase::AwaitingPayment { amount_msat, .. } => (*amount_msat, None, None),
            Phase::Ended { end: End::Succeeded { result }, provider, .. } => (None, Some(*result), *provider),
            Phase::Ended { end: End::Failed | End::Cancelled | End::Expired, provider, .. } => (None, None, *provider),
            Phase::Queued | Phase::Open | Phase::Leased { .. } | Phase::Running { .. } => (None, None, None),
        }
    }
}
