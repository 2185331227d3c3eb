//! Judges what was published, by book-keeping of its own: it never looks into the scheduler.

use super::truth::same;
use mercato_scheduler::{
    Advert, Answer, CustomerId, Dispatch, Effect, End, Feedback, Finding, Input, JobId, Judged as Compared, LeaseView,
    ProviderId, Request, ResultId, Status, Upstream, VALIDATION_KIND, Validation, Value, Verdict,
};
use std::collections::{BTreeMap, BTreeSet};

/// A job between its request and its end.
struct Open {
    request: Request,
    customer: CustomerId,
    deadline_ms: u64,
    /// Offers are taken until then.
    bids_until_ms: Option<u64>,
    /// What was offered last, by whom.
    offers: BTreeMap<ProviderId, u64>,
    /// The slow lease that another was granted beside.
    backed_up: Option<u64>,
    /// When it must end, as it was told first.
    told_deadline_ms: Option<u64>,
    /// It was said to get no lease before.
    rests_until_ms: Option<u64>,
    live: BTreeMap<ProviderId, Live>,
    /// Everyone who ever held a lease, and its number.
    holders: BTreeMap<ProviderId, u64>,
    /// Results that were taken, in their order.
    results: Vec<(ProviderId, ResultId, Answer)>,
    /// What validators are to look at, and until when.
    ordered: Option<(ResultId, u64)>,
    /// The job that they do.
    examined_by: Option<JobId>,
    /// What they found of it, if anything.
    found: Option<Verdict>,
    /// Whether their job is over, or their time.
    is_examined: bool,
    /// What they found wrong.
    rejected: BTreeSet<ResultId>,
    /// Of a validators' job: whose result they look at, and who may not be one of them.
    examines: Option<(JobId, BTreeSet<ProviderId>)>,
    verdicts: BTreeMap<ResultId, Verdict>,
    /// It was to be leased, and is for everybody by now.
    opened: bool,
}

/// Compared results in a row that must have passed before a single one is believed.
const TRUSTED_AFTER: u32 = 10;

/// A live lease.
struct Live {
    lease: u64,
    /// The leaseholder left and must be back by then.
    back_by_ms: Option<u64>,
}

impl Open {
    fn is_for_all(&self) -> bool {
        self.request.dispatch == Dispatch::Open || self.opened
    }

    /// Whether this one may answer without a lease: it is named, nobody has had a lease, and the customer does not insist on one.
    fn is_claimed_by(&self, provider: ProviderId) -> bool {
        let request = &self.request;
        let is_free = self.holders.is_empty() && request.inputs.is_empty();
        request.may_open && request.replicas == 1 && is_free && request.providers.contains(&provider)
    }

    /// The results that are the same as one of them.
    fn group(&self, centre: &Answer) -> BTreeSet<ProviderId> {
        let validate = self.request.validate;
        let alike = self.standing().filter(|(_, _, answer)| same(validate, centre, answer));
        alike.map(|(provider, _, _)| *provider).collect()
    }

    /// Validators found this wrong, and what says the same.
    fn reject(&mut self, result: ResultId) {
        let Some((_, _, centre)) = self.results.iter().find(|(_, id, _)| *id == result).cloned() else {
            return;
        };
        let quorums = self.request.quorum > 1;
        let alike = self.group(&centre);
        let wrong = self.results.iter().filter(|(by, id, _)| *id == result || (quorums && alike.contains(by)));
        let wrong: Vec<ResultId> = wrong.map(|(_, id, _)| *id).filter(|id| !self.rejected.contains(id)).collect();
        self.rejected.extend(wrong);
    }

    /// Results that validators did not reject.
    fn standing(&self) -> impl Iterator<Item = &(ProviderId, ResultId, Answer)> {
        self.results.iter().filter(|(_, result, _)| !self.rejected.contains(result))
    }

    /// How many distinct providers agree at most; where nothing is compared, one.
    fn agreed(&self) -> usize {
        if self.request.quorum == 1 {
            return self.standing().count().min(1);
        }
        self.standing().map(|(_, _, answer)| self.group(answer).len()).max().unwrap_or(0)
    }
}

#[derive(Default)]
pub struct Observer {
    open: BTreeMap<JobId, Open>,
    ended: BTreeSet<JobId>,
    /// Who delivered the accepted results.
    winners: BTreeMap<JobId, ProviderId>,
    succeeded: BTreeMap<JobId, ResultId>,
    last_lease: Option<u64>,
    slots: BTreeMap<ProviderId, usize>,
    held: BTreeMap<ProviderId, BTreeSet<JobId>>,
    online: BTreeSet<ProviderId>,
    seen: BTreeSet<ProviderId>,
    /// What a provider's conditions ask as a bid, if anything.
    least_bids: BTreeMap<ProviderId, Option<i64>>,
    /// The kinds that walk-ins listen for.
    listens: BTreeMap<ProviderId, Vec<u16>>,
    /// Compared results in a row that passed; the scheduler may have forgotten some.
    streaks: BTreeMap<ProviderId, u32>,
}

/// As configured for the relay.
const GRACE_MS: u64 = 5_000;
const RESTART_GRACE_MS: u64 = 15_000;

type Judged = Result<(), String>;

fn hold(holds: bool, claim: impl FnOnce() -> String) -> Judged {
    if holds { Ok(()) } else { Err(claim()) }
}

/// What a result's id says about it; the simulated providers write it so.
pub fn result_id(job: JobId, provider: ProviderId, kind: u16, serial: u32) -> ResultId {
    let mut id = [0; 32];
    id[..16].copy_from_slice(&job.0[..16]);
    id[16..24].copy_from_slice(&provider.0[..8]);
    id[24..26].copy_from_slice(&kind.to_be_bytes());
    id[26..30].copy_from_slice(&serial.to_be_bytes());
    ResultId(id)
}

impl Observer {
    /// A committed input that changed something, before the effects of its step.
    pub fn input(&mut self, now_ms: u64, input: &Input, latest_deadline_ms: u64) -> Judged {
        match input {
            Input::Advertise { provider, advert } => {
                let slots = advert.slots.unwrap_or(1);
                self.slots.insert(*provider, usize::try_from(slots).expect("small"));
                self.least_bids.insert(*provider, least_bid(advert));
            }
            Input::Unadvertise { provider } => {
                self.slots.remove(provider);
            }
            Input::Seen { provider } => {
                self.seen.insert(*provider);
            }
            Input::Online { provider } => {
                self.online.insert(*provider);
                self.expect_back(*provider, None);
            }
            Input::Offline { provider } => {
                self.online.remove(provider);
                self.seen.remove(provider);
                self.stops_listening(*provider);
                self.expect_back(*provider, Some(now_ms + GRACE_MS));
            }
            Input::Request { job, customer, request } => {
                let asked_ms = request.deadline_ms.unwrap_or(u64::MAX);
                let open = Open {
                    request: request.clone(),
                    customer: *customer,
                    deadline_ms: asked_ms.min(latest_deadline_ms),
                    bids_until_ms: None,
                    offers: BTreeMap::new(),
                    backed_up: None,
                    told_deadline_ms: None,
                    rests_until_ms: None,
                    live: BTreeMap::new(),
                    holders: BTreeMap::new(),
                    results: Vec::new(),
                    verdicts: BTreeMap::new(),
                    opened: false,
                    ordered: None,
                    examined_by: None,
                    found: None,
                    is_examined: false,
                    rejected: BTreeSet::new(),
                    examines: None,
                };
                self.open.insert(*job, open);
            }
            Input::Examine { job, by } => return self.order(*job, *by),
            Input::Feedback { job, provider, feedback: Feedback::Offer { amount_msat, .. }, .. } => {
                let open = self.open.get_mut(job).ok_or_else(|| format!("an offer for {job:?}, which is not open"))?;
                let in_time = open.bids_until_ms.is_some();
                open.offers.insert(*provider, *amount_msat);
                return hold(in_time && open.holders.is_empty(), || format!("an offer for {job:?} out of time"));
            }
            // Who has delivered may still ask for its money.
            Input::Feedback { job, provider, feedback: Feedback::PaymentRequired { .. }, .. }
                if self.has_delivered(*job, *provider) => {}
            Input::Feedback { job, provider, lease, .. } => return self.speaks(*job, *provider, *lease, true),
            Input::Result { job, provider, lease, result, answer, .. } => {
                self.speaks(*job, *provider, *lease, false)?;
                return self.submits(*job, *provider, *result, answer);
            }
            // The ledger judges money.
            Input::Quoted { .. } | Input::Claimed { .. } | Input::Confirmed { .. } => {}
            Input::Listen { provider, kinds } => {
                self.stops_listening(*provider);
                // Who listens is there.
                self.online.insert(*provider);
                self.expect_back(*provider, None);
                if !kinds.is_empty() {
                    self.listens.insert(*provider, kinds.clone());
                    self.slots.insert(*provider, 1);
                }
            }
            Input::Cancel { .. } | Input::Restarted | Input::Tick => {}
        }
        Ok(())
    }

    /// A walk-in has no slots while it does not listen.
    fn stops_listening(&mut self, provider: ProviderId) {
        if self.listens.remove(&provider).is_some() {
            self.slots.remove(&provider);
        }
    }

    /// Whether a provider delivered for an open job, or the accepted result of one that has ended.
    fn has_delivered(&self, job: JobId, provider: ProviderId) -> bool {
        let open = self.open.get(&job);
        let delivered = open.is_some_and(|open| open.results.iter().any(|(by, _, _)| *by == provider));
        delivered || self.winners.get(&job) == Some(&provider)
    }

    /// Whether a report that counted came from one who may give it.
    fn speaks(&mut self, job: JobId, provider: ProviderId, named: Option<u64>, only_holder: bool) -> Judged {
        let open = self.open.get_mut(&job).ok_or_else(|| format!("a report moved {job:?}, which is not open"))?;
        open.opened |= open.is_claimed_by(provider);
        if open.is_for_all() {
            let wanted = &open.request.providers;
            let is_wanted = wanted.is_empty() || wanted.contains(&provider);
            return hold(is_wanted, || format!("{provider:?} moved {job:?}, which names others"));
        }
        let own = open.holders.get(&provider).copied();
        hold(own.is_some(), || format!("{provider:?} moved {job:?}, which it never held"))?;
        hold(named.is_none() || named == own, || {
            format!("{job:?} was moved under lease {named:?} instead of {own:?}")
        })?;
        let holds = open.live.contains_key(&provider);
        hold(holds || !only_holder, || format!("{provider:?} moved {job:?} after its lease"))
    }

    /// A result was taken: the lease that brought it is over.
    fn submits(&mut self, job: JobId, provider: ProviderId, result: ResultId, answer: &Answer) -> Judged {
        let open = self.open.get_mut(&job).ok_or_else(|| format!("a result for {job:?}, which is not open"))?;
        let again = open.results.iter().any(|(by, _, _)| *by == provider);
        hold(!again, || format!("{provider:?} delivered {job:?} twice"))?;
        let waits = open.ordered.is_some() && !open.is_examined;
        hold(!waits, || format!("{job:?} takes a result while validators look at it"))?;
        open.results.push((provider, result, answer.clone()));
        if open.live.remove(&provider).is_some() {
            self.release(job, provider);
        }
        Ok(())
    }

    /// A result becomes visible to everybody.
    pub fn shown(&self, job: JobId, by: ProviderId) -> Judged {
        let awaited = self.open.get(&job).is_some_and(|open| open.request.quorum > 1);
        hold(!awaited, || format!("the result of {by:?} for {job:?} is shown while others are to deliver theirs"))
    }

    /// A result waits for validators.
    fn ask(&mut self, job: JobId, result: ResultId, until_ms: u64) -> Judged {
        let open = self.open.get_mut(&job).ok_or_else(|| format!("validators for {job:?}, which is not open"))?;
        hold(open.request.panel.is_some(), || format!("validators for {job:?}, which asks for none"))?;
        hold(open.live.is_empty(), || format!("validators for {job:?}, on which others work"))?;
        hold(open.ordered.is_none() || open.is_examined, || format!("validators for {job:?} twice"))?;
        let answer = open.standing().find(|(_, id, _)| *id == result).map(|(_, _, answer)| answer.clone());
        let agreed = answer.map_or(0, |answer| if open.request.quorum > 1 { open.group(&answer).len() } else { 1 });
        hold(agreed >= size(open.request.quorum), || format!("validators for {job:?} without a quorum"))?;
        hold(until_ms <= open.deadline_ms, || format!("validators for {job:?} may take too long"))?;
        (open.ordered, open.examined_by, open.found, open.is_examined) = (Some((result, until_ms)), None, None, false);
        Ok(())
    }

    /// Validators are ordered: nobody of those who worked on the job, nor its customer.
    fn order(&mut self, job: JobId, by: JobId) -> Judged {
        let open = self.open.get_mut(&job).ok_or_else(|| format!("an order for {job:?}, which is not open"))?;
        let (Some((_, until_ms)), Some(panel), false) = (open.ordered, open.request.panel, open.is_examined) else {
            return Err(format!("an order for {job:?}, which waits for no validators"));
        };
        open.examined_by = Some(by);
        let workers = open.holders.keys().copied().chain([ProviderId(open.customer.0)]).collect();
        let request = Request {
            replicas: panel.validators,
            quorum: panel.quorum,
            bid_msat: Some(panel.bid_msat),
            validate: Validation::Verdict,
            ..Request::new(VALIDATION_KIND)
        };
        let order = Open {
            request,
            customer: open.customer,
            deadline_ms: until_ms,
            bids_until_ms: None,
            offers: BTreeMap::new(),
            backed_up: None,
            told_deadline_ms: None,
            rests_until_ms: None,
            live: BTreeMap::new(),
            holders: BTreeMap::new(),
            results: Vec::new(),
            verdicts: BTreeMap::new(),
            ordered: None,
            examined_by: None,
            found: None,
            is_examined: false,
            rejected: BTreeSet::new(),
            opened: false,
            examines: Some((job, workers)),
        };
        self.open.insert(by, order);
        Ok(())
    }

    /// At the end of a validators' job: what it found counts for the one that waits. At the end of that: it follows what was found.
    fn findings(&mut self, clock_ms: u64, id: JobId, end: &End, examined: Option<Finding>) -> Judged {
        let open = self.open.get(&id).ok_or_else(|| format!("the end of {id:?}, which is not open"))?;
        if let Some((job, _)) = open.examines.clone() {
            let said = open
                .results
                .iter()
                .find(|(_, result, _)| matches!(end, End::Succeeded { result: accepted } if accepted == result));
            let found =
                said.and_then(|(_, _, answer)| if let Answer::Verdict(found) = answer { Some(*found) } else { None });
            if let Some(other) = self.open.get_mut(&job).filter(|other| other.examined_by == Some(id)) {
                (other.found, other.is_examined) = (found, true);
                if let (Some((result, _)), true) = (other.ordered, found.is_some_and(Verdict::rejects)) {
                    other.reject(result);
                }
            }
            return Ok(());
        }
        let succeeded = matches!(end, End::Succeeded { .. });
        let expected = (succeeded && open.request.panel.is_some()).then_some(if open.found == Some(Verdict::Pass) {
            Finding::Passed
        } else {
            Finding::Unvalidated
        });
        hold(examined == expected, || format!("{id:?} says {examined:?} of validators and should say {expected:?}"))?;
        let had_time = open.ordered.is_some_and(|(_, until_ms)| open.is_examined || until_ms <= clock_ms);
        hold(expected != Some(Finding::Unvalidated) || had_time, || format!("{id:?} did not wait for validators"))
    }

    /// The provider left and must be back by then to keep its leases; or it is back.
    fn expect_back(&mut self, provider: ProviderId, by_ms: Option<u64>) {
        for job in self.held.get(&provider).into_iter().flatten() {
            if let Some(live) = self.open.get_mut(job).and_then(|open| open.live.get_mut(&provider)) {
                live.back_by_ms = by_ms;
            }
        }
    }

    /// Whether every leaseholder that left and did not come back lost its lease.
    pub fn nobody_overstays(&self, now_ms: u64) -> Judged {
        let overstays = |live: &Live| live.back_by_ms.is_some_and(|by_ms| by_ms + 5_000 < now_ms);
        let mut live = self.open.values().flat_map(|open| &open.live);
        match live.find(|(_, live)| overstays(live)) {
            Some((provider, live)) => Err(format!("{provider:?} is away and keeps lease {}", live.lease)),
            None => Ok(()),
        }
    }

    /// The relay was away: its connections are gone.
    pub fn relay_came_back(&mut self, now_ms: u64) {
        for provider in std::mem::take(&mut self.online) {
            self.seen.remove(&provider);
            self.stops_listening(provider);
            self.expect_back(provider, Some(now_ms));
        }
        let live = self.open.values_mut().flat_map(|open| open.live.values_mut());
        for live in live.filter(|live| live.back_by_ms.is_some()) {
            live.back_by_ms = Some(now_ms + RESTART_GRACE_MS);
        }
    }

    /// A published effect, at the world's time and the scheduler's, which is never behind. The relay has been up since `up_since_ms`.
    pub fn effect(&mut self, (now_ms, clock_ms): (u64, u64), up_since_ms: u64, effect: &Effect) -> Judged {
        match effect {
            Effect::AnnounceLease { job, provider, lease, expires_at_ms, backs_up, inputs, agreed_msat, .. } => {
                self.pays(clock_ms, *job, *provider, *agreed_msat)?;
                self.has_inputs(*job, inputs)?;
                self.back_up(*job, *backs_up)?;
                self.lease((now_ms, clock_ms), *job, *provider, *lease, *expires_at_ms)
            }
            Effect::AnnounceWithdrawal { job, provider, lease, .. } => self.withdrawal(*job, *provider, *lease),
            Effect::AnnounceVerdict { job, provider, result, verdict, .. } => {
                let streak = self.streaks.entry(*provider).or_default();
                *streak = if *verdict == Verdict::Pass { *streak + 1 } else { 0 };
                let open = self.open.get_mut(job).ok_or_else(|| format!("a verdict on {job:?}, which is not open"))?;
                let known = open.results.iter().any(|(_, id, _)| id == result);
                hold(known, || format!("a verdict on {result:?}, which nobody delivered"))?;
                let again = open.verdicts.insert(*result, *verdict);
                hold(again.is_none(), || format!("{result:?} is judged twice"))
            }
            Effect::AnnounceEnd { job, customer, provider, end, judged, examined, .. } => {
                self.findings(clock_ms, *job, end, *examined)?;
                let open = self.open.get(job);
                let due_ms = open.map_or(0, |open| open.deadline_ms).max(up_since_ms);
                hold(now_ms <= due_ms + 5_000, || format!("{job:?} ended {} ms late", now_ms - due_ms))?;
                self.end((*job, *customer), *provider, end, judged)
            }
            Effect::AnnouncePayment { .. } => Ok(()),
            Effect::OrderValidation { job, result, until_ms, .. } => self.ask(*job, *result, *until_ms),
            Effect::AnnounceState { view } => {
                let known = self.open.contains_key(&view.job) || self.ended.contains(&view.job);
                hold(known, || format!("the state of {:?}, which nobody asked for", view.job))?;
                let Some(open) = self.open.get_mut(&view.job) else {
                    return hold(view.rests_until_ms.is_none(), || format!("{:?} has ended and rests", view.job));
                };
                open.rests_until_ms = view.rests_until_ms;
                open.opened |= view.status == Status::Open;
                let told_ms = *open.told_deadline_ms.get_or_insert(view.deadline_ms);
                hold(told_ms == view.deadline_ms, || format!("the end of {:?}'s time has moved", view.job))?;
                let in_time = |lease: &LeaseView| lease.expires_at_ms <= told_ms;
                hold(view.leases.iter().all(in_time), || format!("a lease on {:?} outlives it", view.job))?;
                open.bids_until_ms = view.bids_until_ms.or(open.bids_until_ms);
                hold(view.rests_until_ms.is_none_or(|until_ms| until_ms <= open.deadline_ms), || {
                    format!("{:?} rests beyond its deadline", view.job)
                })
            }
        }
    }

    /// After everything is over.
    pub fn all_ended(&self) -> Judged {
        hold(self.open.is_empty(), || format!("{} jobs never ended", self.open.len()))?;
        hold(self.held.is_empty(), || format!("{} leases never ended", self.held.len()))
    }

    fn lease(
        &mut self,
        (now_ms, clock_ms): (u64, u64),
        job: JobId,
        provider: ProviderId,
        lease: u64,
        expires_ms: u64,
    ) -> Judged {
        let open = self.open.get_mut(&job);
        let open = open.ok_or_else(|| format!("a lease on {job:?}, which is not open"))?;
        hold(!open.is_for_all(), || format!("{job:?} is open to all"))?;
        let waits = open.ordered.is_some() && !open.is_examined;
        hold(!waits, || format!("{job:?} is leased while validators look at it"))?;
        let barred = open.examines.as_ref().is_some_and(|(_, barred)| barred.contains(&provider));
        hold(!barred, || format!("{provider:?} judges its own work in {job:?}"))?;
        let rests = open.rests_until_ms.is_some_and(|until_ms| clock_ms < until_ms);
        hold(!rests, || format!("{job:?} rests and gets a lease"))?;
        let (results, live) = (open.results.len(), open.live.len());
        let (replicas, quorum) = (size(open.request.replicas), size(open.request.quorum));
        // One, until it is known whether its holder is trusted.
        let awaits_first = open.request.adaptive && results == 0;
        let wanted = if awaits_first { 1 } else { replicas.max(results + quorum.saturating_sub(open.agreed()).max(1)) };
        let beside = open.backed_up.is_some_and(|of| open.live.values().any(|live| live.lease == of));
        hold(live + results < wanted + usize::from(beside), || {
            format!("{job:?} has {results} results, {live} leases, and gets another")
        })?;
        hold(open.holders.insert(provider, lease).is_none(), || format!("{provider:?} tries {job:?} again"))?;
        hold(expires_ms <= open.deadline_ms, || format!("the lease on {job:?} outlives it"))?;
        // A commit takes time.
        hold(now_ms < expires_ms + 5_000, || format!("the lease on {job:?} is over before it begins"))?;
        let named = &open.request.providers;
        hold(named.is_empty() || named.contains(&provider), || format!("{job:?} does not name {provider:?}"))?;
        hold(self.last_lease < Some(lease), || format!("lease {lease} after {:?}", self.last_lease))?;
        let least = self.least_bids.get(&provider).copied().flatten();
        let bid = open.request.bid_msat.map_or(i64::MIN, |bid| i64::try_from(bid).unwrap_or(i64::MAX));
        hold(least.is_none_or(|least| bid >= least), || format!("{provider:?} does not accept {job:?}"))?;
        let present = self.online.contains(&provider) || self.seen.contains(&provider);
        hold(present, || format!("{provider:?} is away and got {job:?}"))?;
        let listens = self.listens.get(&provider).is_none_or(|kinds| kinds.contains(&open.request.kind));
        hold(listens, || format!("{provider:?} walked in, does not listen for the kind of {job:?}, and got it"))?;
        let held = self.held.entry(provider).or_default();
        held.insert(job);
        let slots = self.slots.get(&provider).copied().unwrap_or(0);
        hold(held.len() <= slots, || format!("{provider:?} has {slots} slots and holds {held:?}"))?;
        open.live.insert(provider, Live { lease, back_by_ms: None });
        self.last_lease = Some(lease);
        Ok(())
    }

    /// No lease comes before the offers are over, and none is paid less than its holder offered or more than the bid.
    fn pays(&mut self, clock_ms: u64, job: JobId, provider: ProviderId, agreed_msat: Option<u64>) -> Judged {
        let open = self.open.get(&job).ok_or_else(|| format!("a lease on {job:?}, which is not open"))?;
        let is_over = open.request.auction.is_none() || open.bids_until_ms.is_some_and(|until_ms| until_ms <= clock_ms);
        hold(is_over, || format!("{job:?} is leased before its offers are over"))?;
        let Some(agreed_msat) = agreed_msat else {
            return Ok(());
        };
        let offered = open.offers.get(&provider).copied();
        hold(offered.is_some_and(|offered| offered <= agreed_msat), || {
            format!("{provider:?} offered {offered:?} for {job:?} and gets {agreed_msat}")
        })?;
        hold(open.request.bid_msat.is_none_or(|bid| agreed_msat <= bid), || format!("{job:?} pays more than its bid"))
    }

    /// A lease hands on the results of exactly the jobs that were named, all of which have succeeded.
    fn has_inputs(&self, job: JobId, inputs: &[Upstream]) -> Judged {
        let open = self.open.get(&job).ok_or_else(|| format!("a lease on {job:?}, which is not open"))?;
        let named: BTreeSet<JobId> = open.request.inputs.iter().map(|input| input.job).collect();
        let given: BTreeSet<JobId> = inputs.iter().map(|input| input.job).collect();
        hold(named == given, || format!("{job:?} waits for {named:?} and is given {given:?}"))?;
        let right =
            |input: &Upstream| input.result.is_some() && self.succeeded.get(&input.job) == input.result.as_ref();
        hold(inputs.iter().all(right), || format!("{job:?} is leased without its inputs: {inputs:?}"))
    }

    /// A lease beside another: one in a job's life, while that other one is live.
    fn back_up(&mut self, job: JobId, of: Option<u64>) -> Judged {
        let (Some(open), Some(of)) = (self.open.get_mut(&job), of) else {
            return Ok(());
        };
        hold(open.live.values().any(|live| live.lease == of), || {
            format!("{job:?} backs up lease {of}, which is over")
        })?;
        hold(open.backed_up.is_none(), || format!("{job:?} gets a second backup"))?;
        open.backed_up = Some(of);
        Ok(())
    }

    fn withdrawal(&mut self, job: JobId, provider: ProviderId, lease: u64) -> Judged {
        let open = self.open.get_mut(&job);
        let live = open.and_then(|open| open.live.remove(&provider)).map(|live| live.lease);
        hold(live == Some(lease), || format!("lease {lease} on {job:?} is withdrawn, but {live:?} is live"))?;
        self.release(job, provider);
        Ok(())
    }

    fn end(
        &mut self,
        (job, customer): (JobId, CustomerId),
        provider: Option<ProviderId>,
        end: &End,
        compared: &[Compared],
    ) -> Judged {
        let open = self.open.remove(&job);
        let mut open = open.ok_or_else(|| format!("the end of {job:?}, which is not open"))?;
        self.believe(job, &mut open, end)?;
        hold(self.ended.insert(job), || format!("{job:?} ended twice"))?;
        hold(open.live.is_empty(), || format!("{job:?} ended under a live lease"))?;
        let told: Vec<_> = compared.iter().map(|result| result.result).collect();
        let taken = open.results.iter().map(|(_, result, _)| *result);
        let all: Vec<_> = taken.filter(|_| open.request.quorum > 1 || open.request.panel.is_some()).collect();
        hold(told == all, || format!("{job:?} compared {all:?} and tells of {told:?}"))?;
        let believed = Believed::of(&open, compared);
        hold(customer == open.customer, || format!("the end of {job:?} goes to a stranger"))?;
        match end {
            End::Succeeded { result } => {
                self.succeeded.insert(job, *result);
                let by = provider.ok_or_else(|| format!("nobody delivered {job:?}"))?;
                self.winners.insert(job, by);
                let claim = result_id(job, by, open.request.kind + 1_000, 0).0;
                hold(result.0[..26] == claim[..26], || format!("{job:?} has a false result"))?;
                let leased = !open.is_for_all();
                hold(!leased || open.holders.contains_key(&by), || {
                    format!("{job:?} took a result of {by:?}, who never held it")
                })?;
                decided(job, &open, *result, &believed)
            }
            End::Failed | End::Cancelled | End::Expired => {
                // A customer may take back what validators look at.
                let waits = open.ordered.is_some() && !open.is_examined && *end == End::Cancelled;
                hold(waits || believed.quorums().is_empty(), || format!("{job:?} had its quorum and did not succeed"))?;
                let judged = open.verdicts.keys().find(|result| !open.rejected.contains(result));
                hold(judged.is_none(), || format!("{job:?} was judged without a quorum"))?;
                let told = provider.is_some() || open.holders.is_empty();
                hold(told, || format!("the end of {job:?} is told to no provider"))
            }
        }
    }

    /// A single result was enough where a second opinion is usual: only that of a provider whose last ones all passed.
    fn believe(&self, job: JobId, open: &mut Open, end: &End) -> Judged {
        let (true, End::Succeeded { .. }, [(by, _, _)]) = (open.request.adaptive, end, open.results.as_slice()) else {
            return Ok(());
        };
        let streak = self.streaks.get(by).copied().unwrap_or(0);
        hold(streak >= TRUSTED_AFTER, || format!("{by:?} is believed alone on {job:?} after {streak} that passed"))?;
        open.request.quorum = 1;
        Ok(())
    }

    fn release(&mut self, job: JobId, provider: ProviderId) {
        if let Some(held) = self.held.get_mut(&provider) {
            held.remove(&job);
            if held.is_empty() {
                self.held.remove(&provider);
            }
        }
    }
}

/// What the results of a job are worth, counted by hand from what is told of their providers.
struct Believed<'a> {
    open: &'a Open,
    worth: BTreeMap<ProviderId, u64>,
}

impl<'a> Believed<'a> {
    fn of(open: &'a Open, compared: &[Compared]) -> Self {
        let square = |low: u32| u64::from(low.max(1)) * u64::from(low.max(1));
        Self { open, worth: compared.iter().map(|result| (result.provider, square(result.low))).collect() }
    }

    fn of_all(&self, providers: &BTreeSet<ProviderId>) -> u64 {
        providers.iter().map(|provider| self.worth.get(provider).copied().unwrap_or(0)).sum()
    }

    /// Every group that has enough members, is worth enough, and more than any group of the others.
    fn quorums(&self) -> Vec<BTreeSet<ProviderId>> {
        let (quorum, results) = (size(self.open.request.quorum), self.open.standing().collect::<Vec<_>>());
        let groups = || results.iter().map(|(_, _, centre)| self.open.group(centre));
        if quorum == 1 {
            return results.iter().map(|(by, _, _)| BTreeSet::from([*by])).collect();
        }
        let rival = |group: &BTreeSet<ProviderId>| {
            let others = results.iter().filter(|(by, _, _)| !group.contains(by));
            let around = others.map(|(_, _, centre)| self.open.group(centre).difference(group).copied().collect());
            around.map(|other| self.of_all(&other)).max().unwrap_or(0)
        };
        let wins = |group: &BTreeSet<ProviderId>| {
            let worth = self.of_all(group);
            group.len() >= quorum && worth > rival(group) && worth >= 3_600 * u64::from(self.open.request.quorum)
        };
        groups().filter(wins).collect()
    }
}

/// Whether the accepted result was delivered, and is the word of a quorum; and whether all results were judged by that.
fn decided(job: JobId, open: &Open, accepted: ResultId, believed: &Believed<'_>) -> Judged {
    let delivered = open.results.iter().find(|(_, id, _)| *id == accepted);
    hold(delivered.is_some(), || format!("{job:?} ended with a result that nobody delivered"))?;
    let rejected = open.rejected.iter().find(|result| open.verdicts.get(*result).is_none_or(|one| !one.rejects()));
    hold(rejected.is_none(), || format!("{job:?} forgot that validators rejected {rejected:?}"))?;
    hold(!open.rejected.contains(&accepted), || format!("{job:?} accepted what validators rejected"))?;
    if open.request.panel.is_some() {
        let passes = open.verdicts.get(&accepted) == Some(&Verdict::Pass);
        hold(passes, || format!("{job:?} accepted a result that did not pass"))?;
    } else if open.request.quorum == 1 {
        return hold(open.verdicts.is_empty(), || format!("{job:?} was judged though nothing was compared"));
    }
    let passes = |id: &ResultId| open.verdicts.get(id) == Some(&Verdict::Pass);
    let passed = open.results.iter().filter(|(_, id, _)| passes(id)).map(|(provider, _, _)| *provider);
    let passed: BTreeSet<_> = passed.collect();
    hold(passes(&accepted), || format!("{job:?} accepted a result that did not pass"))?;
    hold(passed.len() >= size(open.request.quorum), || format!("{job:?} succeeded on the word of {passed:?}"))?;
    hold(open.verdicts.len() == open.results.len(), || format!("{job:?} has results without a verdict"))?;
    let agree = open.results.iter().any(|(_, _, centre)| open.group(centre) == passed);
    hold(agree, || format!("{passed:?} passed {job:?} and do not agree"))?;
    hold(believed.quorums().contains(&passed), || format!("{passed:?} passed {job:?} and are not to be believed"))
}

fn least_bid(advert: &Advert) -> Option<i64> {
    let asked = advert.accept.iter().filter(|condition| condition.attribute == "bid");
    let numbers = asked.flat_map(|condition| &condition.values).filter_map(|value| match value {
        Value::Int(number) => Some(*number),
        Value::Text(_) => None,
    });
    numbers.max()
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
