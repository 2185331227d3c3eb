//! A request comes in.

use super::Turn;
use crate::config::Config;
use crate::fairness::Span;
use crate::id::{CustomerId, JobId};
use crate::job::Terms;
use crate::record::Fact;
use crate::refusal::Refusal;
use crate::request::{Dispatch, Request};
use crate::state::State;

impl Turn<'_> {
    pub(super) fn admit(&mut self, job: JobId, customer: CustomerId, mut request: Request) -> Result<(), Refusal> {
        let rank = self.state.customer_rank(customer);
        self.check_request(job, (customer, rank), &request)?;
        request.providers.sort_unstable();
        request.providers.dedup();
        request.inputs.sort_unstable_by_key(|input| (input.job, input.result.is_none()));
        request.inputs.dedup_by_key(|input| input.job);
        // Whoever answers in open dispatch is not given its inputs.
        request.may_open &= request.inputs.is_empty() && request.auction.is_none() && request.panel.is_none();
        self.resolve_inputs(&mut request);
        self.check_inputs(job, &request)?;
        self.enter(job, (customer, rank), request);
        Ok(())
    }

    /// Takes a job that nothing speaks against.
    pub(super) fn enter(&mut self, job: JobId, (customer, rank): (CustomerId, u32), request: Request) {
        let times = (self.now_ms, self.inputs_by_ms(&request));
        let replicas = if request.dispatch == Dispatch::Open { 0 } else { request.replicas };
        let span = self.state.fairness.span(request.kind, customer, rank, replicas);
        let terms = Terms { span, ..Terms::grant(self.config, &request, times, rank) };
        let dispatch = request.dispatch;
        let arrival = self.state.next_arrival;
        self.record(Fact::Requested { job, customer, request: Box::new(request), terms });
        self.touched.push(job);
        match dispatch {
            Dispatch::Leased if self.open_bids(job) => {}
            Dispatch::Leased => self.wakes.job((span.start, arrival), job),
            Dispatch::Open => {}
        }
    }

    fn check_request(&self, job: JobId, (customer, rank): (CustomerId, u32), request: &Request) -> Result<(), Refusal> {
        if self.state.jobs.contains_key(&job) {
            return Err(Refusal::DuplicateJob);
        }
        if let Some(flaw) = request.flaw() {
            return Err(Refusal::InvalidRequest(flaw));
        }
        if request.replicas > self.config.replicas_max {
            return Err(Refusal::TooManyReplicas { max: self.config.replicas_max });
        }
        if request.panel.is_some_and(|panel| panel.validators > self.config.replicas_max) {
            return Err(Refusal::TooManyValidators { max: self.config.replicas_max });
        }
        if request.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= self.now_ms) {
            return Err(Refusal::DeadlinePassed);
        }
        if self.state.index.open >= self.config.jobs_max {
            return Err(Refusal::TooManyJobs { max: self.config.jobs_max });
        }
        let own = self.state.index.open_by_customer.get(&customer).copied().unwrap_or(0);
        let max = State::quota(rank, self.config.jobs_per_customer_max);
        if own >= max {
            return Err(Refusal::TooManyJobsOfCustomer { max });
        }
        Ok(())
    }
}

impl Terms {
    fn grant(config: &Config, request: &Request, (now_ms, begins_ms): (u64, u64), customer_rank: u32) -> Self {
        let wish = |asked: Option<u64>, default: u64, max: u64| asked.unwrap_or(default).min(max);
        let more = request.replicas.saturating_sub(1);
        let wish_attempts = request.attempts.unwrap_or(config.attempts_default.saturating_add(more));
        let latest_ms = now_ms.saturating_add(config.job_timeout_max_ms);
        // Who waits for others has its time after them.
        let default_ms = begins_ms.saturating_add(config.job_timeout_ms);
        Self {
            accept_ms: wish(request.accept_timeout_ms, config.accept_timeout_ms, config.run_timeout_max_ms),
            run_ms: wish(request.run_timeout_ms, config.run_timeout_ms, config.run_timeout_max_ms),
            pay_ms: wish(request.pay_timeout_ms, config.pay_timeout_ms, config.job_timeout_max_ms),
            heartbeat_ms: request.heartbeat_timeout_ms.map(|ms| ms.min(config.run_timeout_max_ms)),
            // Each replica more may need an attempt more.
            attempts: wish_attempts.min(config.attempts_max).max(request.replicas),
            deadline_ms: wish(request.deadline_ms, default_ms, latest_ms),
            open_at_ms: config.open_after_ms.filter(|_| request.opens()).map(|ms| now_ms.saturating_add(ms)),
            customer_rank,
            span: Span::default(),
        }
    }

    /// A point in time so far from now, but within the job's deadline.
    pub(crate) fn by(&self, now_ms: u64, duration_ms: u64) -> u64 {
        now_ms.saturating_add(duration_ms).min(self.deadline_ms)
    }
}
