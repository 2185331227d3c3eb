//! Providers and customers speak about a job.

use super::Turn;
use crate::effect::End;
use crate::id::{CustomerId, JobId, ProviderId, ResultId};
use crate::input::Feedback;
use crate::job::{Job, Phase, Standing};
use crate::lease::Reason;
use crate::record::Fact;
use crate::refusal::Refusal;
use crate::request::Dispatch;

impl Turn<'_> {
    pub(super) fn hear(
        &mut self,
        id: JobId,
        provider: ProviderId,
        named: Option<u64>,
        feedback: Feedback,
    ) -> Result<(), Refusal> {
        let job = self.known(id)?;
        match job.request.dispatch {
            Dispatch::Open => return Ok(()),
            Dispatch::Leased => {}
        }
        match job.standing(provider) {
            Standing::Holder(lease) => own_lease(named, lease.number)?,
            Standing::Past(attempt) => {
                ended(job)?;
                return Err(Refusal::StaleLease {
                    named: named.unwrap_or(attempt.lease),
                    own: attempt.lease,
                    reason: Some(attempt.reason.clone()),
                });
            }
            Standing::Winner => return ended(job),
            Standing::Stranger => return Err(Refusal::NeverLeased),
        }
        match feedback {
            Feedback::Processing | Feedback::Partial => self.run(id, true),
            Feedback::Success => self.run(id, false),
            Feedback::Error { reason } => self.fail_attempt(id, Reason::error(reason)),
            Feedback::PaymentRequired { amount_msat } => self.await_payment(id, amount_msat),
        }
        Ok(())
    }

    pub(super) fn receive(
        &mut self,
        id: JobId,
        provider: ProviderId,
        named: Option<u64>,
        result: ResultId,
        kind: u16,
    ) -> Result<(), Refusal> {
        let job = self.known(id)?;
        let late = match job.request.dispatch {
            Dispatch::Open => false,
            Dispatch::Leased => held_lease(job, provider, named)?,
        };
        right_kind(job, kind)?;
        match (job.end(), job.request.dispatch) {
            (Some(End::Succeeded { result: accepted }), Dispatch::Leased | Dispatch::Open) if *accepted == result => {
                return Err(Refusal::DuplicateResult);
            }
            (Some(end), Dispatch::Leased) => return Err(Refusal::AlreadyEnded { end: end.clone() }),
            (Some(_), Dispatch::Open) => return Ok(()),
            (None, Dispatch::Leased | Dispatch::Open) => {}
        }
        if late {
            self.withdraw(id, Reason::LateResultWon);
        }
        self.end(id, End::Succeeded { result }, Some(provider), late);
        Ok(())
    }

    pub(super) fn cancel(&mut self, id: JobId, by: CustomerId) -> Result<(), Refusal> {
        let job = self.known(id)?;
        if job.customer != by {
            return Err(Refusal::NotTheCustomer);
        }
        if job.is_open() {
            self.end_without_result(id, End::Cancelled, Reason::Cancelled);
        }
        Ok(())
    }

    fn known(&self, id: JobId) -> Result<&Job, Refusal> {
        self.state.jobs.get(&id).ok_or(Refusal::UnknownJob)
    }

    /// The leaseholder works. `paid`: it would not, were it still waiting for money.
    fn run(&mut self, id: JobId, paid: bool) {
        let Some(job) = self.state.jobs.get(&id) else {
            return;
        };
        let run_by_ms = match &job.phase {
            Phase::Leased { .. } => job.terms.by(self.now_ms, job.terms.run_ms),
            Phase::Running { run_by_ms, .. } => *run_by_ms,
            Phase::AwaitingPayment { run_left_ms, .. } if paid => job.terms.by(self.now_ms, *run_left_ms),
            Phase::AwaitingPayment { .. } | Phase::Queued | Phase::Open | Phase::Ended { .. } => {
                return;
            }
        };
        let heartbeat_by_ms = job.terms.heartbeat_ms.map(|ms| job.terms.by(self.now_ms, ms));
        match &job.phase {
            Phase::Running { heartbeat_by_ms: known, .. } if *known == heartbeat_by_ms => {}
            Phase::Running { .. } => self.record(Fact::Ran { job: id, run_by_ms, heartbeat_by_ms }),
            Phase::Queued
            | Phase::Open
            | Phase::Leased { .. }
            | Phase::AwaitingPayment { .. }
            | Phase::Ended { .. } => {
                self.record(Fact::Ran { job: id, run_by_ms, heartbeat_by_ms });
                self.touched.insert(id);
            }
        }
    }

    /// The leaseholder waits for money. Asking again may change the amount, not the time.
    fn await_payment(&mut self, id: JobId, amount_msat: Option<u64>) {
        let Some(job) = self.state.jobs.get(&id) else {
            return;
        };
        let fresh_ms = job.terms.by(self.now_ms, job.terms.pay_ms);
        let (pay_by_ms, run_left_ms) = match &job.phase {
            Phase::Leased { .. } => (fresh_ms, job.terms.run_ms),
            Phase::Running { run_by_ms, .. } => (fresh_ms, run_by_ms.saturating_sub(self.now_ms)),
            Phase::AwaitingPayment { amount_msat: known, .. } if *known == amount_msat => return,
            Phase::AwaitingPayment { pay_by_ms, run_left_ms, .. } => (*pay_by_ms, *run_left_ms),
            Phase::Queued | Phase::Open | Phase::Ended { .. } => return,
        };
        self.record(Fact::PaymentAsked { job: id, amount_msat, pay_by_ms, run_left_ms });
        self.touched.insert(id);
    }
}

/// Refuses a lease number that is not the sender's live one; naming none is fine, standard clients do not know it.
fn own_lease(named: Option<u64>, own: u64) -> Result<(), Refusal> {
    match named {
        Some(named) if named != own => Err(Refusal::StaleLease { named, own, reason: None }),
        Some(_) | None => Ok(()),
    }
}

/// Whether the result comes from an earlier leaseholder; refused when the sender never was one.
fn held_lease(job: &Job, provider: ProviderId, named: Option<u64>) -> Result<bool, Refusal> {
    match job.standing(provider) {
        Standing::Holder(lease) => own_lease(named, lease.number).map(|()| false),
        Standing::Past(attempt) => match named {
            Some(named) if named != attempt.lease => {
                Err(Refusal::StaleLease { named, own: attempt.lease, reason: Some(attempt.reason.clone()) })
            }
            Some(_) | None => Ok(true),
        },
        Standing::Winner => Ok(false),
        Standing::Stranger => Err(Refusal::NeverLeased),
    }
}

fn right_kind(job: &Job, got: u16) -> Result<(), Refusal> {
    let expected = job.request.result_kind();
    if got == expected { Ok(()) } else { Err(Refusal::WrongResultKind { expected, got }) }
}

fn ended(job: &Job) -> Result<(), Refusal> {
    match job.end() {
        Some(end) => Err(Refusal::AlreadyEnded { end: end.clone() }),
        None => Ok(()),
    }
}
