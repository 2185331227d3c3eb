//! Providers and customers speak about a job.

use super::Turn;
use crate::adaptive::{is_audited, is_trusted};
use crate::effect::End;
use crate::id::{CustomerId, JobId, ProviderId, ResultId};
use crate::input::Feedback;
use crate::job::{Job, Standing, Terms};
use crate::lease::{Phase, Reason};
use crate::record::Fact;
use crate::refusal::Refusal;
use crate::request::Dispatch;
use crate::validation::{Answer, Submission, Verdict};

impl Turn<'_> {
    pub(super) fn hear(
        &mut self,
        id: JobId,
        provider: ProviderId,
        named: Option<u64>,
        feedback: Feedback,
    ) -> Result<(), Refusal> {
        if let Feedback::Offer { offer, amount_msat } = feedback {
            return self.take_bid(id, provider, (offer, amount_msat));
        }
        let job = self.known(id)?;
        match job.request.dispatch {
            Dispatch::Open => return Ok(()),
            Dispatch::Leased if job.is_claimable_by(provider) => {
                self.open(id);
                return Ok(());
            }
            Dispatch::Leased => {}
        }
        let lease = match job.standing(provider) {
            Standing::Holder(lease) => {
                own_lease(named, lease.number)?;
                lease.number
            }
            // Many ask for their money once they have delivered, or say `success`; while others are awaited that moves nothing.
            Standing::Delivered(_) => {
                return match feedback {
                    Feedback::PaymentRequired { amount_msat: Some(msat) } => self.quote(id, provider, msat),
                    Feedback::PaymentRequired { amount_msat: None }
                    | Feedback::Processing
                    | Feedback::Partial
                    | Feedback::Success
                    | Feedback::Offer { .. }
                    | Feedback::Error { .. } => ended(job),
                };
            }
            Standing::Past(attempt) => {
                ended(job)?;
                return Err(Refusal::StaleLease {
                    named: named.unwrap_or(attempt.lease),
                    own: attempt.lease,
                    reason: Some(attempt.reason.clone()),
                });
            }
            Standing::Stranger => return Err(Refusal::NeverLeased),
        };
        match feedback {
            Feedback::Processing | Feedback::Partial => self.run(id, lease, true),
            Feedback::Success => self.run(id, lease, false),
            Feedback::Error { reason } if self.may_leave(id, provider) => {
                self.fail_attempt(id, lease, Reason::gave_up_waiting(reason));
            }
            Feedback::Error { reason } => self.fail_attempt(id, lease, Reason::error(reason)),
            Feedback::PaymentRequired { amount_msat } => self.await_payment(id, lease, amount_msat),
            Feedback::Offer { .. } => {}
        }
        Ok(())
    }

    pub(super) fn receive(
        &mut self,
        id: JobId,
        provider: ProviderId,
        named: Option<u64>,
        (result, kind, answer): (ResultId, u16, Answer),
    ) -> Result<(), Refusal> {
        let job = self.known(id)?;
        let claims = job.is_claimable_by(provider);
        match job.request.dispatch {
            Dispatch::Leased if !claims => held_lease(job, provider, named)?,
            Dispatch::Leased | Dispatch::Open => {}
        }
        right_kind(job, kind)?;
        if job.submissions.iter().any(|submission| submission.result == result) {
            return Err(Refusal::DuplicateResult);
        }
        match (job.end(), job.request.dispatch) {
            (Some(end), Dispatch::Leased) => return Err(Refusal::AlreadyEnded { end: end.clone() }),
            (Some(_), Dispatch::Open) => return Ok(()),
            // Everybody may speak; whom the customer wants to hear ends the job.
            (None, Dispatch::Open) if !job.admits(provider) => return Ok(()),
            (None, Dispatch::Leased | Dispatch::Open) => {}
        }
        if matches!(job.standing(provider), Standing::Delivered(_)) {
            return Err(Refusal::SecondResult);
        }
        if job.examination.is_some() {
            return Err(Refusal::UnderExamination);
        }
        let (reads, validate) = (job.reads_answers(), job.request.validate);
        if reads && !answer.suits(validate) {
            return Err(Refusal::UnfitAnswer { validate });
        }
        let answer = if reads { answer } else { Answer::Unread };
        let late = matches!(job.standing(provider), Standing::Past(_));
        if claims {
            self.open(id);
        }
        let low = self.state.low_of(provider, kind.saturating_sub(1_000));
        self.gaining(provider, |turn| turn.record(Fact::Submitted { job: id, provider, result, answer, low }));
        self.touched.push(id);
        self.weigh(id);
        self.count_votes(id, late);
        Ok(())
    }

    /// Whether the first result of an adaptive job is enough, which depends on its provider.
    fn weigh(&mut self, id: JobId) {
        let Some(job) = self.state.jobs.get(&id).filter(|job| job.request.adaptive) else {
            return;
        };
        let Some(first) = job.submissions.first() else {
            return;
        };
        let streak = self.state.providers.get(&first.provider).map_or(0, |row| row.streak);
        let enough = is_trusted(streak) && !is_audited(id, first.attempt, streak);
        self.record(Fact::Believed { job: id, enough });
    }

    /// Ends the job if a quorum agrees on a result; else others go on.
    fn count_votes(&mut self, id: JobId, late: bool) {
        let Some(job) = self.state.jobs.get(&id) else {
            return;
        };
        let Some(group) = job.quorum() else {
            return self.go_on(id);
        };
        let Some(first) = job.submissions.get(group.first) else {
            panic!("the quorum on {id:?} has no result");
        };
        let (result, panel) = (first.result, job.request.panel);
        let reason = match (job.request.replicas, late, job.backup) {
            (1, true, _) => Reason::LateResultWon,
            (1, false, Some(_)) => Reason::Outrun,
            (_, _, _) => Reason::QuorumReached,
        };
        self.withdraw_all(id, &reason);
        match panel {
            Some(panel) => self.ask_validators(id, result, panel),
            None => self.accept(id),
        }
    }

    /// Ends a job, of which no lease is live, with the result that a quorum agrees on.
    pub(super) fn accept(&mut self, id: JobId) {
        let quorum = self.state.jobs.get(&id).and_then(|job| Some((job, job.quorum()?)));
        let Some((job, first, group)) =
            quorum.and_then(|(job, group)| Some((job, job.submissions.get(group.first)?, group)))
        else {
            panic!("the quorum on {id:?} has no result");
        };
        let (winner, end) = (first.provider, End::Succeeded { result: first.result });
        let verdict = |(submission, in_group): (&Submission, &bool)| {
            submission.verdict.unwrap_or(if *in_group { Verdict::Pass } else { Verdict::Outlier })
        };
        let verdicts = job.submissions.iter().zip(&group.members).map(verdict).collect();
        let found = match (&first.answer, job.request.examines) {
            (Answer::Verdict(found), Some(_)) => Some(*found),
            (Answer::Unread | Answer::Digest(_) | Answer::Numbers(_) | Answer::Verdict(_), _) => None,
        };
        self.end(id, end, Some(winner), verdicts);
        self.settle(id);
        self.conclude(id, found);
    }

    pub(super) fn cancel(&mut self, id: JobId, by: CustomerId) -> Result<(), Refusal> {
        let job = self.known(id)?;
        if job.customer != by {
            return Err(Refusal::NotTheCustomer);
        }
        if job.is_open() {
            self.end_without_result(id, End::Cancelled, &Reason::Cancelled);
        }
        Ok(())
    }

    pub(super) fn known(&self, id: JobId) -> Result<&Job, Refusal> {
        self.state.jobs.get(&id).ok_or(Refusal::UnknownJob)
    }

    /// The leaseholder works. `paid`: it would not, were it still waiting for money.
    pub(super) fn run(&mut self, id: JobId, lease: u64, paid: bool) {
        let Some((terms, run_ms, phase)) = self.terms_and_phase(id, lease) else {
            return;
        };
        let run_by_ms = match phase {
            Phase::Offered { .. } => terms.by(self.now_ms, run_ms),
            Phase::Running { run_by_ms, .. } => run_by_ms,
            Phase::AwaitingPayment { run_left_ms, .. } if paid => terms.by(self.now_ms, run_left_ms),
            Phase::AwaitingPayment { .. } => return,
        };
        let heartbeat_by_ms = terms.heartbeat_ms.map(|ms| terms.by(self.now_ms, ms));
        let job = self.state.jobs.get(&id);
        let straggles_at_ms = job.and_then(|job| match phase {
            Phase::Offered { .. } => self.straggles_at_ms(job, run_by_ms),
            Phase::Running { .. } => job.lease(lease)?.straggles_at_ms,
            Phase::AwaitingPayment { .. } => None,
        });
        let ran = Fact::Ran { job: id, lease, run_by_ms, heartbeat_by_ms, straggles_at_ms };
        match phase {
            Phase::Running { heartbeat_by_ms: known, .. } if known == heartbeat_by_ms => {}
            Phase::Running { .. } => self.record(ran),
            Phase::Offered { .. } | Phase::AwaitingPayment { .. } => {
                self.record(ran);
                self.touched.push(id);
            }
        }
    }

    /// The leaseholder waits for money. Asking again may change the amount, not the time.
    fn await_payment(&mut self, id: JobId, lease: u64, amount_msat: Option<u64>) {
        let Some((terms, run_ms, phase)) = self.terms_and_phase(id, lease) else {
            return;
        };
        let fresh_ms = terms.by(self.now_ms, terms.pay_ms);
        let (pay_by_ms, run_left_ms) = match phase {
            Phase::Offered { .. } => (fresh_ms, run_ms),
            Phase::Running { run_by_ms, .. } => (fresh_ms, run_by_ms.saturating_sub(self.now_ms)),
            Phase::AwaitingPayment { amount_msat: known, .. } if known == amount_msat => return,
            Phase::AwaitingPayment { pay_by_ms, run_left_ms, .. } => (pay_by_ms, run_left_ms),
        };
        self.record(Fact::PaymentAsked { job: id, lease, amount_msat, pay_by_ms, run_left_ms });
        self.touched.push(id);
    }

    fn terms_and_phase(&self, id: JobId, lease: u64) -> Option<(Terms, u64, Phase)> {
        let job = self.state.jobs.get(&id)?;
        job.lease(lease).map(|lease| (job.terms, lease.run_ms, lease.phase.clone()))
    }
}

/// Refuses a lease number that is not the sender's live one; naming none is fine, standard clients do not know it.
fn own_lease(named: Option<u64>, own: u64) -> Result<(), Refusal> {
    match named {
        Some(named) if named != own => Err(Refusal::StaleLease { named, own, reason: None }),
        Some(_) | None => Ok(()),
    }
}

/// Refuses a result of one who never held a lease, or under a lease that is not its own.
fn held_lease(job: &Job, provider: ProviderId, named: Option<u64>) -> Result<(), Refusal> {
    match job.standing(provider) {
        Standing::Holder(lease) => own_lease(named, lease.number),
        Standing::Past(attempt) => match named {
            Some(named) if named != attempt.lease => {
                Err(Refusal::StaleLease { named, own: attempt.lease, reason: Some(attempt.reason.clone()) })
            }
            Some(_) | None => Ok(()),
        },
        Standing::Delivered(_) => Ok(()),
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
