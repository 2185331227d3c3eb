//! Invariants: what must hold after every step.

use crate::id::{JobId, ProviderId};
use crate::index::Index;
use crate::job::{Job, Phase};
use crate::lease::Lease;
use crate::matching::is_feasible;
use crate::provider::Provider;
use crate::record::{Fact, Record};
use crate::request::Dispatch;
use crate::scheduler::Scheduler;
use crate::state::State;
use std::collections::BTreeSet;

type Check = Result<(), String>;

fn hold(holds: bool, claim: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(claim()) }
}

impl Scheduler {
    /// As [`State::check`], and the bounds of the configuration, and that nobody waits who could be served.
    ///
    /// # Errors
    /// The first broken invariant, in words for a developer.
    pub fn check(&self) -> Result<(), String> {
        self.state().check()?;
        let index = &self.state().index;
        let (open, ended) = (index.open, index.ended.len());
        hold(open <= self.config().jobs_max, || format!("{open} open jobs"))?;
        hold(ended <= self.config().ended_max, || format!("{ended} ended jobs"))?;
        if self.is_settled() { self.state().check_settled() } else { Ok(()) }
    }
}

impl State {
    /// Whether every invariant holds: takes time in proportion to the whole state.
    ///
    /// # Errors
    /// The first broken invariant, in words for a developer.
    pub fn check(&self) -> Result<(), String> {
        self.jobs.keys().try_for_each(|job| self.check_job(*job))?;
        self.providers.keys().try_for_each(|provider| self.check_provider(*provider))?;
        self.check_numbers()?;
        let built = Index::build(self.jobs.values(), self.providers.values());
        hold(built == self.index, || "the indexes differ from the tables".to_owned())
    }

    /// The invariants of every job and provider that a step's records name: quick enough for after every step.
    ///
    /// # Errors
    /// The first broken invariant.
    pub fn check_touched(&self, records: &[Record]) -> Result<(), String> {
        records.iter().try_for_each(|record| self.check_named(&record.fact))
    }

    fn check_named(&self, fact: &Fact) -> Check {
        match fact {
            Fact::Leased { job, provider, .. } => {
                self.check_job(*job)?;
                self.check_provider(*provider)
            }
            Fact::Ended { job, provider, .. } => {
                self.check_job(*job)?;
                provider.map_or(Ok(()), |provider| self.check_provider(provider))
            }
            Fact::Requested { job, .. }
            | Fact::Ran { job, .. }
            | Fact::PaymentAsked { job, .. }
            | Fact::LeaseEnded { job, .. }
            | Fact::Forgotten { job } => self.check_job(*job),
            Fact::Advertised { provider, .. }
            | Fact::Unadvertised { provider }
            | Fact::Seen { provider, .. }
            | Fact::Lapsed { provider }
            | Fact::CameOnline { provider }
            | Fact::WentOffline { provider, .. }
            | Fact::ProviderForgotten { provider } => self.check_provider(*provider),
            Fact::Restarted { .. } | Fact::CountersRestored { .. } => self.check(),
            Fact::ProviderRestored(row) => self.check_provider(row.id),
            Fact::JobRestored(job) => self.check_job(job.id),
        }
    }

    /// The invariants of one job; a forgotten one has none.
    ///
    /// # Errors
    /// The first broken invariant.
    pub fn check_job(&self, id: JobId) -> Result<(), String> {
        let Some(job) = self.jobs.get(&id) else {
            return Ok(());
        };
        hold(job.id == id, || format!("{id:?} is filed under a wrong id"))?;
        hold(job.arrival < self.next_arrival, || format!("{id:?} has a future arrival"))?;
        let used = job.attempts.len() + usize::from(job.lease().is_some());
        let granted = usize::try_from(job.terms.attempts).unwrap_or(usize::MAX);
        hold(used <= granted, || format!("{id:?} used {used} of {granted} attempts"))?;
        check_attempts(job)?;
        check_dispatch(job)?;
        check_deadlines(job)?;
        match job.lease() {
            Some(lease) => self.check_lease(job, lease),
            None => Ok(()),
        }
    }

    /// The invariants of one provider; a forgotten one has none.
    ///
    /// # Errors
    /// The first broken invariant.
    pub fn check_provider(&self, id: ProviderId) -> Result<(), String> {
        let Some(row) = self.providers.get(&id) else {
            return Ok(());
        };
        hold(row.id == id, || format!("{id:?} is filed under a wrong id"))?;
        row.leases.iter().try_for_each(|job| {
            let holder = self.jobs.get(job).and_then(Job::lease).map(|lease| lease.provider);
            hold(holder == Some(id), || format!("{id:?} counts a lease on {job:?} that it does not hold"))
        })
    }

    fn check_lease(&self, job: &Job, lease: &Lease) -> Check {
        let id = job.id;
        let holder = self.providers.get(&lease.provider);
        let Some(holder) = holder else {
            return Err(format!("the leaseholder of {id:?} is not known"));
        };
        hold(holder.leases.contains(&id), || format!("the lease on {id:?} takes no slot"))?;
        hold(!job.has_tried(lease.provider), || format!("{id:?} is leased to one who failed it"))?;
        hold(job.admits(lease.provider), || format!("{id:?} is leased to one it does not name"))?;
        hold(lease.number < self.next_lease, || format!("{id:?} has a future lease"))?;
        hold(lease.attempt == job.next_attempt(), || format!("{id:?} miscounts its attempts"))?;
        let in_grace = lease.grace_until_ms.is_some();
        hold(!(in_grace && holder.is_online()), || format!("{id:?} waits for one who is online"))
    }

    fn check_numbers(&self) -> Check {
        let (mut leases, mut arrivals) = (BTreeSet::new(), BTreeSet::new());
        for job in self.jobs.values() {
            hold(arrivals.insert(job.arrival), || format!("{:?} shares its arrival", job.id))?;
            let past = job.attempts.iter().map(|attempt| attempt.lease);
            for number in past.chain(job.lease().map(|lease| lease.number)) {
                hold(leases.insert(number), || format!("lease {number} was granted twice"))?;
                hold(number < self.next_lease, || format!("lease {number} is in the future"))?;
            }
        }
        Ok(())
    }

    /// Whether no queued job could be leased right now. Looks at every pair.
    fn check_settled(&self) -> Check {
        for job in self.jobs.values().filter(|job| job.phase == Phase::Queued) {
            let served = |provider: &&Provider| is_feasible(job, provider);
            if let Some(provider) = self.providers.values().find(served) {
                return Err(format!("{:?} waits although {:?} is free", job.id, provider.id));
            }
        }
        Ok(())
    }
}

fn check_attempts(job: &Job) -> Check {
    let id = job.id;
    let numbered = job.attempts.iter().zip(1..).all(|(attempt, number)| attempt.number == number);
    hold(numbered, || format!("{id:?} has a gap in its attempts"))?;
    let last = job.lease().map(|lease| lease.number);
    let numbers: Vec<u64> = job.attempts.iter().map(|attempt| attempt.lease).chain(last).collect();
    hold(numbers.is_sorted_by(|one, two| one < two), || format!("{id:?} went back to an old lease"))
}

fn check_dispatch(job: &Job) -> Check {
    let fits = match (&job.phase, job.request.dispatch) {
        (Phase::Ended { .. }, Dispatch::Leased | Dispatch::Open) => true,
        (Phase::Open, dispatch) => dispatch == Dispatch::Open,
        (Phase::Queued | Phase::Leased { .. } | Phase::Running { .. } | Phase::AwaitingPayment { .. }, dispatch) => {
            dispatch == Dispatch::Leased
        }
    };
    hold(fits, || format!("{:?} is in a phase of the other dispatch", job.id))
}

/// No deadline of a lease lies beyond the job's.
fn check_deadlines(job: &Job) -> Check {
    let whole_ms = job.terms.deadline_ms;
    let within = match &job.phase {
        Phase::Queued | Phase::Open => true,
        Phase::Leased { accept_by_ms, .. } => *accept_by_ms <= whole_ms,
        Phase::Running { run_by_ms, heartbeat_by_ms, .. } => {
            *run_by_ms <= whole_ms && heartbeat_by_ms.is_none_or(|by_ms| by_ms <= whole_ms)
        }
        Phase::AwaitingPayment { pay_by_ms, .. } => *pay_by_ms <= whole_ms,
        Phase::Ended { at_ms, forget_at_ms, .. } => at_ms <= forget_at_ms,
    };
    hold(within, || format!("{:?} has a deadline beyond its own", job.id))
}
