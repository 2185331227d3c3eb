//! Validators are asked for, and what they find is followed.

use super::{Turn, verdicts_of};
use crate::effect::Effect;
use crate::examination::{Panel, order, until_ms};
use crate::id::{JobId, ResultId};
use crate::record::Fact;
use crate::refusal::Refusal;
use crate::validation::Verdict;

impl Turn<'_> {
    /// A job has what is to be looked at: the relay is to order that.
    pub(super) fn ask_validators(&mut self, id: JobId, result: ResultId, panel: Panel) {
        let Some(job) = self.state.jobs.get(&id) else {
            return;
        };
        let (customer, until_ms) = (job.customer, until_ms(&job.terms, self.now_ms, self.config.validation_timeout_ms));
        self.record(Fact::Examining { job: id, until_ms });
        self.step.effects.push(Effect::OrderValidation { job: id, customer, result, panel, until_ms });
        self.touched.push(id);
    }

    /// The relay has an order for validators.
    pub(super) fn examine(&mut self, id: JobId, by: JobId) -> Result<(), Refusal> {
        let job = self.known(id)?;
        let waiting = job.examination.filter(|examination| examination.by.is_none());
        let (Some(examination), Some(panel)) = (waiting, job.request.panel) else {
            return Err(Refusal::NotExamined);
        };
        if self.state.jobs.contains_key(&by) {
            return Err(Refusal::DuplicateJob);
        }
        if self.state.index.open >= self.config.jobs_max {
            return Err(Refusal::TooManyJobs { max: self.config.jobs_max });
        }
        let request = order(job, panel, examination.until_ms, self.config.attempts_max);
        let customer = job.customer;
        let rank = self.state.customer_rank(customer);
        self.enter(by, (customer, rank), request);
        self.touched.push(id);
        Ok(())
    }

    /// A job of validators is over; `None`: they did not decide.
    pub(super) fn conclude(&mut self, by: JobId, found: Option<Verdict>) {
        let examined = self.state.jobs.get(&by).and_then(|job| job.request.examines);
        let waits = |job: &JobId| {
            let job = self.state.jobs.get(job).filter(|job| job.is_open());
            job.and_then(|job| job.examination).is_some_and(|examination| examination.by == Some(by))
        };
        if let Some(id) = examined.filter(waits) {
            self.follow(id, found);
        }
    }

    /// Ends the job with what was looked at, or goes on without it.
    pub(super) fn follow(&mut self, id: JobId, found: Option<Verdict>) {
        let Some(job) = self.state.jobs.get(&id) else {
            return;
        };
        let Some(group) = job.quorum() else {
            panic!("{id:?} has nothing to look at");
        };
        let is_rejected = found.is_some_and(Verdict::rejects);
        let members = job.submissions.iter().zip(&group.members).filter(|(_, member)| **member && is_rejected);
        let rejected: Vec<ResultId> = members.map(|(submission, _)| submission.result).collect();
        self.record(Fact::Examined { job: id, found, rejected: rejected.clone() });
        if let Some(job) = self.state.jobs.get(&id) {
            self.step.effects.extend(verdicts_of(job, &rejected));
        }
        self.touched.push(id);
        if is_rejected {
            self.go_on(id);
        } else {
            self.accept(id);
        }
    }
}
