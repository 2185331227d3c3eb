//! A scheduler on the bench: short verbs, and every invariant checked after each.

use mercato_scheduler::*;

pub const KIND: u16 = 5050;

pub fn provider(n: u8) -> ProviderId {
    ProviderId([n; 32])
}

pub fn job(n: u8) -> JobId {
    JobId([n; 32])
}

/// Another key than the provider's of the same number.
pub fn customer(n: u8) -> CustomerId {
    let mut id = [n; 32];
    id[31] = !n;
    CustomerId(id)
}

pub fn result(n: u8) -> ResultId {
    ResultId([n; 32])
}

pub fn marks(n: u8) -> Marks {
    Marks { receipt: [n; 32], payment_hash: [n.wrapping_add(64); 32], request: [n.wrapping_add(128); 32] }
}

pub fn advert(price_msat: Option<u64>) -> Advert {
    Advert { kinds: vec![Offer { kind: KIND, price_msat }], ..Advert::default() }
}

pub fn advert_with(caps: &[(&str, Value)], slots: u32) -> Advert {
    let caps = caps.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Advert { caps, slots: Some(slots), ..advert(None) }
}

pub fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub fn requirement(attribute: &str, op: Op, values: &[Value]) -> Requirement {
    Requirement { attribute: attribute.to_owned(), op, values: values.to_vec() }
}

pub fn request() -> Request {
    Request::new(KIND)
}

/// Short times: accept 10 ms, run 100, pay 50, job 1000, grace 5, restart grace 15.
pub fn config() -> Config {
    Config {
        accept_timeout_ms: 10,
        accept_timeout_derived: false,
        run_timeout_ms: 100,
        run_timeout_max_ms: 500,
        run_timeout_min_ms: 20,
        retry_base_ms: 0,
        pay_timeout_ms: 50,
        job_timeout_ms: 1_000,
        job_timeout_max_ms: 2_000,
        disconnect_grace_ms: 5,
        restart_grace_ms: 15,
        liveness_window_ms: 900,
        seen_resolution_ms: 30,
        attempts_default: 3,
        attempts_max: 8,
        open_after_ms: Some(20),
        ended_retention_ms: 500,
        ..Config::default()
    }
}

pub struct Bench {
    pub scheduler: Scheduler,
    pub journal: Vec<Record>,
    pub now_ms: u64,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(config())
    }

    pub fn with(config: Config) -> Self {
        Self { scheduler: Scheduler::new(config), journal: Vec::new(), now_ms: 0 }
    }

    pub fn step(&mut self, input: Input) -> Result<Vec<Effect>, Refusal> {
        let before = self.scheduler.state().clone();
        let step = self.scheduler.step(self.now_ms, input);
        assert_eq!(self.scheduler.check(), Ok(()));
        match step {
            Ok(step) => {
                self.journal.extend(step.records);
                Ok(step.effects)
            }
            Err(refusal) => {
                assert_eq!(*self.scheduler.state(), before, "a refusal changed the state");
                Err(refusal)
            }
        }
    }

    pub fn at(&mut self, now_ms: u64) -> &mut Self {
        self.now_ms = now_ms;
        self
    }

    /// Ticks at a time.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Effect> {
        self.now_ms = now_ms;
        self.step(Input::Tick).expect("a tick is never refused")
    }

    pub fn online(&mut self, n: u8, advert: Advert) -> Vec<Effect> {
        let mut effects = self.step(Input::Online { provider: provider(n) }).expect("online");
        effects.extend(self.advertise(n, advert));
        effects
    }

    /// Says its advert just now: the relay tells of both.
    pub fn advertise(&mut self, n: u8, advert: Advert) -> Vec<Effect> {
        let mut effects = self.step(Input::Advertise { provider: provider(n), advert }).expect("advertised");
        effects.extend(self.step(Input::Seen { provider: provider(n) }).expect("seen"));
        effects
    }

    pub fn offline(&mut self, n: u8) -> Vec<Effect> {
        self.step(Input::Offline { provider: provider(n) }).expect("offline")
    }

    pub fn ask(&mut self, n: u8, request: Request) -> Vec<Effect> {
        self.try_ask(n, 1, request).expect("requested")
    }

    pub fn try_ask(&mut self, n: u8, by: u8, request: Request) -> Result<Vec<Effect>, Refusal> {
        self.step(Input::Request { job: job(n), customer: customer(by), request })
    }

    pub fn say(&mut self, n: u8, by: u8, feedback: Feedback) -> Result<Vec<Effect>, Refusal> {
        self.say_under(n, by, None, feedback)
    }

    pub fn say_under(&mut self, n: u8, by: u8, lease: Option<u64>, feedback: Feedback) -> Result<Vec<Effect>, Refusal> {
        self.step(Input::Feedback { job: job(n), provider: provider(by), lease, feedback })
    }

    pub fn deliver(&mut self, n: u8, by: u8) -> Result<Vec<Effect>, Refusal> {
        self.deliver_as(n, by, None, KIND + 1_000, by)
    }

    /// Delivers this answer, as result `by`.
    pub fn answer(&mut self, n: u8, by: u8, answer: Answer) -> Result<Vec<Effect>, Refusal> {
        let (job, provider, result) = (job(n), provider(by), result(by));
        self.step(Input::Result { job, provider, lease: None, result, kind: KIND + 1_000, answer })
    }

    pub fn deliver_as(&mut self, n: u8, by: u8, lease: Option<u64>, kind: u16, id: u8) -> Result<Vec<Effect>, Refusal> {
        let (job, provider, result) = (job(n), provider(by), result(id));
        self.step(Input::Result { job, provider, lease, result, kind, answer: Answer::Unread })
    }

    /// Receipt `n` says that customer 1 paid.
    pub fn pay(&mut self, job: u8, to: u8, msat: u64, n: u8) -> Result<Vec<Effect>, Refusal> {
        self.pay_as(job, 1, to, msat, marks(n), false)
    }

    pub fn pay_as(
        &mut self,
        n: u8,
        by: u8,
        to: u8,
        msat: u64,
        marks: Marks,
        confirmed: bool,
    ) -> Result<Vec<Effect>, Refusal> {
        let (job, provider, payer) = (job(n), provider(to), customer(by));
        self.step(Input::Claimed { job, provider, payer, msat, marks, confirmed })
    }

    /// Who delivered names its price.
    pub fn quote(&mut self, n: u8, by: u8, msat: u64) -> Result<Vec<Effect>, Refusal> {
        self.step(Input::Quoted { job: job(n), provider: provider(by), msat })
    }

    pub fn cancel(&mut self, n: u8, by: u8) -> Result<Vec<Effect>, Refusal> {
        self.step(Input::Cancel { job: job(n), by: customer(by) })
    }

    pub fn status(&self, n: u8) -> Status {
        self.view(n).status
    }

    pub fn view(&self, n: u8) -> JobView {
        self.scheduler.view(job(n)).expect("the job is known")
    }

    /// The leaseholder of a job; of several the first.
    pub fn holder(&self, n: u8) -> Option<ProviderId> {
        let jobs = self.scheduler.state().jobs();
        jobs.get(&job(n)).and_then(|job| job.leases.first()).map(|lease| lease.provider)
    }

    pub fn row(&self, n: u8) -> &Provider {
        &self.scheduler.state().providers()[&provider(n)]
    }
}

pub fn processing() -> Feedback {
    Feedback::Processing
}

pub fn error(words: &str) -> Feedback {
    Feedback::Error { reason: words.to_owned() }
}

/// The leases announced, as (job, provider).
pub fn leases(effects: &[Effect]) -> Vec<(JobId, ProviderId)> {
    let lease = |effect: &Effect| match effect {
        Effect::AnnounceLease { job, provider, .. } => Some((*job, *provider)),
        Effect::AnnounceWithdrawal { .. }
        | Effect::AnnounceVerdict { .. }
        | Effect::AnnounceEnd { .. }
        | Effect::AnnounceState { .. }
        | Effect::AnnouncePayment { .. }
        | Effect::OrderValidation { .. } => None,
    };
    effects.iter().filter_map(lease).collect()
}

/// The withdrawals announced, as (provider, reason).
pub fn withdrawals(effects: &[Effect]) -> Vec<(ProviderId, Reason)> {
    let withdrawal = |effect: &Effect| match effect {
        Effect::AnnounceWithdrawal { provider, reason, .. } => Some((*provider, reason.clone())),
        Effect::AnnounceLease { .. }
        | Effect::AnnounceVerdict { .. }
        | Effect::AnnounceEnd { .. }
        | Effect::AnnounceState { .. }
        | Effect::AnnouncePayment { .. }
        | Effect::OrderValidation { .. } => None,
    };
    effects.iter().filter_map(withdrawal).collect()
}

/// The verdicts announced, as (provider, verdict).
pub fn verdicts(effects: &[Effect]) -> Vec<(ProviderId, Verdict)> {
    let verdict = |effect: &Effect| match effect {
        Effect::AnnounceVerdict { provider, verdict, .. } => Some((*provider, *verdict)),
        Effect::AnnounceLease { .. }
        | Effect::AnnounceWithdrawal { .. }
        | Effect::AnnounceEnd { .. }
        | Effect::AnnounceState { .. }
        | Effect::AnnouncePayment { .. }
        | Effect::OrderValidation { .. } => None,
    };
    effects.iter().filter_map(verdict).collect()
}

/// The ends announced, with the provider told.
pub fn ends(effects: &[Effect]) -> Vec<(End, Option<ProviderId>)> {
    let end = |effect: &Effect| match effect {
        Effect::AnnounceEnd { end, provider, .. } => Some((end.clone(), *provider)),
        Effect::AnnounceLease { .. }
        | Effect::AnnounceWithdrawal { .. }
        | Effect::AnnounceVerdict { .. }
        | Effect::AnnounceState { .. }
        | Effect::AnnouncePayment { .. }
        | Effect::OrderValidation { .. } => None,
    };
    effects.iter().filter_map(end).collect()
}
