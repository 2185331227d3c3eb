//! A job: its request, where it stands, its leases and its results.

use crate::advert::{Value, values};
use crate::auction::Bidding;
use crate::credibility;
use crate::effect::{End, JobView, Status};
use crate::examination::{Examination, Finding};
use crate::fairness::Span;
use crate::id::{CustomerId, JobId, ProviderId};
use crate::lease::{Attempt, Lease, Phase};
use crate::money::{Bill, Money};
use crate::request::{Dispatch, Request, Requirement};
use crate::validation::{Group, Submission};
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
    /// When to see whether everybody may answer, if it has had no lease by then.
    pub open_at_ms: Option<u64>,
    /// How well its customer paid when it came, from 0 to 100.
    pub customer_rank: u32,
    /// When it is served among those of its kind that wait.
    pub span: Span,
}

/// A place in a queue: the start of the turn, then the arrival.
pub(crate) type Place = (u64, u64);

/// Where a job stands. How far its leases have come, they know themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It is open: it waits for providers, or they work on it.
    Active,
    /// Over.
    Ended {
        /// How.
        end: End,
        /// Who delivered the accepted result, or else the last leaseholder.
        provider: Option<ProviderId>,
        /// When.
        at_ms: u64,
        /// Remembered until then.
        forget_at_ms: u64,
    },
}

/// A second lease beside a slow one: a job has one in its life at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The slow lease.
    pub of: u64,
    /// The one beside it, once there is one.
    pub lease: Option<u64>,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The id of its request.
    pub id: JobId,
    /// Whose it is.
    pub customer: CustomerId,
    /// As asked; after the end without requirements, wishes, parameters and named providers.
    pub request: Box<Request>,
    /// As granted.
    pub terms: Terms,
    /// Place in the order of arrival of all jobs.
    pub arrival: u64,
    /// When it arrived.
    pub arrived_ms: u64,
    /// It gets no leases before then.
    pub rests_until_ms: Option<u64>,
    /// Offers for it.
    pub bidding: Bidding,
    /// A job that it waited for and that ended without a result.
    pub failed_input: Option<JobId>,
    /// Whose work is done a second time, because it is slow.
    pub backup: Option<Backup>,
    /// Live leases, by number.
    pub leases: Vec<Lease>,
    /// Leases that are over without a result of their own, in the order in which they ended; at most `terms.attempts`.
    pub attempts: Vec<Attempt>,
    /// Results that came in, in their order, at most one of each leaseholder.
    pub submissions: Vec<Submission>,
    /// Where it stands.
    pub stage: Stage,
    /// Validators look at what it has.
    pub examination: Option<Examination>,
    /// What they found out about the result that is accepted.
    pub examined: Option<Finding>,
    /// What is asked and paid for it.
    pub money: Money,
}

/// Which deadline of a job comes next. In the order in which they win a tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// The validators'.
    Examination,
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
    /// The end of the time for offers.
    Bids,
    /// A run that has taken longer than most.
    Straggler,
    /// The end of a rest after a lease that failed.
    Rest,
    /// The customer's payment for the accepted result.
    Bill,
    /// The first lease, before everybody may answer.
    Open,
}

/// The next deadline of a job. The earliest sorts first, then by sort, then the older lease's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When.
    pub at_ms: u64,
    /// Which.
    pub deadline: Deadline,
    /// Of which lease; `None`: the whole job's.
    pub lease: Option<u64>,
}

/// What a provider is to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// It holds a live lease.
    Holder(&'a Lease),
    /// It delivered a result that was taken.
    Delivered(&'a Submission),
    /// It held a lease that is over.
    Past(&'a Attempt),
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
        match &self.stage {
            Stage::Ended { end, .. } => Some(end),
            Stage::Active => None,
        }
    }

    /// Jobs that it waits for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = JobId> {
        let inputs = if self.is_open() { self.request.inputs.as_slice() } else { &[] };
        inputs.iter().filter(|input| input.result.is_none()).map(|input| input.job)
    }

    /// Whether its offers are to be taken now.
    pub(crate) fn awaits_bids(&self) -> bool {
        let is_before = !self.bidding.is_over && self.bidding.until_ms.is_none();
        self.is_open() && self.request.auction.is_some() && is_before && !self.is_blocked()
    }

    /// Whether it waits for the result of another job.
    pub fn is_blocked(&self) -> bool {
        self.awaited().next().is_some()
    }

    /// The live lease of this number.
    pub fn lease(&self, number: u64) -> Option<&Lease> {
        self.leases.iter().find(|lease| lease.number == number)
    }

    /// The live lease of this provider.
    pub fn lease_of(&self, provider: ProviderId) -> Option<&Lease> {
        self.leases.iter().find(|lease| lease.provider == provider)
    }

    /// The next deadline: of an open job, or of the bill for one that has its result.
    pub fn next_deadline(&self) -> Option<Due> {
        if !self.is_open() {
            return match self.money.bill {
                Bill::Due { pay_by_ms, .. } => Some(Due { at_ms: pay_by_ms, deadline: Deadline::Bill, lease: None }),
                Bill::None | Bill::Settled { .. } | Bill::Unpaid { .. } => None,
            };
        }
        let of_lease = |lease: &Lease| {
            let (at_ms, deadline) = lease.next_deadline();
            Due { at_ms, deadline, lease: Some(lease.number) }
        };
        let of_job = |at_ms, deadline| Due { at_ms, deadline, lease: None };
        let whole = of_job(self.terms.deadline_ms, Deadline::Job);
        let examined = self.examination.map(|examination| of_job(examination.until_ms, Deadline::Examination));
        let rest = self.rests_until_ms.map(|at_ms| of_job(at_ms, Deadline::Rest));
        let bids = self.bidding.until_ms.map(|at_ms| of_job(at_ms, Deadline::Bids));
        let straggler = |lease: &Lease| {
            let (deadline, number) = (Deadline::Straggler, Some(lease.number));
            lease.straggles_at_ms.map(|at_ms| Due { at_ms, deadline, lease: number })
        };
        let unleased = self.terms.open_at_ms.filter(|_| self.granted() == 0);
        let open = unleased.map(|at_ms| of_job(at_ms, Deadline::Open));
        let stragglers = self.leases.iter().filter_map(straggler);
        self.leases
            .iter()
            .map(of_lease)
            .chain([whole])
            .chain(rest)
            .chain(open)
            .chain(bids)
            .chain(stragglers)
            .chain(examined)
            .min()
    }

    /// What this provider is to the job.
    pub fn standing(&self, provider: ProviderId) -> Standing<'_> {
        if let Some(lease) = self.lease_of(provider) {
            return Standing::Holder(lease);
        }
        if let Some(submission) = self.submissions.iter().find(|submission| submission.provider == provider) {
            return Standing::Delivered(submission);
        }
        match self.attempts.iter().find(|attempt| attempt.provider == provider) {
            Some(attempt) => Standing::Past(attempt),
            None => Standing::Stranger,
        }
    }

    /// Whether results are compared before one is accepted.
    pub fn compares(&self) -> bool {
        self.request.quorum > 1
    }

    /// Whether what results say is looked at.
    pub fn reads_answers(&self) -> bool {
        self.compares() || self.request.examines.is_some()
    }

    /// Whether results are judged one by one.
    pub(crate) fn judges(&self) -> bool {
        self.compares() || self.request.panel.is_some()
    }

    /// Leases granted so far: each is live, over, or brought a result in time.
    pub fn granted(&self) -> u32 {
        let in_time = self.submissions.iter().filter(|submission| submission.lease.is_some() && !submission.late);
        count(self.leases.len() + self.attempts.len() + in_time.count())
    }

    /// The number of the next attempt, from 1.
    pub fn next_attempt(&self) -> u32 {
        self.granted().saturating_add(1)
    }

    fn attempts_left(&self) -> u32 {
        self.terms.attempts.saturating_sub(self.granted())
    }

    /// How many of the results agree at most.
    fn agreed(&self) -> u32 {
        match self.submissions.len() {
            few @ (0 | 1) => count(few),
            _ => {
                let groups = self.request.validate.groups(&self.submissions);
                groups.map(|group| count(group.size())).max().unwrap_or(0)
            }
        }
    }

    /// How many more leases it would take now: enough for all replicas, and enough for a quorum if every provider that
    /// is asked agrees with the largest group; one more, if that is large enough and not believed; and one beside a straggler.
    pub fn wanted(&self) -> u32 {
        if !self.is_open() || self.request.dispatch == Dispatch::Open {
            return 0;
        }
        let bids_first = self.request.auction.is_some() && !self.bidding.is_over;
        if self.rests_until_ms.is_some() || self.is_blocked() || bids_first || self.examination.is_some() {
            return 0;
        }
        let (results, live) = (count(self.submissions.len()), count(self.leases.len()));
        let missing = self.request.quorum.saturating_sub(self.agreed()).max(1);
        let target = self.request.replicas.max(results.saturating_add(missing));
        // One, until it is known whether that is enough.
        let target = if self.request.adaptive { 1 } else { target };
        let target = target.saturating_add(u32::from(self.has_company()));
        target.saturating_sub(results.saturating_add(live)).min(self.attempts_left())
    }

    /// Whether a live lease is to have another beside it, or has.
    fn has_company(&self) -> bool {
        let is_live = |number: u64| self.lease(number).is_some();
        self.backup.is_some_and(|backup| is_live(backup.of) && backup.lease.is_none_or(is_live))
    }

    /// The straggler that the next lease goes beside; when others are missing too, they come first.
    pub(crate) fn next_backs_up(&self) -> Option<u64> {
        let backup = self.backup.filter(|backup| backup.lease.is_none() && self.has_company())?;
        (self.wanted() == 1).then_some(backup.of)
    }

    /// Whether no quorum can come any more, even if everybody who is left agrees.
    pub(crate) fn is_hopeless(&self) -> bool {
        let more = count(self.leases.len()).saturating_add(self.attempts_left());
        !credibility::can_win(self.request.validate, &self.submissions, more, self.request.quorum)
    }

    /// The results on which a quorum agrees.
    pub fn quorum(&self) -> Option<Group> {
        credibility::quorum(self.request.validate, &self.submissions, self.request.quorum)
    }

    /// Sets or lifts the grace of a provider's lease.
    pub(crate) fn set_grace(&mut self, provider: ProviderId, until_ms: Option<u64>) {
        for lease in self.leases.iter_mut().filter(|lease| lease.provider == provider) {
            lease.grace_until_ms = until_ms;
        }
    }

    /// Moves the leases' own deadlines to no earlier than this, within the job's.
    pub(crate) fn extend_to(&mut self, at_ms: u64) {
        let at_ms = at_ms.min(self.terms.deadline_ms);
        self.leases.iter_mut().for_each(|lease| lease.extend_to(at_ms));
    }

    /// Moves the bill's deadline to no earlier than this.
    pub(crate) fn extend_bill_to(&mut self, at_ms: u64) {
        if let (Bill::Due { pay_by_ms, .. }, Stage::Ended { forget_at_ms, .. }) =
            (&mut self.money.bill, &mut self.stage)
        {
            *pay_by_ms = at_ms.max(*pay_by_ms);
            *forget_at_ms = (*pay_by_ms).max(*forget_at_ms);
        }
    }

    /// Whether this provider has or had its chance.
    pub fn has_tried(&self, provider: ProviderId) -> bool {
        self.standing(provider) != Standing::Stranger
    }

    /// Whether the request lets this provider hold a lease.
    pub fn admits(&self, provider: ProviderId) -> bool {
        self.request.providers.is_empty() || self.request.providers.contains(&provider)
    }

    /// Whether this provider may answer without a lease, because the job is its: the customer named it and nobody has had a
    /// lease. It need not know of leases to get the request.
    pub fn is_claimable_by(&self, provider: ProviderId) -> bool {
        let is_free = self.is_open() && self.request.opens() && self.granted() == 0 && !self.is_blocked();
        is_free && self.request.providers.contains(&provider)
    }

    /// Its place in the queue of its kind.
    pub(crate) fn place(&self) -> Place {
        (self.terms.span.start, self.arrival)
    }

    /// Whether a provider with this condition on jobs takes it.
    pub fn meets(&self, condition: &Requirement) -> bool {
        let whole = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let own = match condition.attribute.as_str() {
            "kind" => Some(whole(self.request.kind.into())),
            "bid" => self.request.bid_msat.map(whole),
            "replicas" => Some(whole(self.request.replicas.into())),
            "customer.rank" => Some(whole(self.terms.customer_rank.into())),
            "input.count" => Some(whole(self.request.input_count.into())),
            "input.bytes" => Some(whole(self.request.input_bytes)),
            _ => None,
        };
        match (&own, condition.attribute.strip_prefix("param.")) {
            (Some(value), _) => condition.met_by(|| std::iter::once(value)),
            (None, Some(param)) => condition.met_by(|| values(&self.request.params, param)),
            (None, None) => false,
        }
    }

    /// Who held the lease that was granted last, of those that are over.
    pub(crate) fn last_holder(&self) -> Option<ProviderId> {
        let past = self.attempts.iter().map(|attempt| (attempt.number, attempt.provider));
        let delivered = self.submissions.iter().map(|submission| (submission.attempt, submission.provider));
        past.chain(delivered).max().map(|(_, provider)| provider)
    }

    /// The job as the public sees it.
    pub fn view(&self) -> JobView {
        let waiting = self.leases.iter().find_map(|lease| match lease.phase {
            Phase::AwaitingPayment { amount_msat, .. } => amount_msat,
            Phase::Offered { .. } | Phase::Running { .. } => None,
        });
        let (result, last) = match &self.stage {
            Stage::Active => (None, None),
            Stage::Ended { end: End::Succeeded { result }, provider, .. } => (Some(*result), *provider),
            Stage::Ended { end: End::Failed | End::Cancelled | End::Expired, provider, .. } => (None, *provider),
        };
        let due_msat = match self.money.bill {
            Bill::Due { msat, .. } | Bill::Unpaid { msat } => Some(msat),
            Bill::None | Bill::Settled { .. } => None,
        };
        JobView {
            job: self.id,
            customer: self.customer,
            kind: self.request.kind,
            status: self.status(),
            provider: self.leases.first().map(|lease| lease.provider).or(last),
            leases: self.leases.iter().map(|lease| lease.view(self.terms.deadline_ms)).collect(),
            attempt: self.granted(),
            inputs: self.request.inputs.clone(),
            deadline_ms: self.terms.deadline_ms,
            bids_until_ms: self.bidding.until_ms,
            rests_until_ms: self.rests_until_ms,
            amount_msat: waiting.or(due_msat),
            accounts: self.money.accounts(),
            bill: self.money.bill,
            replicas: (self.request.replicas, self.request.quorum),
            results: count(self.submissions.len()),
            result,
            examination: self.examination,
            examined: self.examined,
        }
    }

    /// Where it stands, in one word: that of the lease which has come furthest.
    pub fn status(&self) -> Status {
        match &self.stage {
            Stage::Ended { end: End::Succeeded { .. }, .. } => match self.money.bill {
                Bill::None | Bill::Due { .. } => Status::Succeeded,
                Bill::Settled { .. } => Status::Settled,
                Bill::Unpaid { .. } => Status::Unpaid,
            },
            Stage::Ended { end: End::Failed, .. } => Status::Failed,
            Stage::Ended { end: End::Cancelled, .. } => Status::Cancelled,
            Stage::Ended { end: End::Expired, .. } => Status::Expired,
            Stage::Active => self.active_status(),
        }
    }

    fn active_status(&self) -> Status {
        if self.is_blocked() {
            return Status::Blocked;
        }
        if self.bidding.until_ms.is_some() {
            return Status::Bidding;
        }
        let has = |is: fn(&Phase) -> bool| self.leases.iter().any(|lease| is(&lease.phase));
        if has(|phase| matches!(phase, Phase::Running { .. })) {
            Status::Running
        } else if has(|phase| matches!(phase, Phase::AwaitingPayment { .. })) {
            Status::AwaitingPayment
        } else if !self.leases.is_empty() {
            Status::Leased
        } else if self.request.dispatch == Dispatch::Open {
            Status::Open
        } else if self.submissions.is_empty() {
            Status::Queued
        } else {
            Status::Validating
        }
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
