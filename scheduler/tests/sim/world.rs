//! The clock, the network, and who does what next.

use super::agenda::Agenda;
use super::cast::{Cast, Character, never_pays};
use super::customer::{customer_id, job_id, request};
use super::ledger::Ledger;
use super::observer::Observer;
use super::provider::{Act, Provider, Work};
use super::purse::Purse;
use super::relay::{Pending, Relay, Sabotage};
use super::rng::Rng;
use super::truth::{right, same};
use mercato_scheduler::credibility::NEWCOMER_LOW;
use mercato_scheduler::{
    Answer, Config, Dispatch, Effect, End, Feedback, Finding, Input, Job, JobId, ProviderId, Reason, Refusal, Request,
    ResultId, Status, Step, VALIDATION_KIND, Validation, Verdict,
};
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// How often what happened.
pub type Counts = BTreeMap<&'static str, u64>;

/// A run.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub seed: u64,
    pub cast: Cast,
    /// Virtual hours of load and faults; after that the world heals and everything must end.
    pub hours: u64,
    /// Steps from one check of the whole state to the next; what a step touches is always checked.
    pub check_every: u64,
    pub sabotage: Option<Sabotage>,
    /// Whether every answer of the scheduler goes into a digest.
    pub digest: bool,
}

/// A broken promise, and when.
#[derive(Clone, Debug)]
pub struct Violation {
    pub seed: u64,
    pub step: u64,
    pub now_ms: u64,
    pub claim: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, step, now_ms, claim } = self;
        write!(f, "seed {seed}, step {step}, {now_ms} ms: {claim}")
    }
}

#[expect(clippy::large_enum_variant, reason = "the agenda boxes its entries")]
enum Event {
    /// A message reaches the relay.
    Arrive(Letter),
    Commit,
    RelayBack,
    Ask(u64),
    Visit(u64),
    Act(usize, Act),
}

/// A message on its way to the relay; sent again while nobody says that it arrived.
#[derive(Clone)]
struct Letter {
    input: Input,
    tries_left: u8,
}

/// When the relay crashes around a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Crash {
    BeforeStep,
    AfterStep,
}

struct World {
    setup: Setup,
    rng: Rng,
    now_ms: u64,
    /// The latest that the relay's clock has said.
    latest_ms: u64,
    /// Providers that came in the place of others.
    arrived: u64,
    steps: u64,
    agenda: Agenda<Event>,
    relay: Relay,
    providers: Vec<Provider>,
    ids: Vec<ProviderId>,
    requests: BTreeMap<JobId, Request>,
    /// Results that validators are to look at, by their job; and of each order whether its result is right.
    ordered: BTreeMap<JobId, ResultId>,
    are_right: BTreeMap<JobId, bool>,
    recent: VecDeque<(JobId, u16)>,
    /// Answers that were taken, until their job ends.
    answers: BTreeMap<JobId, Vec<(ResultId, Answer)>>,
    /// The last answer that became public, of each sort.
    public: [Option<Answer>; 2],
    observer: Observer,
    ledger: Ledger,
    purse: Purse,
    counts: Counts,
}

/// Runs a world to its end; says what happened in it.
pub fn run(setup: Setup) -> Result<Counts, Violation> {
    let mut world = World::new(setup);
    // A broken assertion in the scheduler is a violation too, and needs its seed told.
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    match outcome.unwrap_or_else(|panic| Err(panic_words(panic.as_ref()))) {
        Ok(()) => Ok(world.counts),
        Err(claim) => {
            let (seed, step, now_ms) = (setup.seed, world.steps, world.now_ms);
            Err(Violation { seed, step, now_ms, claim })
        }
    }
}

fn panic_words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    let words = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", words.unwrap_or_default())
}

fn config(cast: Cast) -> Config {
    let providers = usize::try_from(cast.providers).expect("small");
    Config {
        jobs_max: 3 * providers,
        jobs_per_customer_max: 60,
        // Two places fewer than there are providers and visitors.
        providers_max: providers + 2,
        ended_retention_ms: 10 * MINUTE,
        open_after_ms: Some(2 * MINUTE),
        ended_max: 5 * providers / 2,
        run_timeout_max_ms: HOUR,
        // Chains add up; all must have ended when the world has.
        job_timeout_max_ms: 110 * MINUTE,
        ..Config::default()
    }
}

type Done = Result<(), String>;

impl World {
    fn new(setup: Setup) -> Self {
        let mut rng = Rng::new(setup.seed);
        let cast = setup.cast;
        let enter = |n| Provider::new(n, cast.character(n), &mut rng);
        let providers: Vec<_> = (0..cast.providers).map(enter).collect();
        let mut relay = Relay::new(config(cast), setup.sabotage);
        relay.digest = setup.digest.then_some(0);
        let mut world = Self {
            setup,
            rng,
            now_ms: 1_000_000,
            latest_ms: 0,
            arrived: 0,
            steps: 0,
            agenda: Agenda::new(),
            relay,
            ids: providers.iter().map(|provider| provider.id).collect(),
            providers,
            requests: BTreeMap::new(),
            ordered: BTreeMap::new(),
            are_right: BTreeMap::new(),
            recent: VecDeque::new(),
            answers: BTreeMap::new(),
            public: [None, None],
            observer: Observer::default(),
            ledger: Ledger::default(),
            purse: Purse::default(),
            counts: Counts::new(),
        };
        world.populate();
        world
    }

    fn populate(&mut self) {
        for who in 0..self.providers.len() {
            let first = if self.providers[who].authenticates { Act::Connect } else { Act::Beat };
            self.act_in(0, 30 * SECOND, who, first);
            self.act_in(10 * MINUTE, HOUR, who, Act::Readvertise);
            self.act_in(0, HOUR, who, Act::Leave);
            if self.providers[who].character == Character::Lies {
                self.act_in(0, MINUTE, who, Act::Lie);
            }
            if self.providers[who].walks_in {
                self.act_in(0, MINUTE, who, Act::AnswerUnasked);
            }
        }
        for customer in 0..self.setup.cast.customers {
            self.enter_in(0, MINUTE, Event::Ask(customer));
        }
        self.enter_in(0, 10 * MINUTE, Event::Visit(0));
    }

    fn run(&mut self) -> Done {
        let heal_ms = self.now_ms + self.setup.hours * HOUR;
        while self.now_ms < heal_ms {
            self.turn(true)?;
        }
        // No new jobs and no crashes: everything must end.
        let over_ms = heal_ms + 2 * HOUR;
        while self.now_ms < over_ms {
            self.turn(false)?;
        }
        self.check_ranks()?;
        self.relay.replays_itself()?;
        self.count("virtual hours", self.setup.hours);
        self.count("steps", self.steps);
        if let Some(digest) = self.relay.digest {
            self.count("digest of the answers", digest.into());
        }
        self.observer.all_ended()
    }

    /// Who never pays does not rank above a newcomer.
    fn check_ranks(&self) -> Done {
        let Some(scheduler) = &self.relay.scheduler else {
            return Ok(());
        };
        let mut misers = (0..self.setup.cast.customers).filter(|number| never_pays(*number));
        let rank = |number: &u64| scheduler.state().customer_rank(customer_id(*number));
        match misers.find(|number| rank(number) > 12) {
            Some(number) => Err(format!("customer {number} never pays and ranks {}", rank(&number))),
            None => Ok(()),
        }
    }

    /// The next thing: a tick that is due, or what is on the agenda.
    fn turn(&mut self, faulty: bool) -> Done {
        let event_ms = self.agenda.next_ms().ok_or("nothing is left to happen")?;
        if let Some(tick_ms) = self.relay.tick_ms().filter(|tick_ms| *tick_ms <= event_ms) {
            self.now_ms = self.now_ms.max(tick_ms);
            return self.submit(Letter { input: Input::Tick, tries_left: 0 }, faulty);
        }
        self.now_ms = self.now_ms.max(event_ms);
        match self.agenda.pop() {
            Some(Event::Arrive(letter)) => self.arrive(letter, faulty),
            Some(Event::Commit) => self.commit(faulty),
            Some(Event::RelayBack) => self.come_back(),
            Some(Event::Ask(customer)) => {
                if faulty {
                    self.ask(customer);
                }
                Ok(())
            }
            Some(Event::Visit(number)) => self.visit(number, faulty),
            Some(Event::Act(who, act)) => self.act(who, act, faulty),
            None => Err("nothing is left to happen".to_owned()),
        }
    }

    // The network.

    fn send(&mut self, input: Input) {
        let letter = Letter { input, tries_left: 4 };
        if self.rng.chance(20) {
            self.count("repeated", 1);
            self.post(letter.clone());
        }
        self.post(letter);
    }

    fn post(&mut self, letter: Letter) {
        if self.rng.chance(10) {
            self.count("lost", 1);
            return self.post_again(letter);
        }
        let slow = self.rng.chance(10);
        let delay_ms = if slow { self.rng.between(SECOND, 30 * SECOND) } else { self.rng.between(5, 200) };
        self.enter_in(delay_ms, delay_ms + 1, Event::Arrive(letter));
    }

    fn post_again(&mut self, mut letter: Letter) {
        if letter.tries_left > 0 {
            letter.tries_left -= 1;
            self.enter_in(2 * SECOND, 20 * SECOND, Event::Arrive(letter));
        }
    }

    fn arrive(&mut self, letter: Letter, faulty: bool) -> Done {
        if self.relay.scheduler.is_none() {
            self.post_again(letter);
            return Ok(());
        }
        self.submit(letter, faulty)
    }

    // The relay.

    /// Gives the scheduler an input; around it the relay may crash.
    fn submit(&mut self, letter: Letter, faulty: bool) -> Done {
        self.steps += 1;
        let crash = match self.rng.between(0, 8_000) {
            0 if faulty => Some(Crash::BeforeStep),
            1 if faulty => Some(Crash::AfterStep),
            _ => None,
        };
        if crash == Some(Crash::BeforeStep) {
            self.crash()?;
            self.post_again(letter);
            return Ok(());
        }
        let clock_ms = self.read_clock();
        let answer = if self.steps.is_multiple_of(self.setup.check_every) {
            self.check_nothing_overdue()?;
            self.relay.step_checked(clock_ms, &self.relay.read(&letter.input))?
        } else {
            self.relay.step(clock_ms, &self.relay.read(&letter.input))?
        };
        match answer {
            Ok(step) => {
                let orders = orders(&step);
                self.hold(Pending { input: letter.input, step })?;
                for job in orders {
                    self.order(job)?;
                }
            }
            Err(refusal) => {
                self.count(refusal_name(&refusal), 1);
                let dead = matches!(refusal, Refusal::NeverLeased | Refusal::StaleLease { .. });
                if dead && self.setup.sabotage == Some(Sabotage::ForwardsDeadResults) {
                    self.publish(&Pending { input: letter.input, step: Step::default() }, 0)?;
                }
            }
        }
        if crash == Some(Crash::AfterStep) {
            self.crash()?;
        }
        Ok(())
    }

    /// Orders validators in the same batch.
    fn order(&mut self, job: JobId) -> Done {
        let input = Input::Examine { job, by: job_id(&mut self.rng) };
        let clock_ms = self.clock_ms();
        if let Ok(step) = self.relay.step(clock_ms, &input)? {
            self.hold(Pending { input, step })?;
        }
        Ok(())
    }

    /// The relay's clock falls back a little now and then, and rarely it is ahead for a moment: the scheduler's time
    /// then stands still until the world has come up with it.
    fn read_clock(&mut self) -> u64 {
        let back_ms = self.rng.maybe(5, 0, 2 * SECOND).unwrap_or(0);
        let ahead_ms = self.rng.between(0, 20_000).checked_sub(19_998).map_or(0, |_| self.rng.between(0, 30 * SECOND));
        if ahead_ms > 0 {
            self.count("clock steps", 1);
        }
        let clock_ms = self.now_ms - back_ms + ahead_ms;
        self.latest_ms = self.latest_ms.max(clock_ms);
        clock_ms
    }

    /// The scheduler's time.
    fn clock_ms(&self) -> u64 {
        self.now_ms.max(self.latest_ms)
    }

    /// Keeps a step until the next commit.
    fn hold(&mut self, pending: Pending) -> Done {
        if pending.step.records.is_empty() && pending.step.effects.is_empty() {
            return Ok(());
        }
        if self.setup.sabotage == Some(Sabotage::PublishesBeforeCommit) {
            self.publish(&pending, 0)?;
        }
        if self.relay.pending.is_empty() {
            // The disk is slow now and then: more steps wait for one commit, and a crash tears the batch.
            let latest_ms = if self.rng.chance(100) { 3 * SECOND } else { 5 };
            self.enter_in(0, latest_ms, Event::Commit);
        }
        self.relay.pending.push(pending);
        Ok(())
    }

    fn commit(&mut self, faulty: bool) -> Done {
        if self.relay.pending.is_empty() {
            // A crash came first.
            return Ok(());
        }
        let batch = self.relay.commit(&mut self.rng);
        // After the commit and before anyone is told: they learn of it when the relay is back.
        let crashes = faulty && self.rng.chance(1);
        let away_ms = if crashes { self.crash()? } else { 0 };
        for pending in batch {
            self.count("records", pending.step.records.len() as u64);
            if self.setup.sabotage != Some(Sabotage::PublishesBeforeCommit) {
                self.publish(&pending, away_ms)?;
            }
        }
        self.relay.compact()
    }

    /// Everything in memory is gone; says for how long the relay stays away.
    fn crash(&mut self) -> Result<u64, String> {
        self.count("relay crashes", 1);
        self.relay.scheduler = None;
        let away_ms = self.rng.between(SECOND, MINUTE);
        let kept = self.relay.tear(&mut self.rng);
        if !kept.is_empty() && !self.relay.pending.is_empty() {
            self.count("torn journals", 1);
        }
        if self.setup.sabotage != Some(Sabotage::PublishesBeforeCommit) {
            kept.iter().try_for_each(|pending| self.publish(pending, away_ms))?;
        }
        for pending in std::mem::take(&mut self.relay.pending) {
            // Nobody was told that these arrived.
            if self.rng.chance(800) {
                self.post_again(Letter { input: pending.input, tries_left: 3 });
            }
        }
        for provider in &mut self.providers {
            provider.connected = false;
        }
        self.enter_in(away_ms, away_ms + 1, Event::RelayBack);
        Ok(away_ms)
    }

    fn come_back(&mut self) -> Done {
        self.relay.restore(self.now_ms)?;
        self.observer.relay_came_back(self.clock_ms());
        if self.setup.sabotage != Some(Sabotage::ForgetsRestarted) {
            self.submit(Letter { input: Input::Restarted, tries_left: 0 }, false)?;
        }
        for who in 0..self.providers.len() {
            if self.providers[who].authenticates {
                self.act_in(0, 30 * SECOND, who, Act::Connect);
            }
        }
        Ok(())
    }

    /// No deadline may lie behind by more than clock jumps explain.
    fn check_nothing_overdue(&self) -> Done {
        let up_long = self.relay.up_since_ms + 5 * SECOND < self.now_ms;
        let Some(scheduler) = self.relay.scheduler.as_ref().filter(|_| up_long) else {
            return Ok(());
        };
        self.observer.nobody_overstays(self.now_ms)?;
        let due = |job: &Job| job.next_deadline().map(|due| due.at_ms);
        let overdue = scheduler
            .state()
            .jobs()
            .values()
            .find(|job| due(job).is_some_and(|at_ms| at_ms + 5 * SECOND < self.now_ms));
        overdue.map_or(Ok(()), |job| Err(format!("{:?} is overdue: {:?}", job.id, job.leases)))
    }

    // What is published.

    fn publish(&mut self, pending: &Pending, away_ms: u64) -> Done {
        let latest_ms = self.clock_ms() + self.relay.config.job_timeout_max_ms;
        self.observer.input(self.clock_ms(), &pending.input, latest_ms)?;
        self.ledger.input(&pending.input)?;
        if let Input::Request { job, request, .. } = &pending.input {
            self.publish_request(*job, request);
        }
        if let Input::Examine { job, by } = &pending.input {
            self.publish_order(*job, *by);
        }
        if let Input::Result { job, result, answer, .. } = &pending.input {
            self.answers.entry(*job).or_default().push((*result, answer.clone()));
        }
        self.show_result(&pending.input)?;
        let mut effects: Vec<_> = pending.step.effects.iter().map(|effect| self.falsified(effect)).collect();
        if self.setup.sabotage == Some(Sabotage::ReordersEffects) {
            effects.reverse();
        }
        for effect in &effects {
            let loses = self.relay.slips(Sabotage::LosesAWithdrawal, &mut self.rng);
            if loses && matches!(effect, Effect::AnnounceWithdrawal { .. }) {
                continue;
            }
            let loses = self.relay.slips(Sabotage::LosesAVerdict, &mut self.rng);
            if loses && matches!(effect, Effect::AnnounceVerdict { .. }) {
                continue;
            }
            self.observer.effect((self.now_ms, self.clock_ms()), self.relay.up_since_ms, effect)?;
            self.ledger.effect(effect)?;
            self.tell(effect, away_ms);
            if matches!(effect, Effect::AnnounceLease { .. }) && self.relay.slips(Sabotage::LeasesTwice, &mut self.rng)
            {
                self.lease_again(effect)?;
            }
        }
        Ok(())
    }

    /// A result is shown to everybody at once when nobody else is to come to the same on his own.
    fn show_result(&mut self, input: &Input) -> Done {
        let Input::Result { job, provider, answer, .. } = input else {
            return Ok(());
        };
        let Some(request) = self.requests.get(job) else {
            return Ok(());
        };
        if request.quorum > 1 && self.setup.sabotage != Some(Sabotage::ShowsWithheldResults) {
            return Ok(());
        }
        if request.validate == Validation::Verdict {
            return self.observer.shown(*job, *provider);
        }
        self.public[usize::from(request.validate == Validation::Exact)] = Some(answer.clone());
        self.observer.shown(*job, *provider)
    }

    /// An effect as it is published: as it is, unless the relay makes a mistake.
    fn falsified(&mut self, effect: &Effect) -> Effect {
        let mut effect = effect.clone();
        if let Effect::AnnounceState { view } = &mut effect
            && self.relay.slips(Sabotage::MovesDeadlines, &mut self.rng)
        {
            view.deadline_ms += MINUTE;
        }
        if let Effect::AnnounceEnd { judged, .. } = &mut effect
            && self.relay.slips(Sabotage::TellsFalseStanding, &mut self.rng)
        {
            judged.iter_mut().for_each(|judged| judged.low = NEWCOMER_LOW);
        }
        effect
    }

    /// The mistake of a relay that sends the same work to somebody else.
    fn lease_again(&mut self, effect: &Effect) -> Done {
        let mut again = effect.clone();
        let other = self.rng.index(self.ids.len());
        if let Effect::AnnounceLease { provider, .. } = &mut again {
            *provider = self.ids[other];
        }
        self.observer.effect((self.now_ms, self.clock_ms()), self.relay.up_since_ms, &again)?;
        self.tell(&again, 0);
        Ok(())
    }

    fn publish_request(&mut self, job: JobId, request: &Request) {
        self.count("jobs", 1);
        self.requests.insert(job, request.clone());
        self.recent.push_back((job, request.kind));
        if self.recent.len() > 50 {
            self.recent.pop_front();
        }
        if request.dispatch == Dispatch::Open {
            self.invite_everybody(job, request);
        }
    }

    /// A few answer a job that is for everybody.
    fn invite_everybody(&mut self, job: JobId, request: &Request) {
        let work = self.work(job, request, 0, self.relay.config.run_timeout_ms);
        for _ in 0..self.rng.between(0, 3) {
            let who = self.rng.index(self.providers.len());
            self.providers[who].working.insert(job, 0);
            self.act_in(SECOND, 20 * MINUTE, who, Act::Finish(work.clone()));
        }
    }

    fn publish_order(&mut self, job: JobId, by: JobId) {
        self.count("orders of validators", 1);
        let request = Request { validate: Validation::Verdict, ..Request::new(VALIDATION_KIND) };
        let panel = self.requests.get(&job).and_then(|request| request.panel);
        let quorum = panel.map_or(1, |panel| panel.quorum);
        self.requests.insert(by, Request { quorum, ..request });
        let ordered = self.ordered.get(&job).copied();
        let answers = self.answers.get(&job);
        let answer = answers.and_then(|answers| answers.iter().find(|(id, _)| Some(*id) == ordered));
        if let (Some((_, answer)), Some(request)) = (answer.cloned(), self.requests.get(&job)) {
            let validate = request.validate;
            let is_right = same(validate, &right(job, validate, &mut self.rng), &answer);
            self.are_right.insert(by, is_right);
        }
    }

    fn work(&self, job: JobId, request: &Request, lease: u64, run_ms: u64) -> Work {
        let heartbeat_ms = request.heartbeat_timeout_ms;
        let is_right = (request.validate == Validation::Verdict).then(|| self.are_right.get(&job) == Some(&true));
        Work { job, kind: request.kind, lease, validate: request.validate, is_right, run_ms, heartbeat_ms }
    }

    /// Brings an effect to the provider that it concerns.
    #[expect(clippy::wildcard_enum_match_arm, reason = "of the states only those of money are counted")]
    fn tell(&mut self, effect: &Effect, away_ms: u64) {
        match effect {
            Effect::AnnounceLease { job, provider, lease, run_ms, backs_up, inputs, agreed_msat, .. } => {
                if !inputs.is_empty() {
                    self.count("chained leases", 1);
                }
                if agreed_msat.is_some() {
                    self.count("leases by offer", 1);
                }
                if backs_up.is_some() {
                    self.count("backups", 1);
                }
                self.count("leases", 1);
                if self.find(*provider).is_some_and(|who| self.providers[who].walks_in) {
                    self.count("leases of walk-ins", 1);
                }
                let derived = self.requests.get(job).is_some_and(|request| request.run_timeout_ms.is_none());
                if derived && *run_ms != self.relay.config.run_timeout_ms {
                    self.count("derived run timeouts", 1);
                }
                let request = self.requests.get(job);
                let work = request.map(|request| self.work(*job, request, *lease, *run_ms));
                if let (Some(who), Some(work)) = (self.find(*provider), work) {
                    self.assign(who, work, away_ms);
                }
            }
            Effect::AnnounceWithdrawal { job, provider, lease, reason, .. } => {
                self.count(withdrawal_name(reason), 1);
                if let Some(who) = self.find(*provider).filter(|_| self.rng.chance(980)) {
                    self.providers[who].stop(*job, *lease);
                }
            }
            Effect::AnnounceVerdict { verdict, .. } => match verdict {
                Verdict::Pass => self.count("verdict: pass", 1),
                Verdict::Outlier => self.count("verdict: outlier", 1),
                Verdict::Fail => self.count("verdict: fail", 1),
                Verdict::Copy => self.count("verdict: copy", 1),
            },
            Effect::OrderValidation { job, result, .. } => {
                self.ordered.insert(*job, *result);
            }
            Effect::AnnounceEnd { job, end, failed_input, examined, .. } => {
                match examined {
                    Some(Finding::Passed) => self.count("validated", 1),
                    Some(Finding::Unvalidated) => self.count("unvalidated", 1),
                    None => {}
                }
                if let End::Succeeded { result } = end {
                    self.relay.results.insert(*job, *result);
                }
                if failed_input.is_some() {
                    self.count("upstream failed", 1);
                }
                self.count(end_name(end), 1);
                self.compare_with_truth(*job, end);
                self.requests.remove(job);
            }
            Effect::AnnounceState { view } => {
                if let Some(until_ms) = view.bids_until_ms {
                    self.invite(view.job, until_ms);
                }
                if view.rests_until_ms.is_some() {
                    self.count("rests", 1);
                }
                let request = self.requests.get(&view.job).filter(|request| request.dispatch == Dispatch::Leased);
                if let Some(request) = request.filter(|_| view.status == Status::Open).cloned() {
                    self.count("opened", 1);
                    self.invite_everybody(view.job, &request);
                }
                match view.status {
                    Status::Settled => self.count("settled", 1),
                    Status::Unpaid => self.count("unpaid", 1),
                    _ => {}
                }
                for (in_ms, input) in self.purse.open(view, &mut self.rng) {
                    let letter = Letter { input, tries_left: 4 };
                    self.enter_in(away_ms + in_ms, away_ms + in_ms + 1, Event::Arrive(letter));
                }
            }
            Effect::AnnouncePayment { payment, .. } => {
                let what = if payment.receipt.counts { "payment: counts" } else { "payment: one too many" };
                self.count(what, 1);
            }
        }
    }

    /// Counts how often what was accepted is right, and remembers it for copiers: it is public now.
    fn compare_with_truth(&mut self, job: JobId, end: &End) {
        let answers = self.answers.remove(&job).unwrap_or_default();
        let (End::Succeeded { result }, Some(request)) = (end, self.requests.get(&job)) else {
            return;
        };
        let (validate, quorum, believed) = (request.validate, request.quorum, request.adaptive && answers.len() == 1);
        let has_panel = request.panel.is_some();
        let Some((_, answer)) = answers.into_iter().find(|(id, _)| id == result) else {
            return;
        };
        if validate == Validation::Verdict {
            let passed = answer == Answer::Verdict(Verdict::Pass);
            let is_right = self.are_right.remove(&job) == Some(passed);
            return self.count(if is_right { "validators: right" } else { "validators: wrong" }, 1);
        }
        let is_right = same(validate, &right(job, validate, &mut self.rng), &answer);
        if has_panel {
            self.count(if is_right { "panel: right" } else { "panel: wrong" }, 1);
        }
        let what = match (quorum > 1, believed, is_right) {
            (true, true, true) => "believed: right",
            (true, true, false) => "believed: wrong",
            (false, _, true) => "alone: right",
            (false, _, false) => "alone: wrong",
            (true, false, true) => "quorum: right",
            (true, false, false) => "quorum: wrong",
        };
        self.count(what, 1);
        self.public[usize::from(validate == Validation::Exact)] = Some(answer);
    }

    /// Some make an offer, a few of them too late or too high.
    fn invite(&mut self, job: JobId, until_ms: u64) {
        let window_ms = until_ms.saturating_sub(self.now_ms).max(1);
        for _ in 0..self.rng.between(0, 6) {
            let provider = self.ids[self.rng.index(self.ids.len())];
            let amount_msat = self.rng.between(1, 3_500);
            let mut offer = [0; 32];
            offer[..8].copy_from_slice(&self.rng.draw().to_be_bytes());
            let feedback = Feedback::Offer { offer: ResultId(offer), amount_msat };
            let input = Input::Feedback { job, provider, lease: None, feedback };
            let at_ms = self.rng.between(0, window_ms * 11 / 10 + 1);
            self.enter_in(at_ms, at_ms + 1, Event::Arrive(Letter { input, tries_left: 2 }));
        }
    }

    fn find(&self, provider: ProviderId) -> Option<usize> {
        self.ids.iter().position(|id| *id == provider)
    }

    fn assign(&mut self, who: usize, work: Work, away_ms: u64) {
        let provider = &mut self.providers[who];
        let plan = provider.take(work, &mut self.rng);
        if !provider.listens() {
            let acts = plan.into_iter().map(|(_, act)| act);
            provider.mailbox.extend(acts);
            return;
        }
        for (in_ms, act) in plan {
            let at_ms = away_ms + in_ms + self.rng.between(5, 200);
            self.enter_in(at_ms, at_ms + 1, Event::Act(who, act));
        }
    }

    // Customers.

    fn ask(&mut self, customer: u64) {
        self.enter_in(SECOND, 5 * MINUTE - SECOND, Event::Ask(customer));
        let job = job_id(&mut self.rng);
        let recent: Vec<JobId> = self.recent.iter().rev().take(10).map(|(job, _)| *job).collect();
        let request = request(self.now_ms, &self.ids, &recent, &mut self.rng);
        self.send(Input::Request { job, customer: customer_id(customer), request });
        if self.rng.chance(30) {
            let at_ms = self.rng.between(100, 5 * MINUTE);
            let cancel = Input::Cancel { job, by: customer_id(customer) };
            let letter = Letter { input: cancel, tries_left: 4 };
            self.enter_in(at_ms, at_ms + 1, Event::Arrive(letter));
        }
    }

    /// Somebody without an advert connects and leaves.
    fn visit(&mut self, number: u64, faulty: bool) -> Done {
        let mut id = [0xee; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let provider = ProviderId(id);
        if self.relay.scheduler.is_some() {
            let input = if number.is_multiple_of(3) { Input::Offline { provider } } else { Input::Online { provider } };
            self.submit(Letter { input, tries_left: 0 }, faulty)?;
        }
        let next = self.rng.between(0, 6);
        self.enter_in(MINUTE, 20 * MINUTE, Event::Visit(next));
        Ok(())
    }

    // Providers.

    fn act(&mut self, who: usize, act: Act, faulty: bool) -> Done {
        match act {
            Act::Connect => self.connect(who, faulty),
            Act::Disconnect => self.disconnect(who, faulty),
            Act::Leave => self.leave(who, faulty),
            Act::Return => {
                self.providers[who].away = false;
                self.act_in(0, SECOND, who, Act::Connect);
                Ok(())
            }
            Act::Beat => {
                self.beat(who);
                Ok(())
            }
            Act::Readvertise => {
                self.act_in(10 * MINUTE, HOUR, who, Act::Readvertise);
                let input = self.providers[who].readvertise(&mut self.rng);
                if self.providers[who].walks_in {
                    return self.listen(who, input, faulty);
                }
                self.send(input);
                Ok(())
            }
            Act::Lie => {
                self.act_in(SECOND, 2 * MINUTE, who, Act::Lie);
                self.lie(who);
                Ok(())
            }
            Act::AnswerUnasked => {
                self.act_in(SECOND, 2 * MINUTE, who, Act::AnswerUnasked);
                self.answer_unasked(who);
                Ok(())
            }
            Act::Begin(work) => {
                self.report(who, &work, Feedback::Processing);
                Ok(())
            }
            Act::KeepAlive(work) => {
                if let Some(ms) = work.heartbeat_ms.filter(|_| self.providers[who].works_on(&work)) {
                    self.report(who, &work, Feedback::Partial);
                    self.act_in(ms / 2, ms / 2 + 1, who, Act::KeepAlive(work));
                }
                Ok(())
            }
            Act::AskPayment(work) => {
                self.ask_payment(who, work);
                Ok(())
            }
            Act::Decline(work) => {
                self.report(who, &work, Feedback::Error { reason: "not today".to_owned() });
                self.providers[who].working.remove(&work.job);
                Ok(())
            }
            Act::Finish(work) => {
                if self.providers[who].works_on(&work) {
                    let seen = self.public[usize::from(work.validate == Validation::Exact)].as_ref();
                    let result = self.providers[who].result(&work, seen, &mut self.rng);
                    self.send(result);
                    self.ask_afterwards(who, work.job);
                }
                Ok(())
            }
        }
    }

    fn connect(&mut self, who: usize, faulty: bool) -> Done {
        let provider = &mut self.providers[who];
        if self.relay.scheduler.is_none() || provider.connected || provider.away || !provider.authenticates {
            return Ok(());
        }
        provider.connected = true;
        let id = provider.id;
        let offer = provider.offer();
        let missed = std::mem::take(&mut provider.mailbox);
        for act in missed {
            self.act_in(5, 30 * SECOND, who, act);
        }
        if self.providers[who].character == Character::Crashes {
            self.act_in(10 * SECOND, 20 * MINUTE, who, Act::Disconnect);
        }
        self.submit(Letter { input: Input::Online { provider: id }, tries_left: 0 }, faulty)?;
        if self.providers[who].walks_in {
            return self.listen(who, offer, faulty);
        }
        self.send(offer);
        Ok(())
    }

    /// What a connection listens for, the relay knows at once, while both are there.
    fn listen(&mut self, who: usize, input: Input, faulty: bool) -> Done {
        if self.relay.scheduler.is_none() || !self.providers[who].connected {
            return Ok(());
        }
        self.submit(Letter { input, tries_left: 0 }, faulty)
    }

    fn disconnect(&mut self, who: usize, faulty: bool) -> Done {
        if self.relay.scheduler.is_none() || !self.providers[who].connected {
            return Ok(());
        }
        self.count("disconnects", 1);
        self.providers[who].connected = false;
        if self.rng.chance(300) {
            // It lost its work too.
            self.providers[who].working.clear();
        }
        let away_ms = if self.rng.chance(500) { 5 * SECOND } else { 10 * MINUTE };
        self.act_in(500, away_ms, who, Act::Connect);
        let provider = self.providers[who].id;
        self.submit(Letter { input: Input::Offline { provider }, tries_left: 0 }, faulty)
    }

    /// Once an hour everybody may leave: for a while, or for good, and then somebody else comes in its place.
    fn leave(&mut self, who: usize, faulty: bool) -> Done {
        self.act_in(HOUR, HOUR + 1, who, Act::Leave);
        if !faulty || !self.rng.chance(self.setup.cast.churn_permille) {
            return Ok(());
        }
        self.count("leaves", 1);
        let was_connected = std::mem::take(&mut self.providers[who].connected);
        let provider = self.providers[who].id;
        self.providers[who].away = true;
        if self.rng.chance(500) {
            self.arrived += 1;
            self.providers[who].replace(self.setup.cast.providers + self.arrived, &mut self.rng);
            self.ids[who] = self.providers[who].id;
        }
        self.act_in(MINUTE, 40 * MINUTE, who, Act::Return);
        if self.relay.scheduler.is_some() && was_connected {
            self.submit(Letter { input: Input::Offline { provider }, tries_left: 0 }, faulty)?;
        }
        Ok(())
    }

    /// One without a connection says its advert anew, or that it is there.
    fn beat(&mut self, who: usize) {
        self.act_in(2 * MINUTE, 20 * MINUTE, who, Act::Beat);
        let provider = &self.providers[who];
        if provider.away {
            return;
        }
        let (id, advert) = (provider.id, provider.advert.clone());
        if self.rng.chance(500) {
            self.send(Input::Advertise { provider: id, advert });
        }
        self.send(Input::Seen { provider: id });
    }

    fn lie(&mut self, who: usize) {
        if self.recent.is_empty() {
            return;
        }
        let (job, kind) = self.recent[self.rng.index(self.recent.len())];
        let lie = if self.rng.chance(100) {
            Input::Cancel { job, by: customer_id(99) }
        } else {
            self.providers[who].lie(job, kind, &mut self.rng)
        };
        self.send(lie);
    }

    /// One of the lately published jobs, most of which are not its own; one that names it, if there is any.
    fn answer_unasked(&mut self, who: usize) {
        let provider = &self.providers[who];
        if self.recent.is_empty() || !provider.listens() {
            return;
        }
        let names = |(job, _): &&(JobId, u16)| {
            self.requests.get(job).is_some_and(|request| request.providers.contains(&provider.id))
        };
        let (job, kind) = match self.recent.iter().rev().find(names) {
            Some(own) if self.rng.chance(500) => *own,
            Some(_) | None => self.recent[self.rng.index(self.recent.len())],
        };
        let validate = self.requests.get(&job).map_or(Validation::Exact, |request| request.validate);
        self.count("unasked answers", 1);
        let answer = self.providers[who].answer_unasked(job, kind, validate, &mut self.rng);
        self.send(answer);
    }

    fn report(&mut self, who: usize, work: &Work, feedback: Feedback) {
        if self.providers[who].works_on(work) {
            let report = self.providers[who].feedback(work, feedback, &mut self.rng);
            self.send(report);
        }
    }

    /// Some name their price once they have delivered.
    fn ask_afterwards(&mut self, who: usize, job: JobId) {
        if self.rng.chance(300) {
            let (provider, msat) = (self.providers[who].id, self.rng.between(1, 2_000));
            let letter = Letter { input: Input::Quoted { job, provider, msat }, tries_left: 4 };
            self.enter_in(300, 5_000, Event::Arrive(letter));
        }
    }

    /// Asks for money; most customers pay, and the work goes on.
    fn ask_payment(&mut self, who: usize, work: Work) {
        let amount_msat = self.rng.maybe(900, 1, 2_000);
        self.report(who, &work, Feedback::PaymentRequired { amount_msat });
        if self.rng.chance(800) {
            self.act_in(SECOND, 40 * SECOND, who, Act::Begin(work));
        } else if self.rng.chance(300) {
            // It waits for a while, and then wants other work.
            self.act_in(5 * SECOND, 60 * SECOND, who, Act::Decline(work));
        } else if self.rng.chance(900) {
            // It waits, and delivers nothing without money.
            self.providers[who].working.remove(&work.job);
        }
    }

    fn act_in(&mut self, low_ms: u64, high_ms: u64, who: usize, act: Act) {
        self.enter_in(low_ms, high_ms, Event::Act(who, act));
    }

    fn enter_in(&mut self, low_ms: u64, high_ms: u64, event: Event) {
        let in_ms = self.rng.between(low_ms, high_ms);
        self.agenda.enter(self.now_ms + in_ms, event);
    }

    fn count(&mut self, what: &'static str, by: u64) {
        *self.counts.entry(what).or_default() += by;
    }
}

fn end_name(end: &End) -> &'static str {
    match end {
        End::Succeeded { .. } => "ended: succeeded",
        End::Failed => "ended: failed",
        End::Cancelled => "ended: cancelled",
        End::Expired => "ended: expired",
    }
}

fn withdrawal_name(reason: &Reason) -> &'static str {
    match reason {
        Reason::AcceptTimeout => "withdrawn: accept timeout",
        Reason::RunTimeout => "withdrawn: run timeout",
        Reason::HeartbeatTimeout => "withdrawn: heartbeat timeout",
        Reason::Disconnected => "withdrawn: disconnected",
        Reason::Error(_) => "withdrawn: error",
        Reason::Unpaid => "withdrawn: unpaid",
        Reason::LateResultWon => "withdrawn: late result won",
        Reason::Outrun => "withdrawn: outrun",
        Reason::QuorumReached => "withdrawn: quorum reached",
        Reason::NoQuorum => "withdrawn: no quorum",
        Reason::Cancelled => "withdrawn: cancelled",
        Reason::Expired => "withdrawn: expired",
        Reason::GaveUpWaiting(_) => "withdrawn: gave up waiting",
        Reason::Rejected => "withdrawn: rejected",
    }
}

/// Jobs whose results wait for validators to be ordered.
fn orders(step: &Step) -> Vec<JobId> {
    let order = |effect: &Effect| if let Effect::OrderValidation { job, .. } = effect { Some(*job) } else { None };
    step.effects.iter().filter_map(order).collect()
}

fn refusal_name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::UnknownJob => "refused: unknown job",
        Refusal::DuplicateJob => "refused: duplicate job",
        Refusal::NotTheCustomer => "refused: not the customer",
        Refusal::NeverLeased => "refused: never leased",
        Refusal::StaleLease { .. } => "refused: stale lease",
        Refusal::AlreadyEnded { .. } => "refused: already ended",
        Refusal::DuplicateResult => "refused: duplicate result",
        Refusal::SecondResult => "refused: second result",
        Refusal::UnfitAnswer { .. } => "refused: unfit answer",
        Refusal::WrongResultKind { .. } => "refused: wrong result kind",
        Refusal::TooManyJobs { .. } => "refused: too many jobs",
        Refusal::TooManyJobsOfCustomer { .. } => "refused: too many jobs of a customer",
        Refusal::TooManyReplicas { .. } => "refused: too many replicas",
        Refusal::InputFailed { .. } => "refused: input failed",
        Refusal::NoBidding => "refused: no bidding",
        Refusal::OfferTooHigh { .. } => "refused: offer too high",
        Refusal::NotEligible => "refused: not eligible",
        Refusal::UnderExamination => "refused: under examination",
        Refusal::NotExamined => "refused: not examined",
        Refusal::TooManyValidators { .. } => "refused: too many validators",
        Refusal::TooManyRevisions { .. } => "refused: too many revisions",
        Refusal::TooManyBids { .. } => "refused: too many bids",
        Refusal::InputCycle => "refused: input cycle",
        Refusal::InputsTooDeep => "refused: inputs too deep",
        Refusal::DeadlinePassed => "refused: deadline passed",
        Refusal::TooManyProviders { .. } => "refused: too many providers",
        Refusal::NotTheCustomersPayment => "refused: not the customer's payment",
        Refusal::PaidAStranger => "refused: paid a stranger",
        Refusal::NothingPaid => "refused: nothing paid",
        Refusal::DuplicateReceipt => "refused: duplicate receipt",
        Refusal::ReplayedPayment => "refused: replayed payment",
        Refusal::UnknownPayment => "refused: unknown payment",
        Refusal::TooManyReceipts { .. } => "refused: too many receipts",
        Refusal::InvalidRequest(_) => "refused: invalid request",
        Refusal::InvalidAdvert(_) => "refused: invalid advert",
    }
}
