//! Providers of every character.

use super::cast::Character;
use super::observer::result_id;
use super::rng::Rng;
use super::truth;
use mercato_scheduler::{
    Advert, Answer, Feedback, Input, JobId, Offer, Op, ProviderId, Requirement, VALIDATION_KIND, Validation, Value,
    Verdict,
};
use std::collections::BTreeMap;

/// A lease as the provider heard of it.
#[derive(Clone, Debug)]
pub struct Work {
    pub job: JobId,
    pub kind: u16,
    pub lease: u64,
    pub validate: Validation,
    /// Of a validator's work: whether the result that it is to look at is right.
    pub is_right: Option<bool>,
    pub run_ms: u64,
    pub heartbeat_ms: Option<u64>,
}

/// What a provider does at a time of its own choosing.
#[derive(Clone, Debug)]
pub enum Act {
    Connect,
    Disconnect,
    /// Goes, and somebody else comes in its place, or it comes back after a while.
    Leave,
    Return,
    /// Signs something, without a connection.
    Beat,
    Readvertise,
    Lie,
    /// Answers a job that somebody asked for, be it its own or not.
    AnswerUnasked,
    Begin(Work),
    KeepAlive(Work),
    AskPayment(Work),
    Decline(Work),
    Finish(Work),
}

pub struct Provider {
    pub id: ProviderId,
    pub character: Character,
    pub authenticates: bool,
    /// It advertises nothing: it connects, listens for some kinds, does what it is asked, and answers unasked.
    pub walks_in: bool,
    pub connected: bool,
    /// It has left.
    pub away: bool,
    pub advert: Advert,
    /// The lease it works under, by job.
    pub working: BTreeMap<JobId, u64>,
    /// What was published while it was away.
    pub mailbox: Vec<Act>,
    serial: u32,
}

pub const KINDS: [u16; 3] = [5_050, 5_300, 5_700];

impl Provider {
    pub fn new(number: u64, character: Character, rng: &mut Rng) -> Self {
        Self {
            id: provider_id(number),
            character,
            authenticates: number % 7 != 3 || walks_in(number),
            walks_in: walks_in(number),
            connected: false,
            away: false,
            advert: advert(character, rng),
            working: BTreeMap::new(),
            mailbox: Vec::new(),
            serial: 0,
        }
    }

    /// Whether what is published reaches it now.
    pub fn listens(&self) -> bool {
        !self.away && (self.connected || !self.authenticates)
    }

    /// Somebody else with the same habits takes its place.
    pub fn replace(&mut self, number: u64, rng: &mut Rng) {
        self.id = provider_id(number);
        self.advert = advert(self.character, rng);
        self.working.clear();
        self.mailbox.clear();
    }

    /// What it tells the relay when it comes, and now and then: its advert, or what it listens for.
    pub fn offer(&self) -> Input {
        let provider = self.id;
        if self.walks_in {
            let kinds = self.advert.kinds.iter().map(|offer| offer.kind);
            return Input::Listen { provider, kinds: kinds.collect() };
        }
        Input::Advertise { provider, advert: self.advert.clone() }
    }

    pub fn readvertise(&mut self, rng: &mut Rng) -> Input {
        if self.walks_in {
            self.advert = advert(self.character, rng);
            return self.offer();
        }
        if rng.chance(100) {
            return Input::Unadvertise { provider: self.id };
        }
        self.advert = advert(self.character, rng);
        self.offer()
    }

    /// Hears of a lease: what it will do, and in how many milliseconds.
    pub fn take(&mut self, work: Work, rng: &mut Rng) -> Vec<(u64, Act)> {
        self.working.insert(work.job, work.lease);
        let begins_ms = rng.between(50, 3_000);
        let works_ms = rng.between(2_000, 240_000).min(work.run_ms * 9 / 10);
        let begin = (begins_ms, Act::Begin(work.clone()));
        let finish = |at_ms| (at_ms, Act::Finish(work.clone()));
        match self.character {
            Character::Stalls if rng.chance(500) => Vec::new(),
            Character::Stalls => {
                let beat = work.heartbeat_ms.map(|ms| (ms / 2, Act::KeepAlive(work.clone())));
                [Some(begin), beat].into_iter().flatten().collect()
            }
            Character::Overclaims => {
                let queue = u64::try_from(self.working.len()).unwrap_or(1);
                vec![begin, finish(begins_ms + works_ms * queue)]
            }
            Character::Declines if rng.chance(600) => vec![(begins_ms, Act::Decline(work))],
            Character::Late => {
                let begin = (rng.between(5_000, 20_000), Act::Begin(work.clone()));
                vec![begin, finish(work.run_ms * rng.between(8, 25) / 10)]
            }
            Character::Lies if rng.chance(500) => vec![finish(rng.between(50, 5_000))],
            Character::IsLazy => vec![begin, finish(rng.between(3_100, 5_000))],
            Character::Honest
            | Character::Crashes
            | Character::Declines
            | Character::Lies
            | Character::Cheats
            | Character::Colludes
            | Character::Copies => {
                let pays =
                    rng.chance(200).then(|| (begins_ms + rng.between(100, 5_000), Act::AskPayment(work.clone())));
                let beat = work.heartbeat_ms.map(|ms| (ms / 2, Act::KeepAlive(work.clone())));
                let plan = [Some(begin), pays, beat, Some(finish(begins_ms + works_ms))];
                plan.into_iter().flatten().collect()
            }
        }
    }

    /// Hears that a lease is over. Latecomers and liars do not care.
    pub fn stop(&mut self, job: JobId, lease: u64) {
        let cares = match self.character {
            Character::Late | Character::Lies => false,
            Character::Honest
            | Character::Crashes
            | Character::Stalls
            | Character::Overclaims
            | Character::Declines
            | Character::Cheats
            | Character::Colludes
            | Character::Copies
            | Character::IsLazy => true,
        };
        if cares && self.working.get(&job) == Some(&lease) {
            self.working.remove(&job);
        }
    }

    pub fn works_on(&self, work: &Work) -> bool {
        self.working.get(&work.job) == Some(&work.lease)
    }

    pub fn feedback(&self, work: &Work, feedback: Feedback, rng: &mut Rng) -> Input {
        let lease = self.named_lease(work, rng);
        Input::Feedback { job: work.job, provider: self.id, lease, feedback }
    }

    pub fn result(&mut self, work: &Work, seen: Option<&Answer>, rng: &mut Rng) -> Input {
        self.working.remove(&work.job);
        let kind = if self.character == Character::Lies && rng.chance(300) { work.kind } else { work.kind + 1_000 };
        let lease = self.named_lease(work, rng);
        let answer = self.answer(work, seen, rng);
        self.deliver(work.job, lease, kind, answer)
    }

    fn answer(&self, work: &Work, seen: Option<&Answer>, rng: &mut Rng) -> Answer {
        let (job, validate) = (work.job, work.validate);
        if let Some(is_right) = work.is_right {
            return Answer::Verdict(self.finds(is_right));
        }
        match self.character {
            Character::Honest
            | Character::Crashes
            | Character::Stalls
            | Character::Overclaims
            | Character::Declines
            | Character::Late
            | Character::Lies => truth::right(job, validate, rng),
            Character::Cheats => truth::false_alone(job, self.id, validate, rng),
            Character::Colludes => truth::false_together(job, validate, rng),
            Character::Copies => seen.cloned().unwrap_or_else(|| truth::nothing(validate, rng)),
            Character::IsLazy => truth::nothing(validate, rng),
        }
    }

    /// What it says of somebody else's result.
    fn finds(&self, is_right: bool) -> Verdict {
        match self.character {
            Character::Cheats if is_right => Verdict::Copy,
            Character::Cheats | Character::Colludes | Character::Copies | Character::IsLazy => Verdict::Pass,
            Character::Honest
            | Character::Crashes
            | Character::Stalls
            | Character::Overclaims
            | Character::Declines
            | Character::Late
            | Character::Lies => {
                if is_right {
                    Verdict::Pass
                } else {
                    Verdict::Fail
                }
            }
        }
    }

    /// Most name their lease; liars sometimes a higher one.
    fn named_lease(&self, work: &Work, rng: &mut Rng) -> Option<u64> {
        let lies = self.character == Character::Lies && rng.chance(300);
        rng.chance(700).then_some(if lies { work.lease + 1 } else { work.lease })
    }

    /// Something false about a job.
    pub fn lie(&mut self, job: JobId, kind: u16, rng: &mut Rng) -> Input {
        let lease = rng.maybe(500, 0, 1_000);
        if rng.chance(300) {
            let feedback = Feedback::Error { reason: "it is not mine".to_owned() };
            return Input::Feedback { job, provider: self.id, lease, feedback };
        }
        let kind = if rng.chance(800) { kind + 1_000 } else { kind + 1 };
        let validate = if rng.chance(700) { Validation::Exact } else { Validation::Tolerance { abs: 0, rel_ppm: 0 } };
        let answer = truth::false_alone(job, self.id, validate, rng);
        self.deliver(job, lease, kind, answer)
    }

    /// The right answer to a job, whoever is to give it.
    pub fn answer_unasked(&mut self, job: JobId, kind: u16, validate: Validation, rng: &mut Rng) -> Input {
        let answer = truth::right(job, validate, rng);
        self.deliver(job, None, kind + 1_000, answer)
    }

    fn deliver(&mut self, job: JobId, lease: Option<u64>, kind: u16, answer: Answer) -> Input {
        self.serial += 1;
        let result = result_id(job, self.id, kind, self.serial);
        Input::Result { job, provider: self.id, lease, result, kind, answer }
    }
}

/// One in twenty.
fn walks_in(number: u64) -> bool {
    number % 20 == 5
}

fn provider_id(number: u64) -> ProviderId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&(number + 1).to_le_bytes());
    ProviderId(id)
}

fn advert(character: Character, rng: &mut Rng) -> Advert {
    let offers = KINDS.iter().chain([&VALIDATION_KIND]).filter_map(|kind| {
        let price_msat = rng.maybe(600, 1, 2_000);
        rng.chance(600).then_some(Offer { kind: *kind, price_msat })
    });
    let kinds: Vec<_> = offers.collect();
    let ram = 8_i64 << rng.between(0, 5);
    let model = ["llama", "qwen", "phi"][rng.index(3)];
    let caps = vec![("ram_gb".to_owned(), Value::Int(ram)), ("model".to_owned(), Value::Text(model.to_owned()))];
    let slots = rng.maybe(800, 0, 5).map(|slots| u32::try_from(slots).expect("small"));
    let slots = if character == Character::Overclaims { Some(20) } else { slots };
    Advert { kinds, caps, accept: conditions(rng), slots }
}

/// Some take no job that promises little, and none of who does not pay.
fn conditions(rng: &mut Rng) -> Vec<Requirement> {
    let least = |attribute: &str, least| {
        let values = vec![Value::Int(least)];
        Requirement { attribute: attribute.to_owned(), op: Op::GreaterOrEqual, values }
    };
    let bid = rng.chance(150).then(|| least("bid", 500));
    let rank = rng.chance(150).then(|| least("customer.rank", 12));
    bid.into_iter().chain(rank).collect()
}
