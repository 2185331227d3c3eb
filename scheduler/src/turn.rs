//! One step: an input is judged, facts are recorded, effects are asked for.
//!
//! Every verb refuses before it records anything, so a refusal leaves nothing to undo.

mod admit;
mod expire;
mod grant;
mod presence;
mod report;

use crate::config::Config;
use crate::effect::{Effect, End};
use crate::id::{JobId, ProviderId};
use crate::input::Input;
use crate::job::Job;
use crate::lease::{Attempt, Lease, Reason};
use crate::record::{Fact, Record};
use crate::refusal::Refusal;
use crate::scheduler::Step;
use crate::state::State;
use crate::wake::Wakes;
use std::collections::BTreeSet;

/// The work of one step.
pub(crate) struct Turn<'a> {
    pub config: &'a Config,
    pub state: &'a mut State,
    pub wakes: &'a mut Wakes,
    pub now_ms: u64,
    step: Step,
    /// Jobs whose public state may have changed.
    touched: BTreeSet<JobId>,
}

impl<'a> Turn<'a> {
    pub fn new(config: &'a Config, state: &'a mut State, wakes: &'a mut Wakes, now_ms: u64) -> Self {
        Self { config, state, wakes, now_ms, step: Step::default(), touched: BTreeSet::new() }
    }

    pub fn take(&mut self, input: Input) -> Result<(), Refusal> {
        match input {
            Input::Advertise { provider, advert } => self.advertise(provider, advert),
            Input::Unadvertise { provider } => {
                self.unadvertise(provider);
                Ok(())
            }
            Input::Seen { provider } => {
                self.see(provider);
                Ok(())
            }
            Input::Online { provider } => self.come_online(provider),
            Input::Offline { provider } => {
                self.go_offline(provider);
                Ok(())
            }
            Input::Request { job, customer, request } => self.admit(job, customer, request),
            Input::Feedback { job, provider, lease, feedback } => self.hear(job, provider, lease, feedback),
            Input::Result { job, provider, lease, result, kind } => self.receive(job, provider, lease, result, kind),
            Input::Cancel { job, by } => self.cancel(job, by),
            Input::Restarted => {
                self.restart();
                Ok(())
            }
            Input::Tick => {
                self.expire();
                Ok(())
            }
        }
    }

    /// Ends the step: queued jobs are matched, public states told, what is beyond the bounds forgotten.
    pub fn finish(mut self) -> Step {
        self.grant_waiting();
        for job in std::mem::take(&mut self.touched) {
            if let Some(job) = self.state.jobs.get(&job) {
                self.step.effects.push(Effect::AnnounceState { view: job.view() });
            }
        }
        self.forget_surplus();
        self.step
    }

    pub fn is_untouched(&self) -> bool {
        self.step.records.is_empty() && self.step.effects.is_empty()
    }

    /// Records a fact and makes it so.
    fn record(&mut self, fact: Fact) {
        let record = Record { at_ms: self.now_ms, fact };
        if let Err(misfit) = self.state.apply(&record) {
            panic!("a record of our own does not fit: {misfit}: {record:?}");
        }
        self.step.records.push(record);
    }

    /// Ends the live lease of a job, if any, and tells both sides. The job is queued again.
    fn withdraw(&mut self, id: JobId, reason: Reason) {
        let Some((job, lease)) = self.leased_job(id) else {
            return;
        };
        let effect = Effect::AnnounceWithdrawal {
            job: id,
            customer: job.customer,
            provider: lease.provider,
            lease: lease.number,
            attempt: lease.attempt,
            reason: reason.clone(),
        };
        let provider = lease.provider;
        self.gaining(provider, |turn| turn.record(Fact::LeaseEnded { job: id, reason }));
        self.step.effects.push(effect);
        self.touched.insert(id);
    }

    fn leased_job(&self, id: JobId) -> Option<(&Job, &Lease)> {
        let job = self.state.jobs.get(&id)?;
        job.lease().map(|lease| (job, lease))
    }

    /// Ends a job and tells both sides.
    fn end(&mut self, id: JobId, end: End, provider: Option<ProviderId>, late: bool) {
        let forget_at_ms = self.now_ms.saturating_add(self.config.ended_retention_ms);
        let fact = Fact::Ended { job: id, end: end.clone(), provider, late, forget_at_ms };
        match provider {
            Some(provider) => self.gaining(provider, |turn| turn.record(fact)),
            None => self.record(fact),
        }
        let Some(job) = self.state.jobs.get(&id) else {
            panic!("{id:?} ended and is not known");
        };
        let reason_of = |attempt: &Attempt| (attempt.number, attempt.provider, attempt.reason.clone());
        self.step.effects.push(Effect::AnnounceEnd {
            job: id,
            customer: job.customer,
            provider,
            end,
            reasons: job.attempts.iter().map(reason_of).collect(),
        });
        self.touched.insert(id);
    }

    /// Ends an open job without a result: first its lease, for this reason.
    fn end_without_result(&mut self, id: JobId, end: End, reason: Reason) {
        self.withdraw(id, reason);
        let job = self.state.jobs.get(&id);
        let last = job.and_then(|job| job.attempts.last()).map(|attempt| attempt.provider);
        self.end(id, end, last, false);
    }

    /// An attempt failed: the next provider's turn, or the end.
    fn fail_attempt(&mut self, id: JobId, reason: Reason) {
        self.withdraw(id, reason);
        let Some(job) = self.state.jobs.get(&id) else {
            return;
        };
        if job.next_attempt() > job.terms.attempts {
            let last = job.attempts.last().map(|attempt| attempt.provider);
            self.end(id, End::Failed, last, false);
        } else {
            self.wakes.job(job.request.kind, job.arrival, id);
        }
    }
}
