//! Plays a script under one scheduler and takes down what comes of it.

use crate::agenda::Agenda;
use crate::cast::{Character, never_pays};
use crate::figures::Figures;
use crate::policy::{Order, Policy};
use crate::script::{Ask, HOUR, MINUTE, SECOND, Script, Session};
use mercato_scheduler::{Answer, CustomerId, Feedback, Input, JobId, Marks, ProviderId, Request, ResultId, splitmix64};
use std::collections::BTreeMap;

enum Event {
    Ask(usize),
    Join(usize),
    Leave(usize),
    /// A provider that had crashed is back.
    Back(ProviderId),
    Crash(Work),
    Begin(Work),
    Decline(Work),
    Finish(Work),
    Pay {
        job: JobId,
        provider: ProviderId,
        customer: u64,
        msat: u64,
    },
}

/// A lease that a provider works under.
#[derive(Clone, Copy)]
struct Work {
    job: JobId,
    provider: ProviderId,
    lease: u64,
}

/// A job that is open.
struct Open {
    ask: usize,
    results: Vec<(ProviderId, ResultId, u64)>,
}

pub struct World<'a> {
    script: &'a Script,
    policy: Box<dyn Policy>,
    /// Makes a request of what is asked for, as customers do under this scheduler.
    form: fn(&Ask) -> Request,
    now_ms: u64,
    agenda: Agenda<Event>,
    /// The session of everybody who is there.
    present: BTreeMap<ProviderId, usize>,
    /// A session of everybody who ever was there.
    known: BTreeMap<ProviderId, usize>,
    live: BTreeMap<(ProviderId, JobId), u64>,
    open: BTreeMap<JobId, Open>,
    /// The last answer that everybody could see: copiers say it again.
    public: u64,
    serial: u64,
    figures: Figures,
}

#[expect(clippy::disallowed_types, reason = "measures the scheduler; the world has virtual time")]
type Stopwatch = std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "measures the scheduler; the world has virtual time")]
fn start() -> Stopwatch {
    Stopwatch::now()
}

fn word(id: &[u8; 32]) -> u64 {
    id.as_chunks::<8>().0.first().map_or(0, |word| u64::from_le_bytes(*word))
}

impl<'a> World<'a> {
    /// Plays the script to its end.
    pub fn play(script: &'a Script, hours: u64, policy: Box<dyn Policy>, form: fn(&Ask) -> Request) -> Figures {
        let mut world = Self {
            script,
            policy,
            form,
            now_ms: 0,
            agenda: Agenda::new(),
            present: BTreeMap::new(),
            known: BTreeMap::new(),
            live: BTreeMap::new(),
            open: BTreeMap::new(),
            public: 0,
            serial: 0,
            figures: Figures::default(),
        };
        for (at, session) in script.sessions.iter().enumerate() {
            world.agenda.enter(session.from_ms, Event::Join(at));
            world.agenda.enter(session.until_ms, Event::Leave(at));
            if session.character == Character::Honest {
                let staying_ms = session.until_ms.min(hours * HOUR) - session.from_ms;
                world.figures.honest_ms += staying_ms;
                if session.is_newcomer {
                    world.figures.newcomer_ms += staying_ms.min(NEW_MS);
                }
            }
        }
        for (at, ask) in script.asks.iter().enumerate() {
            world.agenda.enter(ask.at_ms, Event::Ask(at));
        }
        world.run(hours * HOUR);
        world.figures.unfinished = world.open.len() as u64;
        world.figures
    }

    fn run(&mut self, end_ms: u64) {
        loop {
            let event_ms = self.agenda.next_ms().unwrap_or(u64::MAX);
            let tick_ms = self.policy.next_ms().unwrap_or(u64::MAX);
            if event_ms.min(tick_ms) >= end_ms {
                return;
            }
            if tick_ms <= event_ms {
                self.now_ms = self.now_ms.max(tick_ms);
                self.tell(Input::Tick);
                continue;
            }
            self.now_ms = event_ms;
            if let Some(event) = self.agenda.pop() {
                self.happen(event);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Ask(at) => self.ask(at),
            Event::Join(at) => self.join(at),
            Event::Leave(at) => self.vanish(self.script.sessions[at].id, true),
            Event::Back(provider) => {
                if self.present.contains_key(&provider) {
                    self.tell(Input::Online { provider });
                }
            }
            Event::Crash(work) => {
                if self.is_live(work) {
                    self.vanish(work.provider, false);
                    self.enter(2 * MINUTE, Event::Back(work.provider));
                }
            }
            Event::Begin(work) => {
                if self.is_live(work) {
                    self.figures.executions += 1;
                    self.report(work, Feedback::Processing);
                }
            }
            Event::Decline(work) => self.report(work, Feedback::Error { reason: "not today".to_owned() }),
            Event::Finish(work) => self.finish(work),
            Event::Pay { job, provider, customer, msat } => self.pay(job, provider, customer, msat),
        }
    }

    fn ask(&mut self, at: usize) {
        let ask = &self.script.asks[at];
        self.open.insert(ask.job, Open { ask: at, results: Vec::new() });
        self.figures.jobs += 1;
        let request = (self.form)(ask);
        self.tell(Input::Request { job: ask.job, customer: customer_id(ask.customer), request });
    }

    fn join(&mut self, at: usize) {
        let Session { id: provider, advert, .. } = self.script.sessions[at].clone();
        self.present.insert(provider, at);
        self.known.insert(provider, at);
        self.tell(Input::Advertise { provider, advert });
        self.tell(Input::Online { provider });
    }

    /// Its connection is gone, and so is its work; for good if it leaves.
    fn vanish(&mut self, provider: ProviderId, leaves: bool) {
        let from = (provider, JobId([0; 32]));
        let gone: Vec<_> =
            self.live.range(from..).take_while(|((by, _), _)| *by == provider).map(|(at, _)| *at).collect();
        for at in gone {
            self.live.remove(&at);
        }
        if leaves {
            self.present.remove(&provider);
        }
        self.tell(Input::Offline { provider });
    }

    /// What a provider does with a lease; the draws are the same under every scheduler.
    fn take(&mut self, work: Work) {
        let Some(session) = self.present.get(&work.provider).map(|at| &self.script.sessions[*at]) else {
            return;
        };
        let Some(open) = self.open.get(&work.job) else {
            return;
        };
        self.figures.leases += 1;
        let age_ms = self.now_ms - session.from_ms;
        if session.character == Character::Honest {
            self.figures.honest_leases += 1;
            if session.is_newcomer && age_ms < NEW_MS {
                self.figures.newcomer_leases += 1;
                self.figures.first_leases.entry(work.provider).or_insert(age_ms);
            }
        }
        self.live.insert((work.provider, work.job), work.lease);
        let draw = splitmix64(word(&work.job.0) ^ splitmix64(word(&work.provider.0)));
        let run_ms = self.script.asks[open.ask].run_ms * session.slowness / 1_000;
        let (begin_ms, done_ms) = (SECOND, SECOND + run_ms);
        let (character, chance) = (session.character, draw % 10);
        let queue = self.live.range((work.provider, JobId([0; 32]))..).take_while(|((by, _), _)| *by == work.provider);
        let queue = queue.count() as u64;
        if character == Character::Declines && chance < 5 {
            return self.enter(begin_ms, Event::Decline(work));
        }
        if character == Character::Stalls && chance < 5 {
            return;
        }
        self.enter(begin_ms, Event::Begin(work));
        match character {
            Character::Stalls => {}
            Character::Crashes if chance < 1 => self.enter(begin_ms + run_ms / 2, Event::Crash(work)),
            Character::Late if chance < 5 => self.enter(12 * MINUTE, Event::Finish(work)),
            Character::Overclaims => self.enter(begin_ms + run_ms * queue, Event::Finish(work)),
            Character::IsLazy => self.enter(2 * SECOND, Event::Finish(work)),
            Character::Honest
            | Character::Crashes
            | Character::Declines
            | Character::Late
            | Character::Lies
            | Character::Cheats
            | Character::Colludes
            | Character::Copies => self.enter(done_ms, Event::Finish(work)),
        }
    }

    fn finish(&mut self, work: Work) {
        let Some(session) = self.present.get(&work.provider).map(|at| &self.script.sessions[*at]) else {
            return;
        };
        let is_late = session.character == Character::Late;
        if !is_late && !self.is_live(work) {
            return;
        }
        let right = word(&work.job.0);
        let says = match session.character {
            Character::Cheats => right ^ splitmix64(word(&work.provider.0)),
            Character::Colludes => !right,
            Character::IsLazy => 0,
            Character::Copies => self.public,
            Character::Honest
            | Character::Crashes
            | Character::Declines
            | Character::Late
            | Character::Lies
            | Character::Overclaims
            | Character::Stalls => right,
        };
        self.live.remove(&(work.provider, work.job));
        self.serial += 1;
        let (job, provider) = (work.job, work.provider);
        let result = ResultId(bytes(self.serial));
        let Some(open) = self.open.get_mut(&job) else {
            return;
        };
        open.results.push((provider, result, says));
        let kind = self.script.asks[open.ask].kind + 1_000;
        let answer = Answer::Digest(bytes(says));
        self.tell(Input::Result { job, provider, lease: Some(work.lease), result, kind, answer });
    }

    fn report(&mut self, work: Work, feedback: Feedback) {
        if self.is_live(work) {
            let Work { job, provider, lease } = work;
            self.tell(Input::Feedback { job, provider, lease: Some(lease), feedback });
        }
    }

    fn pay(&mut self, job: JobId, provider: ProviderId, customer: u64, msat: u64) {
        self.serial += 1;
        let name = |sort: u64| bytes(self.serial * 4 + sort);
        let marks = Marks { receipt: name(1), payment_hash: name(2), request: name(3) };
        let payer = customer_id(customer);
        self.tell(Input::Claimed { job, provider, payer, msat, marks, confirmed: true });
    }

    /// Tells the scheduler, by the clock, and carries out what it says.
    fn tell(&mut self, input: Input) {
        let watch = start();
        let orders = self.policy.step(self.now_ms, input);
        self.figures.cpu_ns += u64::try_from(watch.elapsed().as_nanos()).unwrap_or(0);
        for order in orders {
            match order {
                Order::Lease { job, provider, lease, .. } => self.take(Work { job, provider, lease }),
                Order::Withdraw { job, provider } => {
                    self.live.remove(&(provider, job));
                }
                Order::Refuse { job } => {
                    self.figures.refused += 1;
                    let ask = self.open.remove(&job).map(|open| &self.script.asks[open.ask]);
                    self.figures.refused_payers += u64::from(ask.is_some_and(|ask| !never_pays(ask.customer)));
                }
                Order::End { job, winner } => self.end(job, winner),
            }
        }
    }

    fn end(&mut self, job: JobId, winner: Option<(ProviderId, ResultId)>) {
        let Some(open) = self.open.remove(&job) else {
            return;
        };
        let ask = &self.script.asks[open.ask];
        let accepted = winner.and_then(|(_, accepted)| open.results.iter().find(|(_, id, _)| *id == accepted));
        let Some((provider, _, says)) = accepted.copied() else {
            self.figures.failed += 1;
            return;
        };
        self.public = says;
        let is_right = says == word(&job.0);
        let run_ms = self.now_ms - ask.at_ms;
        self.figures.ended(self.now_ms, is_right, open.results.len() as u64, run_ms);
        let session = self.known.get(&provider).map(|at| &self.script.sessions[*at]);
        let price = session.and_then(|session| session.advert.offer(ask.kind)?.price_msat).unwrap_or(0);
        if never_pays(ask.customer) {
            self.figures.unpaid_msat += price;
        } else {
            self.figures.paid_msat += price;
            self.figures.lost_msat += if is_right { 0 } else { price };
            self.enter(5 * SECOND, Event::Pay { job, provider, customer: ask.customer, msat: price });
        }
        self.tell(Input::Quoted { job, provider, msat: price });
    }

    fn is_live(&self, work: Work) -> bool {
        self.live.get(&(work.provider, work.job)) == Some(&work.lease)
    }

    fn enter(&mut self, in_ms: u64, event: Event) {
        self.agenda.enter(self.now_ms + in_ms, event);
    }
}

/// For so long somebody counts as new.
pub const NEW_MS: u64 = 30 * MINUTE;

fn bytes(word: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&word.to_le_bytes());
    bytes
}

fn customer_id(number: u64) -> CustomerId {
    CustomerId(bytes(number + 1))
}
