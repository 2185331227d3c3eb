//! One step: an input is judged, facts are recorded, effects are asked for.
//!
//! Every verb refuses before it records anything, so a refusal leaves nothing to undo.

mod admit;
mod auction;
mod chain;
mod examine;
mod expire;
mod grant;
mod pace;
mod pay;
mod presence;
mod report;

use crate::backoff::rest_ms;
use crate::config::Config;
use crate::effect::{Effect, End, Judged};
use crate::id::{JobId, ProviderId, ResultId};
use crate::input::Input;
use crate::job::Job;
use crate::lease::Reason;
use crate::record::{Fact, Record};
use crate::refusal::Refusal;
use crate::scheduler::Step;
use crate::state::State;
use crate::validation::{Submission, Verdict};
use crate::wake::Wakes;

/// The work of one step.
pub(crate) struct Turn<'a> {
    pub config: &'a Config,
    pub state: &'a mut State,
    pub wakes: &'a mut Wakes,
    pub now_ms: u64,
    step: Step,
    /// Jobs whose public state may have changed; sorted when they are told.
    touched: &'a mut Vec<JobId>,
}

/// Records or effects for which a step has room at once; few need more.
const USUAL: usize = 4;

impl<'a> Turn<'a> {
    /// `touched`: an empty buffer.
    pub fn new(
        config: &'a Config,
        state: &'a mut State,
        wakes: &'a mut Wakes,
        touched: &'a mut Vec<JobId>,
        now_ms: u64,
    ) -> Self {
        Self { config, state, wakes, now_ms, step: Step::default(), touched }
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
            Input::Result { job, provider, lease, result, kind, answer } => {
                self.receive(job, provider, lease, (result, kind, answer))
            }
            Input::Cancel { job, by } => self.cancel(job, by),
            Input::Listen { provider, kinds } => self.listen(provider, kinds),
            Input::Restarted => {
                self.restart();
                Ok(())
            }
            Input::Tick => {
                self.expire();
                Ok(())
            }
            Input::Quoted { job, provider, msat } => self.quote(job, provider, msat),
            Input::Claimed { job, provider, payer, msat, marks, confirmed } => {
                self.claim(job, (payer, provider), msat, marks, confirmed)
            }
            Input::Confirmed { job, payment_hash } => self.confirm(job, payment_hash),
            Input::Examine { job, by } => self.examine(job, by),
        }
    }

    /// Ends the step: queued jobs are matched, public states told, what is beyond the bounds forgotten.
    pub fn finish(mut self) -> Step {
        self.settle_inputs();
        self.grant_waiting();
        self.announce_touched();
        self.forget_surplus();
        self.set_half_life();
        self.step
    }

    fn announce_touched(&mut self) {
        self.touched.sort_unstable();
        self.touched.dedup();
        for job in self.touched.drain(..) {
            if let Some(job) = self.state.jobs.get(&job) {
                self.step.effects.push(Effect::AnnounceState { view: job.view() });
            }
        }
    }

    /// Takes over the operator's half-life when that has changed.
    fn set_half_life(&mut self) {
        let half_life_ms = self.config.half_life_ms;
        if self.state.half_life_ms != half_life_ms {
            self.record(Fact::HalfLifeSet { half_life_ms });
        }
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
        if self.step.records.is_empty() {
            self.step.records.reserve_exact(USUAL);
            self.step.effects.reserve_exact(USUAL);
        }
        self.step.records.push(record);
    }

    /// Ends a live lease and tells both sides.
    fn withdraw(&mut self, id: JobId, number: u64, reason: Reason) {
        let job = self.state.jobs.get(&id);
        let Some((job, lease)) = job.and_then(|job| Some((job, job.lease(number)?))) else {
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
        self.gaining(provider, |turn| turn.record(Fact::LeaseEnded { job: id, lease: number, reason }));
        self.step.effects.push(effect);
        self.touched.push(id);
    }

    fn withdraw_all(&mut self, id: JobId, reason: &Reason) {
        let leases = self.state.jobs.get(&id).map(|job| &job.leases);
        let numbers: Vec<u64> = leases.into_iter().flatten().map(|lease| lease.number).collect();
        for number in numbers {
            self.withdraw(id, number, reason.clone());
        }
    }

    /// Ends a job without live leases and tells everybody. `verdicts`: one for each result, or none.
    fn end(&mut self, id: JobId, end: End, provider: Option<ProviderId>, verdicts: Vec<Verdict>) {
        let forget_at_ms = self.now_ms.saturating_add(self.config.ended_retention_ms);
        let job = self.state.jobs.get(&id);
        let validators = job.and_then(|job| job.examination?.by);
        // What validators rejected was told then.
        let undecided = job.into_iter().flat_map(|job| &job.submissions).filter(|one| one.verdict.is_none());
        let news: Vec<ResultId> = undecided.map(|one| one.result).collect();
        self.record(Fact::Ended { job: id, end: end.clone(), provider, verdicts, forget_at_ms });
        let Some(job) = self.state.jobs.get(&id) else {
            panic!("{id:?} ended and is not known");
        };
        self.step.effects.extend(verdicts_of(job, &news));
        self.step.effects.push(Effect::AnnounceEnd {
            job: id,
            customer: job.customer,
            provider,
            failed_input: job.failed_input,
            reasons: reasons_of(job, &end),
            judged: judged_of(job),
            examined: job.examined,
            end,
        });
        self.touched.push(id);
        if let Some(by) = validators {
            self.end_without_result(by, End::Cancelled, &Reason::Cancelled);
        }
    }

    /// Ends an open job without a result: first its leases, for this reason.
    fn end_without_result(&mut self, id: JobId, end: End, reason: &Reason) {
        self.withdraw_all(id, reason);
        let last = self.state.jobs.get(&id).and_then(Job::last_holder);
        self.end(id, end, last, Vec::new());
        self.conclude(id, None);
    }

    /// An attempt failed: the next provider's turn, or the end.
    fn fail_attempt(&mut self, id: JobId, lease: u64, reason: Reason) {
        self.withdraw(id, lease, reason);
        self.rest(id);
        self.go_on(id);
    }

    /// Lets a job that has failed before wait a little, if it would want another lease now.
    fn rest(&mut self, id: JobId) {
        let Some(job) = self.state.jobs.get(&id).filter(|job| job.wanted() > 0 && !job.is_hopeless()) else {
            return;
        };
        let rest_ms = rest_ms(self.config, job, self.now_ms);
        if rest_ms > 0 {
            let until_ms = self.now_ms.saturating_add(rest_ms);
            self.record(Fact::Rested { job: id, until_ms });
        }
    }

    /// What an open job needs after one of its leases or results came to an end: more leases, or its end.
    fn go_on(&mut self, id: JobId) {
        let Some(job) = self.state.jobs.get(&id) else {
            return;
        };
        if job.is_hopeless() {
            self.end_without_result(id, End::Failed, &Reason::NoQuorum);
        } else if job.awaits_bids() {
            self.open_bids(id);
        } else if job.wanted() > 0 {
            self.wakes.job(job.place(), id);
        }
    }
}

/// The verdicts on these results of a job.
fn verdicts_of(job: &Job, news: &[ResultId]) -> Vec<Effect> {
    let judged = job.submissions.iter().filter_map(|submission| Some((submission, submission.verdict?)));
    let agreed = judged.clone().filter(|(_, verdict)| *verdict == Verdict::Pass).count();
    let tell = |(submission, verdict): (&Submission, Verdict)| Effect::AnnounceVerdict {
        job: job.id,
        provider: submission.provider,
        result: submission.result,
        verdict,
        agreed: u32::try_from(agreed).unwrap_or(u32::MAX),
        results: u32::try_from(job.submissions.len()).unwrap_or(u32::MAX),
    };
    let told = judged.filter(|(submission, _)| news.contains(&submission.result)).map(tell);
    if job.judges() { told.collect() } else { Vec::new() }
}

fn judged_of(job: &Job) -> Vec<Judged> {
    let results = job.submissions.iter();
    let judged = results.map(|submission| Judged {
        provider: submission.provider,
        result: submission.result,
        verdict: submission.verdict,
        low: submission.low,
    });
    if job.judges() { judged.collect() } else { Vec::new() }
}

/// Why each attempt failed; of a job without a quorum its results are among them.
fn reasons_of(job: &Job, end: &End) -> Vec<(u32, ProviderId, Reason)> {
    let past = job.attempts.iter().map(|attempt| (attempt.number, attempt.provider, attempt.reason.clone()));
    let undecided = job.submissions.iter().filter(|submission| !submission.late && *end == End::Failed);
    let undecided = undecided.map(|submission| {
        let reason = if submission.verdict.is_some() { Reason::Rejected } else { Reason::NoQuorum };
        (submission.attempt, submission.provider, reason)
    });
    let mut reasons: Vec<_> = past.chain(undecided).collect();
    reasons.sort_by_key(|(number, _, _)| *number);
    reasons
}
