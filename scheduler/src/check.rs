//! Invariants: what must hold after every step.

use crate::auction::Bid;
use crate::chain::Chain;
use crate::effect::End;
use crate::id::{CustomerId, JobId, ProviderId};
use crate::index::{self, Index};
use crate::job::{Job, Stage};
use crate::lease::Lease;
use crate::matching::is_feasible;
use crate::money::{Bill, Receipt};
use crate::provider::{ESTABLISHED, Provider};
use crate::record::{Fact, Record};
use crate::request::Dispatch;
use crate::scheduler::Scheduler;
use crate::state::State;
use crate::validation::Verdict;
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
        let is_told = self.state().chain.is_settled();
        hold(ended <= self.config().ended_max || !is_told, || format!("{ended} ended jobs"))?;
        let customers = index.customers.len();
        hold(customers <= self.config().customers_max, || format!("{customers} customers"))?;
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
        self.customers.keys().try_for_each(|customer| self.check_customer(*customer))?;
        self.check_numbers()?;
        let open = self.jobs.values().filter(|job| job.is_open());
        let spans = open.map(|job| (job.request.kind, job.customer, job.terms.span));
        hold(self.fairness.counts(spans), || "the queues' turns differ from the open jobs".to_owned())?;
        let (mut marks, mut names) = (BTreeSet::new(), self.jobs.values().flat_map(index::marks));
        hold(names.all(|mark| marks.insert(mark)), || "a payment counts twice".to_owned())?;
        let built = Index::build(&self.jobs, self.providers.values(), self.customers.values());
        hold(built == self.index, || "the indexes differ from the tables".to_owned())?;
        let chain = Chain::build(&self.jobs);
        hold(chain == self.chain, || "the chain differs from the jobs".to_owned())
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
            Fact::Submitted { job, provider, .. } => {
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
            | Fact::BidsOpened { job, .. }
            | Fact::Bade { job, .. }
            | Fact::BidsClosed { job }
            | Fact::InputCame { job, .. }
            | Fact::InputFailed { job, .. }
            | Fact::Straggled { job, .. }
            | Fact::Rested { job, .. }
            | Fact::Woke { job }
            | Fact::Waited { job, .. }
            | Fact::Believed { job, .. }
            | Fact::Opened { job }
            | Fact::Examining { job, .. }
            | Fact::Examined { job, .. }
            | Fact::Forgotten { job } => self.check_job(*job),
            Fact::Advertised { provider, .. }
            | Fact::Unadvertised { provider }
            | Fact::Seen { provider, .. }
            | Fact::Lapsed { provider }
            | Fact::CameOnline { provider }
            | Fact::WentOffline { provider, .. }
            | Fact::Listened { provider, .. }
            | Fact::ProviderForgotten { provider } => self.check_provider(*provider),
            Fact::Restarted { .. } | Fact::CountersRestored { .. } | Fact::RunsRestored { .. } => self.check(),
            Fact::ProviderRestored(row) => self.check_provider(row.id),
            Fact::JobRestored(job) => self.check_job(job.id),
            Fact::HalfLifeSet { .. } | Fact::QueueRestored { .. } => Ok(()),
            Fact::CustomerForgotten { customer } => self.check_customer(*customer),
            Fact::CustomerRestored(row) => self.check_customer(row.id),
            Fact::Quoted { job, .. }
            | Fact::Paid { job, .. }
            | Fact::Confirmed { job, .. }
            | Fact::Billed { job, .. }
            | Fact::Settled { job, .. }
            | Fact::WentUnpaid { job } => self.check_job(*job),
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
        let (used, granted) = (job.granted(), job.terms.attempts);
        hold(used <= granted, || format!("{id:?} used {used} of {granted} attempts"))?;
        let (due_ms, told_ms) = (job.next_deadline().map(|due| due.at_ms), self.told_ms(id));
        hold(due_ms == told_ms, || format!("{id:?} is due at {due_ms:?}, and {told_ms:?} is told"))?;
        check_attempts(job)?;
        check_submissions(job)?;
        check_stage(job)?;
        check_deadlines(job)?;
        check_backup(job)?;
        check_money(job)?;
        let known = index::marks(job).all(|mark| self.index.marks.contains(&mark));
        hold(known, || format!("{id:?} has a payment that could be used again"))?;
        check_inputs(job)?;
        check_bidding(job)?;
        check_examination(job)?;
        self.check_order(job)?;
        job.leases.iter().try_for_each(|lease| self.check_lease(job, lease))
    }

    /// When the index says that a job is due.
    fn told_ms(&self, id: JobId) -> Option<u64> {
        self.index.deadlines.of(self.jobs.handle(&id)?)
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
        hold(row.served.len() <= ESTABLISHED, || format!("{id:?} remembers too many customers"))?;
        row.reputation.flaw().map_or(Ok(()), |flaw| Err(format!("{id:?}: {flaw}")))?;
        hold(!row.walk_in || row.is_online(), || format!("{id:?} walked in and is not here"))?;
        hold(!row.walk_in || row.advert.is_some(), || format!("{id:?} walked in and offers nothing"))?;
        let sorted = row.leases.is_sorted_by(|one, other| one < other);
        hold(sorted, || format!("{id:?} shuffled its leases"))?;
        row.leases.iter().try_for_each(|job| {
            let lease = self.jobs.get(job).and_then(|job| job.lease_of(id));
            hold(lease.is_some(), || format!("{id:?} counts a lease on {job:?} that it does not hold"))
        })
    }

    /// The invariants of what is remembered of one customer.
    ///
    /// # Errors
    /// The first broken invariant.
    pub fn check_customer(&self, id: CustomerId) -> Result<(), String> {
        let Some(row) = self.customers.get(&id) else {
            return Ok(());
        };
        hold(row.id == id, || format!("{id:?} is filed under a wrong id"))?;
        hold(row.served_by.len() <= ESTABLISHED, || format!("{id:?} remembers too many providers"))?;
        hold(row.heard_ms <= self.now_ms, || format!("{id:?} was heard of in the future"))?;
        row.tally.flaw().map_or(Ok(()), |flaw| Err(format!("{id:?}: {flaw}")))
    }

    fn check_lease(&self, job: &Job, lease: &Lease) -> Check {
        let id = job.id;
        let holder = self.providers.get(&lease.provider);
        let Some(holder) = holder else {
            return Err(format!("the leaseholder of {id:?} is not known"));
        };
        hold(holder.leases.binary_search(&id).is_ok(), || format!("the lease on {id:?} takes no slot"))?;
        let past = job.attempts.iter().any(|attempt| attempt.provider == lease.provider);
        hold(!past, || format!("{id:?} is leased to one who failed it"))?;
        let delivered = job.submissions.iter().any(|submission| submission.provider == lease.provider);
        hold(!delivered, || format!("{id:?} is leased to one who delivered"))?;
        let barred = job.request.barred.contains(&lease.provider);
        hold(!barred, || format!("{id:?} is leased to one who may not judge it"))?;
        hold(job.admits(lease.provider), || format!("{id:?} is leased to one it does not name"))?;
        hold(lease.number < self.next_lease, || format!("{id:?} has a future lease"))?;
        let in_grace = lease.grace_until_ms.is_some();
        hold(!(in_grace && holder.is_online()), || format!("{id:?} waits for one who is online"))
    }

    /// A job and the one that examines its result know of each other.
    fn check_order(&self, job: &Job) -> Check {
        let id = job.id;
        if let Some(by) = job.examination.and_then(|examination| examination.by) {
            let order = self.jobs.get(&by).filter(|order| order.is_open() && order.request.examines == Some(id));
            hold(order.is_some(), || format!("{id:?} waits for validators who do not work"))?;
        }
        let examined = job.request.examines.filter(|_| job.is_open()).map(|id| self.jobs.get(&id));
        let waits = |one: &Job| one.examination.is_some_and(|examination| examination.by == Some(id));
        hold(examined.is_none_or(|one| one.is_some_and(waits)), || format!("nobody waits for what {id:?} finds"))
    }

    fn check_numbers(&self) -> Check {
        let (mut leases, mut arrivals) = (BTreeSet::new(), BTreeSet::new());
        for job in self.jobs.values() {
            hold(arrivals.insert(job.arrival), || format!("{:?} shares its arrival", job.id))?;
            for (_, number) in numbers(job) {
                hold(leases.insert(number), || format!("lease {number} was granted twice"))?;
                hold(number < self.next_lease, || format!("lease {number} is in the future"))?;
            }
        }
        Ok(())
    }

    /// Whether no job that wants a lease could have one right now. Looks at every pair.
    fn check_settled(&self) -> Check {
        let providers: Vec<&Provider> = self.providers.values().collect();
        for job in self.jobs.values().filter(|job| job.wanted() > 0) {
            let served = |provider: &&&Provider| is_feasible(job, provider);
            if let Some(provider) = providers.iter().find(served) {
                return Err(format!("{:?} waits although {:?} is free", job.id, provider.id));
            }
        }
        Ok(())
    }
}

/// Every lease that was granted, as (attempt, number), in the order of the attempts.
fn numbers(job: &Job) -> Vec<(u32, u64)> {
    let past = job.attempts.iter().map(|attempt| (attempt.number, attempt.lease));
    let live = job.leases.iter().map(|lease| (lease.attempt, lease.number));
    let in_time = job.submissions.iter().filter(|submission| !submission.late);
    let delivered = in_time.filter_map(|submission| Some((submission.attempt, submission.lease?)));
    let mut numbers: Vec<_> = past.chain(live).chain(delivered).collect();
    numbers.sort_unstable();
    numbers
}

fn check_attempts(job: &Job) -> Check {
    let id = job.id;
    let granted = numbers(job);
    let numbered = granted.iter().zip(1..).all(|((attempt, _), number)| *attempt == number);
    hold(numbered, || format!("{id:?} has a gap in its attempts"))?;
    hold(granted.is_sorted_by(|(_, one), (_, two)| one < two), || format!("{id:?} went back to an old lease"))?;
    hold(job.leases.is_sorted_by(|one, two| one.number < two.number), || format!("{id:?} shuffled its leases"))?;
    let holders: BTreeSet<_> = job.leases.iter().map(|lease| lease.provider).collect();
    hold(holders.len() == job.leases.len(), || format!("{id:?} is leased twice to one provider"))
}

fn check_submissions(job: &Job) -> Check {
    let id = job.id;
    let by: BTreeSet<_> = job.submissions.iter().map(|submission| submission.provider).collect();
    hold(by.len() == job.submissions.len(), || format!("{id:?} has two results of one provider"))?;
    let late = job.submissions.iter().filter(|submission| submission.late);
    for submission in late {
        let past = job.attempts.iter().any(|attempt| Some(attempt.lease) == submission.lease);
        hold(past, || format!("{id:?} has a late result without a lease"))?;
    }
    let weighed = !job.request.adaptive || job.submissions.is_empty() || !job.is_open();
    hold(weighed, || format!("{id:?} has a result of which nobody knows whether it is enough"))?;
    let rejected = |verdict: Verdict| verdict.rejects() && job.request.panel.is_some();
    let decided = job.submissions.iter().any(|submission| submission.verdict.is_some_and(|one| !rejected(one)));
    hold(!(decided && job.is_open()), || format!("{id:?} is decided and goes on"))?;
    let waits = job.examination.is_some();
    hold(!job.is_open() || waits || job.quorum().is_none(), || format!("{id:?} has its quorum and goes on"))?;
    hold(!job.is_open() || !job.is_hopeless(), || format!("{id:?} goes on without hope"))
}

fn check_stage(job: &Job) -> Check {
    let id = job.id;
    let leased = !job.leases.is_empty() || !job.attempts.is_empty();
    hold(!leased || job.request.dispatch == Dispatch::Leased, || format!("{id:?} is open to all and leased"))?;
    let winner = match &job.stage {
        Stage::Active => return Ok(()),
        Stage::Ended { end: End::Succeeded { result }, provider, .. } => Some((*provider, *result)),
        Stage::Ended { end: End::Failed | End::Cancelled | End::Expired, .. } => None,
    };
    hold(job.leases.is_empty(), || format!("{id:?} has ended and is leased"))?;
    let passed = job.submissions.iter().filter(|submission| submission.verdict == Some(Verdict::Pass));
    let Some((provider, result)) = winner else {
        return hold(passed.count() == 0, || format!("{id:?} passed a result and did not succeed"));
    };
    let quorum = usize::try_from(job.request.quorum).unwrap_or(usize::MAX);
    hold(passed.clone().count() >= quorum, || format!("{id:?} succeeded without a quorum"))?;
    let accepted = passed.clone().any(|one| one.result == result && Some(one.provider) == provider);
    hold(accepted, || format!("{id:?} accepted a result that did not pass"))
}

/// Nobody holds or held a lease on a job that waits for others, and nobody goes on without what it waited for.
fn check_inputs(job: &Job) -> Check {
    let (id, is_untouched) = (job.id, job.granted() == 0 && job.submissions.is_empty());
    hold(!job.is_blocked() || is_untouched, || format!("{id:?} is worked on and waits for others"))?;
    hold(!job.is_open() || job.failed_input.is_none(), || format!("{id:?} lost an input and goes on"))
}

/// Nobody holds a lease on a job while offers are taken; and none is above its bid, nor two of one provider.
fn check_bidding(job: &Job) -> Check {
    let (id, bidding) = (job.id, &job.bidding);
    let is_now = bidding.until_ms.is_some();
    hold(!is_now || job.granted() == 0, || format!("{id:?} is leased while offers are taken"))?;
    hold(!is_now || (job.is_open() && !bidding.is_over), || format!("{id:?} takes offers too late"))?;
    hold(bidding.until_ms.is_none_or(|at_ms| at_ms <= job.terms.deadline_ms), || {
        format!("{id:?} takes offers too long")
    })?;
    let too_high = |bid: &Bid| job.request.bid_msat.is_some_and(|max_msat| bid.amount_msat > max_msat);
    hold(!bidding.bids.iter().any(too_high), || format!("{id:?} has an offer above its bid"))?;
    let by: BTreeSet<_> = bidding.bids.iter().map(|bid| bid.provider).collect();
    hold(by.len() == bidding.bids.len(), || format!("{id:?} has two offers of one provider"))
}

/// Validators look at what a quorum agrees on, and nobody works meanwhile; without them nothing is accepted that they were to see.
fn check_examination(job: &Job) -> Check {
    let id = job.id;
    if let Some(examination) = job.examination {
        let has_quorum = job.is_open() && job.quorum().is_some();
        hold(has_quorum && job.request.panel.is_some(), || format!("{id:?} waits for validators in vain"))?;
        hold(job.leases.is_empty(), || format!("{id:?} is worked on while validators look at it"))?;
        let in_time = examination.until_ms <= job.terms.deadline_ms;
        hold(in_time, || format!("{id:?} waits for validators too long"))?;
    }
    let succeeded = matches!(job.end(), Some(End::Succeeded { .. }));
    let asked = job.request.panel.is_some() && succeeded;
    hold(asked == job.examined.is_some(), || format!("{id:?} is accepted without validators, or examined without need"))
}

/// One backup at most, beside another lease; and once there is one nobody else is watched.
fn check_backup(job: &Job) -> Check {
    let (id, watched) = (job.id, job.leases.iter().any(|lease| lease.straggles_at_ms.is_some()));
    let Some(backup) = job.backup else {
        return Ok(());
    };
    hold(!watched, || format!("{id:?} had its backup and is watched"))?;
    hold(backup.lease.is_none_or(|lease| lease > backup.of), || format!("{id:?} has a backup before its straggler"))?;
    hold(job.request.dispatch == Dispatch::Leased, || format!("{id:?} is open to all and has a backup"))
}

/// Only a job with a result has a bill, and it is remembered while that is open.
fn check_money(job: &Job) -> Check {
    let id = job.id;
    job.money.flaw(job.winner()).map_or(Ok(()), |flaw| Err(format!("{id:?}: {flaw}")))?;
    hold(job.money.bill == Bill::None || job.winner().is_some(), || format!("{id:?} has a bill and no result"))?;
    let stake = |receipt: &Receipt| job.has_tried(receipt.provider);
    hold(job.money.receipts.iter().all(stake), || format!("{id:?} paid a stranger"))?;
    match (&job.stage, job.money.bill) {
        (Stage::Ended { forget_at_ms, .. }, Bill::Due { pay_by_ms, .. }) => {
            hold(pay_by_ms <= *forget_at_ms, || format!("{id:?} is forgotten before it is paid"))
        }
        (
            Stage::Active | Stage::Ended { .. },
            Bill::None | Bill::Due { .. } | Bill::Settled { .. } | Bill::Unpaid { .. },
        ) => Ok(()),
    }
}

/// No deadline of a lease lies beyond the job's.
fn check_deadlines(job: &Job) -> Check {
    let whole_ms = job.terms.deadline_ms;
    let beyond = job.leases.iter().find(|lease| lease.last_deadline_ms() > whole_ms);
    hold(beyond.is_none(), || format!("{:?} has a deadline beyond its own", job.id))?;
    let rests = job.rests_until_ms;
    hold(rests.is_none_or(|at_ms| at_ms <= whole_ms), || format!("{:?} rests beyond its deadline", job.id))?;
    hold(rests.is_none() || job.is_open(), || format!("{:?} has ended and rests", job.id))?;
    match &job.stage {
        Stage::Ended { at_ms, forget_at_ms, .. } => {
            hold(at_ms <= forget_at_ms, || format!("{:?} is forgotten before it ended", job.id))
        }
        Stage::Active => Ok(()),
    }
}
