//! The state, and the only function that changes it.

mod examination;
mod standing;
mod till;

use crate::advert::{Advert, Offer};
use crate::auction::{Bid, Bidding};
use crate::chain::Chain;
use crate::customer::Customer;
use crate::fairness::Fairness;
use crate::id::{CustomerId, JobId, ProviderId, ResultId};
use crate::index::{Index, JobKeys, ProviderKeys, marks};
use crate::job::{Backup, Job, Stage, Standing};
use crate::lease::{Attempt, Lease, Phase, Reason};
use crate::money::{Bill, Money};
use crate::provider::{Presence, Provider};
use crate::quantile::{KINDS_MAX, OWN_KINDS_MAX, Paces, Timed, note};
use crate::record::{Fact, Record};
use crate::reputation::HALF_LIFE_MS;
use crate::request::Dispatch;
use crate::table::Table;
use crate::validation::{Answer, Submission, Verdict};

/// Jobs and providers, and what is derived from them. Equal journals make equal states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub(crate) now_ms: u64,
    /// Evidence halves in this time.
    pub(crate) half_life_ms: u64,
    pub(crate) next_lease: u64,
    pub(crate) next_arrival: u64,
    pub(crate) jobs: Table<JobId, Job>,
    pub(crate) providers: Table<ProviderId, Provider>,
    pub(crate) customers: Table<CustomerId, Customer>,
    /// How long accepted results took, by kind.
    pub(crate) paces: Paces,
    /// Whose turn it is in the queues.
    pub(crate) fairness: Fairness,
    pub(crate) index: Index,
    pub(crate) chain: Chain,
}

impl Default for State {
    fn default() -> Self {
        Self {
            now_ms: 0,
            half_life_ms: HALF_LIFE_MS,
            next_lease: 0,
            next_arrival: 0,
            jobs: Table::default(),
            providers: Table::default(),
            customers: Table::default(),
            paces: Paces::new(),
            fairness: Fairness::default(),
            index: Index::default(),
            chain: Chain::default(),
        }
    }
}

/// Why a record cannot follow the ones before it.
pub(crate) type Misfit = &'static str;

impl State {
    /// Jobs that are open, and those that ended lately.
    pub fn jobs(&self) -> &Table<JobId, Job> {
        &self.jobs
    }

    /// The directory.
    pub fn providers(&self) -> &Table<ProviderId, Provider> {
        &self.providers
    }

    /// The time of the last record, in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The number of the next lease; every number granted so far is lower.
    pub fn next_lease(&self) -> u64 {
        self.next_lease
    }

    /// Number of jobs that have not ended.
    pub fn open_jobs(&self) -> usize {
        self.index.open
    }

    /// Moves what is due by now to those that are due.
    pub(crate) fn advance(&mut self, now_ms: u64) {
        self.index.deadlines.advance(now_ms, |handle| self.jobs.at(handle).map(|job| job.id));
    }

    /// Makes a fact part of the state. Live running and recovery share it, so it must not depend on
    /// anything else; on an error the state is not to be used any more.
    pub(crate) fn apply(&mut self, record: &Record) -> Result<(), Misfit> {
        if record.at_ms < self.now_ms {
            return Err("the record is older than the one before it");
        }
        self.now_ms = record.at_ms;
        match &record.fact {
            Fact::Advertised { provider, advert, slots } => self.enter_provider(*provider, |row| {
                row.advert = Some(advert.clone());
                row.walk_in = false;
                row.slots = *slots;
            }),
            Fact::Unadvertised { provider } => self.unadvertised(*provider),
            Fact::Seen { provider, until_ms } => self.set_presence(*provider, Presence::Seen { until_ms: *until_ms }),
            Fact::Lapsed { provider } => {
                self.set_presence(*provider, Presence::Offline { since_ms: record.at_ms, grace_until_ms: record.at_ms })
            }
            Fact::CameOnline { provider } => self.came_online(*provider),
            Fact::WentOffline { provider, grace_until_ms } => self.went_offline(*provider, *grace_until_ms),
            Fact::Restarted { grace_until_ms } => self.restarted(*grace_until_ms),
            Fact::ProviderForgotten { provider } => self.forget_provider(*provider),
            Fact::Requested { job, customer, request, terms } => {
                self.add_job(Box::new(Job {
                    id: *job,
                    customer: *customer,
                    request: request.clone(),
                    terms: *terms,
                    arrival: self.next_arrival,
                    arrived_ms: record.at_ms,
                    rests_until_ms: None,
                    bidding: Bidding::default(),
                    failed_input: None,
                    backup: None,
                    leases: Vec::new(),
                    attempts: Vec::new(),
                    submissions: Vec::new(),
                    stage: Stage::Active,
                    examination: None,
                    examined: None,
                    money: Money::default(),
                }))?;
                self.ordered(*job, request.examines)
            }
            Fact::Leased { job, provider, lease, accept_by_ms, run_ms, agreed_msat } => {
                self.leased(*job, *provider, *lease, (*accept_by_ms, *run_ms, *agreed_msat))
            }
            Fact::Ran { job, lease, run_by_ms, heartbeat_by_ms, straggles_at_ms } => {
                let phase = Phase::Running { run_by_ms: *run_by_ms, heartbeat_by_ms: *heartbeat_by_ms };
                self.set_phase(*job, *lease, phase)?;
                self.change_lease(*job, *lease, |lease| lease.straggles_at_ms = *straggles_at_ms)
            }
            Fact::PaymentAsked { job, lease, amount_msat, pay_by_ms, run_left_ms } => {
                let (amount_msat, pay_by_ms, run_left_ms) = (*amount_msat, *pay_by_ms, *run_left_ms);
                self.set_phase(*job, *lease, Phase::AwaitingPayment { amount_msat, pay_by_ms, run_left_ms })?;
                let provider = self.live_lease(*job, *lease)?.provider;
                amount_msat.map_or(Ok(()), |msat| self.quoted(*job, provider, msat))
            }
            Fact::LeaseEnded { job, lease, reason } => self.lease_ended(*job, *lease, reason),
            Fact::Submitted { job, provider, result, answer, low } => {
                self.submitted(*job, *provider, *result, (answer, *low))
            }
            Fact::Ended { job, end, provider, verdicts, forget_at_ms } => {
                let stage = Stage::Ended {
                    end: end.clone(),
                    provider: *provider,
                    at_ms: record.at_ms,
                    forget_at_ms: *forget_at_ms,
                };
                self.ended(*job, stage, verdicts)
            }
            Fact::Forgotten { job } => self.forget_job(*job),
            Fact::CountersRestored { next_lease, next_arrival } => {
                self.next_lease = *next_lease;
                self.next_arrival = *next_arrival;
                Ok(())
            }
            Fact::ProviderRestored(row) => self.enter_provider(row.id, |entered| *entered = (**row).clone()),
            Fact::JobRestored(job) => self.restore_job(job.clone()),
            Fact::HalfLifeSet { half_life_ms } => {
                self.half_life_ms = *half_life_ms;
                Ok(())
            }
            Fact::CustomerForgotten { customer } => self.forget_customer(*customer),
            Fact::CustomerRestored(row) => self.restore_customer(row),
            Fact::BidsOpened { job, until_ms } => self.change_bidding(*job, false, |bidding| {
                bidding.until_ms = Some(*until_ms);
            }),
            Fact::Bade { job, provider, offer, amount_msat } => self.bade(*job, *provider, (*offer, *amount_msat)),
            Fact::BidsClosed { job } => self.change_bidding(*job, true, |bidding| {
                bidding.until_ms = None;
                bidding.is_over = true;
            }),
            Fact::InputCame { job, input, result } => self.input_came(*job, *input, *result),
            Fact::InputFailed { job, input } => self.input_failed(*job, *input),
            Fact::Straggled { job, lease } => self.straggled(*job, *lease),
            Fact::Rested { job, until_ms } => self.set_rest(*job, Some(*until_ms)),
            Fact::Woke { job } => self.set_rest(*job, None),
            Fact::RunsRestored { kind, pace } => match self.paces.insert(*kind, pace.clone()) {
                None => Ok(()),
                Some(_) => Err("the runs of a kind stand twice"),
            },
            Fact::Quoted { job, provider, msat } => self.quoted(*job, *provider, *msat),
            Fact::Paid { job, receipt } => self.paid(*job, *receipt),
            Fact::Confirmed { job, payment_hash } => self.confirmed(*job, *payment_hash),
            Fact::Billed { job, msat, pay_by_ms, forget_at_ms } => self.billed(*job, *msat, *pay_by_ms, *forget_at_ms),
            Fact::Settled { job, msat, late } => self.settled(*job, *msat, *late),
            Fact::WentUnpaid { job } => self.went_unpaid(*job),
            Fact::Listened { provider, kinds, slots } => self.listened(*provider, kinds, *slots),
            Fact::Waited { job, open_at_ms } => self.change_job(*job, |job| job.terms.open_at_ms = Some(*open_at_ms)),
            Fact::Believed { job, enough } => self.believed(*job, *enough),
            Fact::Opened { job } => self.opened(*job),
            Fact::QueueRestored { kind, now, ends } => self.fairness.restore(*kind, *now, ends),
            Fact::Examining { job, until_ms } => self.examining(*job, *until_ms),
            Fact::Examined { job, found, rejected } => self.examined(*job, *found, rejected),
        }
    }

    /// Runs `change` on a job and moves it in the indexes.
    fn change_job(&mut self, id: JobId, change: impl FnOnce(&mut Job)) -> Result<(), Misfit> {
        let handle = self.jobs.handle(&id).ok_or("the job is not known")?;
        let job = self.jobs.at_mut(handle).ok_or("the job is not known")?;
        let before = JobKeys::of(job, handle);
        change(job);
        self.index.move_job(&before, &JobKeys::of(job, handle));
        Ok(())
    }

    /// Runs `change` on a provider and moves it in the indexes. `change` leaves the advert alone.
    fn change_provider(&mut self, id: ProviderId, change: impl FnOnce(&mut Provider)) -> Result<(), Misfit> {
        let row = self.providers.get_mut(&id).ok_or("the provider is not known")?;
        let before = ProviderKeys::of(row);
        change(row);
        self.index.move_provider(before, row);
        Ok(())
    }

    /// Runs `change` on a provider that may be new, its advert included, and moves it in the indexes.
    fn enter_provider(&mut self, id: ProviderId, change: impl FnOnce(&mut Provider)) -> Result<(), Misfit> {
        let now_ms = self.now_ms;
        // One that is new stands in no index yet, so there is nothing to take out.
        let row = self.providers.get_or_insert_with(id, || Provider::new(id, now_ms));
        self.index.remove_provider(row);
        change(row);
        self.index.add_provider(row);
        Ok(())
    }

    fn unadvertised(&mut self, id: ProviderId) -> Result<(), Misfit> {
        if !self.providers.contains_key(&id) {
            return Err("the provider is not known");
        }
        self.enter_provider(id, Provider::offer_nothing)
    }

    fn set_presence(&mut self, id: ProviderId, presence: Presence) -> Result<(), Misfit> {
        self.change_provider(id, |row| row.presence = presence)
    }

    /// Runs `change` on every job that the provider holds a lease on.
    fn change_leases_of(&mut self, id: ProviderId, change: impl Fn(&mut Job)) -> Result<(), Misfit> {
        let row = self.providers.get(&id).ok_or("the provider is not known")?;
        for job in row.leases.clone() {
            self.change_job(job, &change)?;
        }
        Ok(())
    }

    fn came_online(&mut self, id: ProviderId) -> Result<(), Misfit> {
        if !self.providers.contains_key(&id) {
            self.enter_provider(id, |_| {})?;
        }
        self.set_presence(id, Presence::Online)?;
        self.change_leases_of(id, |job| job.set_grace(id, None))
    }

    /// A connected provider that has no advert offers what it listens for.
    fn listened(&mut self, id: ProviderId, kinds: &[u16], slots: u32) -> Result<(), Misfit> {
        let row = self.providers.get(&id).filter(|row| row.is_online()).ok_or("the provider is not connected")?;
        if row.advert.is_some() && !row.walk_in {
            return Err("the provider has an advert");
        }
        let offers = kinds.iter().map(|kind| Offer { kind: *kind, price_msat: None });
        let advert = Advert { kinds: offers.collect(), ..Advert::default() };
        self.enter_provider(id, |row| {
            row.offer_nothing();
            if !kinds.is_empty() {
                (row.advert, row.walk_in, row.slots) = (Some(advert), true, slots);
            }
        })
    }

    fn believed(&mut self, id: JobId, enough: bool) -> Result<(), Misfit> {
        let job = self.jobs.get(&id).filter(|job| job.is_open()).ok_or("the job is not open")?;
        if !job.request.adaptive || job.submissions.len() != 1 {
            return Err("the job is not to be decided by its first result");
        }
        self.change_job(id, |job| {
            job.request.adaptive = false;
            if enough {
                (job.request.replicas, job.request.quorum) = (1, 1);
            }
        })
    }

    fn opened(&mut self, id: JobId) -> Result<(), Misfit> {
        let job = self.jobs.get(&id).filter(|job| job.is_open()).ok_or("the job is not open")?;
        if job.granted() > 0 || !job.request.opens() {
            return Err("the job is not for everybody");
        }
        self.change_job(id, |job| {
            job.request.dispatch = Dispatch::Open;
            job.terms.open_at_ms = None;
        })
    }

    fn went_offline(&mut self, id: ProviderId, grace_until_ms: u64) -> Result<(), Misfit> {
        let since_ms = self.now_ms;
        self.set_presence(id, Presence::Offline { since_ms, grace_until_ms })?;
        if self.providers.get(&id).is_some_and(|row| row.walk_in) {
            self.enter_provider(id, Provider::offer_nothing)?;
        }
        self.change_leases_of(id, |job| job.set_grace(id, Some(grace_until_ms)))
    }

    fn restarted(&mut self, grace_until_ms: u64) -> Result<(), Misfit> {
        let waits_for = |job: &JobId, holder: ProviderId| {
            let lease = self.jobs.get(job).and_then(|job| job.lease_of(holder));
            lease.is_some_and(|lease| lease.grace_until_ms.is_some())
        };
        let away = |row: &&Provider| row.is_online() || row.leases.iter().any(|job| waits_for(job, row.id));
        let ids: Vec<_> = self.providers.values().filter(away).map(|row| row.id).collect();
        for id in ids {
            self.went_offline(id, grace_until_ms)?;
        }
        let leased: Vec<_> = self.jobs.values().filter(|job| !job.leases.is_empty()).map(|job| job.id).collect();
        for id in leased {
            self.change_job(id, |job| job.extend_to(grace_until_ms))?;
        }
        let is_due = |job: &&Job| matches!(job.money.bill, Bill::Due { .. });
        let billed: Vec<_> = self.jobs.values().filter(is_due).map(|job| job.id).collect();
        for id in billed {
            self.change_job(id, |job| job.extend_bill_to(grace_until_ms))?;
        }
        Ok(())
    }

    fn forget_provider(&mut self, id: ProviderId) -> Result<(), Misfit> {
        let row = self.providers.remove(&id).ok_or("the provider is not known")?;
        self.index.remove_provider(&row);
        if row.leases.is_empty() { Ok(()) } else { Err("the provider still holds leases") }
    }

    fn add_job(&mut self, job: Box<Job>) -> Result<(), Misfit> {
        self.next_arrival = job.arrival.checked_add(1).ok_or("the arrival numbers are used up")?;
        self.restore_job(job)
    }

    fn restore_job(&mut self, job: Box<Job>) -> Result<(), Misfit> {
        if job.is_open() {
            self.fairness.enter(job.request.kind, job.customer, job.terms.span);
        }
        self.index.marks.extend(marks(&job));
        self.chain.add(&job, &self.jobs);
        let handle = self.jobs.insert_new(job.id, job).ok_or("the job is known already")?;
        let job = self.jobs.at(handle).ok_or("the job is not known")?;
        self.index.add_job(&JobKeys::of(job, handle));
        Ok(())
    }

    fn leased(
        &mut self,
        id: JobId,
        provider: ProviderId,
        number: u64,
        (accept_by_ms, run_ms, agreed_msat): (u64, u64, Option<u64>),
    ) -> Result<(), Misfit> {
        if number < self.next_lease {
            return Err("the lease number was used before");
        }
        let job = self.jobs.get(&id).ok_or("the job is not known")?;
        if job.wanted() == 0 {
            return Err("the job wants no lease");
        }
        if job.has_tried(provider) {
            return Err("the provider had its chance");
        }
        self.fairness.serve(job.request.kind, job.terms.span);
        self.next_lease = number.checked_add(1).ok_or("the lease numbers are used up")?;
        let since_ms = self.now_ms;
        self.change_provider(provider, |row| row.take_lease(id))?;
        self.change_job(id, |job| {
            let attempt = job.next_attempt();
            if job.next_backs_up().is_some() {
                job.backup.iter_mut().for_each(|backup| backup.lease = Some(number));
            }
            let phase = Phase::Offered { accept_by_ms };
            // Nearly all jobs have one at a time.
            job.leases.reserve_exact(1);
            job.leases.push(Lease {
                number,
                provider,
                attempt,
                since_ms,
                agreed_msat,
                run_ms,
                worked_ms: 0,
                working_since_ms: None,
                grace_until_ms: None,
                straggles_at_ms: None,
                phase,
                accepted_ms: None,
            });
        })
    }

    fn set_phase(&mut self, id: JobId, number: u64, phase: Phase) -> Result<(), Misfit> {
        let now_ms = self.now_ms;
        self.change_lease(id, number, |lease| lease.enter(phase, now_ms))
    }

    fn change_lease(&mut self, id: JobId, number: u64, change: impl FnOnce(&mut Lease)) -> Result<(), Misfit> {
        self.live_lease(id, number)?;
        self.change_job(id, |job| {
            let lease = job.leases.iter_mut().find(|lease| lease.number == number);
            if let Some(lease) = lease {
                change(lease);
            }
        })
    }

    /// One backup in a job's life: no other lease is watched from then on.
    fn straggled(&mut self, id: JobId, number: u64) -> Result<(), Misfit> {
        self.live_lease(id, number)?;
        if self.jobs.get(&id).is_some_and(|job| job.backup.is_some()) {
            return Err("the job had its backup");
        }
        self.change_job(id, |job| {
            job.backup = Some(Backup { of: number, lease: None });
            job.leases.iter_mut().for_each(|lease| lease.straggles_at_ms = None);
        })
    }

    /// Changes the offers of an open job, if they are taken now or not, as it must be.
    fn change_bidding(&mut self, id: JobId, open: bool, change: impl FnOnce(&mut Bidding)) -> Result<(), Misfit> {
        let job = self.jobs.get(&id).filter(|job| job.is_open()).ok_or("the job is not open")?;
        if job.bidding.until_ms.is_some() != open || job.bidding.is_over {
            return Err("the job takes no offers, or takes them already");
        }
        self.change_job(id, |job| change(&mut job.bidding))
    }

    fn bade(&mut self, id: JobId, provider: ProviderId, (offer, amount_msat): (ResultId, u64)) -> Result<(), Misfit> {
        self.change_bidding(id, true, |bidding| {
            let before = bidding.bids.iter().position(|bid| bid.provider == provider);
            let mut said = before.map_or_else(Vec::new, |at| bidding.bids.remove(at).said);
            said.push(offer);
            bidding.bids.push(Bid { provider, amount_msat, said });
        })
    }

    fn input_came(&mut self, id: JobId, input: JobId, result: ResultId) -> Result<(), Misfit> {
        self.awaits(id, input)?;
        self.change_job(id, |job| {
            let inputs = job.request.inputs.iter_mut().filter(|one| one.job == input);
            inputs.for_each(|one| one.result = Some(result));
        })?;
        self.chain.release(id, input);
        Ok(())
    }

    fn input_failed(&mut self, id: JobId, input: JobId) -> Result<(), Misfit> {
        self.awaits(id, input)?;
        self.change_job(id, |job| job.failed_input = Some(input))
    }

    fn awaits(&self, id: JobId, input: JobId) -> Result<(), Misfit> {
        let job = self.jobs.get(&id).ok_or("the job is not known")?;
        if job.awaited().any(|awaited| awaited == input) { Ok(()) } else { Err("the job does not wait for that one") }
    }

    /// Lays an open job to rest, or wakes it.
    fn set_rest(&mut self, id: JobId, until_ms: Option<u64>) -> Result<(), Misfit> {
        let job = self.jobs.get(&id).filter(|job| job.is_open()).ok_or("the job is not open")?;
        if job.rests_until_ms.is_some() == until_ms.is_some() {
            return Err("the job rests already, or does not rest");
        }
        self.change_job(id, |job| job.rests_until_ms = until_ms)
    }

    /// Takes a lease from its holder and its job. What follows puts something in its place.
    fn free_slot(&mut self, lease: &Lease, id: JobId, change: impl FnOnce(&mut Provider)) -> Result<(), Misfit> {
        self.change_provider(lease.provider, |row| {
            row.drop_lease(id);
            change(row);
        })
    }

    fn lease_ended(&mut self, id: JobId, number: u64, reason: &Reason) -> Result<(), Misfit> {
        let lease = self.live_lease(id, number)?.clone();
        self.free_slot(&lease, id, |row| {
            if reason.blames_provider() {
                row.failed = row.failed.saturating_add(1);
            }
        })?;
        self.lease_failed(id, lease.provider, reason)?;
        let attempt = Attempt {
            number: lease.attempt,
            provider: lease.provider,
            lease: lease.number,
            since_ms: lease.since_ms,
            reason: reason.clone(),
            ended_at_ms: self.now_ms,
        };
        self.change_job(id, |job| {
            job.leases.retain(|lease| lease.number != number);
            job.attempts.push(attempt);
        })
    }

    fn submitted(
        &mut self,
        id: JobId,
        provider: ProviderId,
        result: ResultId,
        (answer, low): (&Answer, u32),
    ) -> Result<(), Misfit> {
        let job = self.jobs.get(&id).filter(|job| job.is_open()).ok_or("the job is not open")?;
        let at_ms = self.now_ms;
        let accepted_ms = job.lease_of(provider).map(|lease| lease.accepted_in_ms(at_ms));
        let (lease, attempt, late, ran_ms) = match (job.standing(provider), job.request.dispatch) {
            (Standing::Delivered(_), Dispatch::Leased | Dispatch::Open) => return Err("the provider delivered before"),
            (Standing::Holder(lease), Dispatch::Leased | Dispatch::Open) => {
                (Some(lease.number), lease.attempt, false, lease.ran_ms(at_ms))
            }
            (Standing::Past(attempt), Dispatch::Leased | Dispatch::Open) => {
                (Some(attempt.lease), attempt.number, true, at_ms.saturating_sub(attempt.since_ms))
            }
            (Standing::Stranger, Dispatch::Open) => (None, 0, false, at_ms.saturating_sub(job.arrived_ms)),
            (Standing::Stranger, Dispatch::Leased) => return Err("the provider never held a lease"),
        };
        if let Some(lease) = job.lease_of(provider).cloned() {
            self.free_slot(&lease, id, |_| {})?;
        }
        let answer = answer.clone();
        self.change_job(id, |job| {
            job.leases.retain(|lease| lease.provider != provider);
            let verdict = None;
            let submission =
                Submission { provider, result, lease, attempt, late, at_ms, ran_ms, low, answer, verdict, accepted_ms };
            job.submissions.reserve_exact(1);
            job.submissions.push(submission);
        })
    }

    fn ended(&mut self, id: JobId, stage: Stage, verdicts: &[Verdict]) -> Result<(), Misfit> {
        let job = self.jobs.get(&id).filter(|job| job.is_open()).ok_or("the job is not open")?;
        if !job.leases.is_empty() {
            return Err("a lease is still live");
        }
        if !verdicts.is_empty() && verdicts.len() != job.submissions.len() {
            return Err("the verdicts are not one for each result");
        }
        self.fairness.leave(job.request.kind, job.customer);
        let (kind, leased) = (job.request.kind, job.request.dispatch == Dispatch::Leased);
        let compared = job.compares();
        for (place, verdict) in verdicts.iter().copied().enumerate() {
            let Some(submission) = self.jobs.get(&id).and_then(|job| job.submissions.get(place)) else {
                return Err("a verdict has no result");
            };
            let Submission { provider, late, ran_ms, accepted_ms, .. } = *submission;
            let timed = Timed { ran_ms, accepted_ms };
            // Those that validators rejected were judged then.
            if submission.verdict.is_some() {
                continue;
            }
            // In open dispatch nobody knows when the work began.
            let counts = leased && verdict == Verdict::Pass;
            if counts {
                note(&mut self.paces, kind, timed, KINDS_MAX);
            }
            // In open dispatch it may be anybody.
            if self.providers.contains_key(&provider) {
                self.change_provider(provider, |row| {
                    row.judged(verdict, late);
                    if counts {
                        note(&mut row.paces, kind, timed, OWN_KINDS_MAX);
                    }
                    if compared {
                        row.streak = if verdict == Verdict::Pass { row.streak.saturating_add(1) } else { 0 };
                    }
                })?;
                self.result_judged(id, provider, verdict, late)?;
            }
        }
        let awaited: Vec<_> = self.jobs.get(&id).into_iter().flat_map(Job::awaited).collect();
        self.change_job(id, |job| {
            job.request.require = Vec::new();
            job.request.rank = Vec::new();
            job.request.params = Vec::new();
            job.request.providers = Vec::new();
            job.request.barred = Vec::new();
            job.examination = None;
            job.rests_until_ms = None;
            job.bidding.until_ms = None;
            for (submission, verdict) in job.submissions.iter_mut().zip(verdicts) {
                submission.verdict = Some(*verdict);
            }
            job.submissions.iter_mut().for_each(|submission| submission.answer = Answer::Unread);
            job.stage = stage;
        })?;
        awaited.into_iter().for_each(|input| self.chain.release(id, input));
        self.chain.ended(id);
        Ok(())
    }

    fn forget_job(&mut self, id: JobId) -> Result<(), Misfit> {
        let handle = self.jobs.handle(&id).ok_or("the job is not known")?;
        let job = self.jobs.remove(&id).ok_or("the job is not known")?;
        self.index.remove_job(&JobKeys::of(&job, handle));
        for mark in marks(&job) {
            self.index.marks.remove(&mark);
        }
        if self.chain.is_awaited(id) {
            return Err("somebody waits for the job");
        }
        if job.is_open() { Err("the job has not ended") } else { Ok(()) }
    }

    fn live_lease(&self, id: JobId, number: u64) -> Result<&Lease, Misfit> {
        let job = self.jobs.get(&id).ok_or("the job is not known")?;
        job.lease(number).ok_or("the job has no such live lease")
    }
}
