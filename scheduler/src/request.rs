//! What a customer asks for.

use crate::advert::{Advert, Value, name_flaw};
use crate::auction::Auction;
use crate::examination::Panel;
use crate::id::{JobId, ProviderId, ResultId};
use crate::refusal::Flaw;
use crate::validation::{NUMBER_MAX, ONE_PPM, Validation};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Requirements that a request may list.
pub const REQUIREMENTS_MAX: usize = 32;
/// Values that one requirement may list.
pub const VALUES_MAX: usize = 32;
/// Jobs that a request may wait for.
pub const INPUTS_MAX: usize = 16;
/// Providers that a request may name.
pub const NAMED_MAX: usize = 64;

/// Wishes for an order of providers that a request may list.
pub const RANKS_MAX: usize = 8;
/// Parameters that a request may have.
pub const PARAMS_MAX: usize = 64;

/// How a capability is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// `=`: one of the capability's values equals the operand.
    Equal,
    /// `!=`: it has a value of the operand's type, and none equals the operand.
    NotEqual,
    /// `<`, integers only.
    Less,
    /// `<=`, integers only.
    LessOrEqual,
    /// `>`, integers only.
    Greater,
    /// `>=`, integers only.
    GreaterOrEqual,
    /// `in`: one of its values is among the operands.
    In,
    /// `has`: every operand is among its values; without operands, that it is there at all.
    Has,
}

/// One condition on a provider's capabilities. An absent capability fails every operator, `!=` too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// Name of the capability.
    pub attribute: String,
    /// The comparison.
    pub op: Op,
    /// Its operands: exactly one for the comparisons, one or more for `in`, any number for `has`.
    pub values: Vec<Value>,
}

/// Which value of a capability is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// The lower.
    Asc,
    /// The higher.
    Desc,
}

/// A wish for the providers that rank best by a capability that is a whole number, or by `price`, what they ask for the kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rank {
    /// Name of the capability.
    pub attribute: String,
    /// Which value is better.
    pub order: Order,
}

/// Who may answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dispatch {
    /// Who holds a lease; one at a time, or as many as there are replicas.
    #[default]
    Leased,
    /// Everybody may; the first result ends the job.
    Open,
}

/// A job whose result is the input of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// Which.
    pub job: JobId,
    /// Its result; `None`: it has none yet.
    pub result: Option<ResultId>,
}

/// A job request. Times are durations in milliseconds, cut to the operator's bounds; `deadline_ms` is a point in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its kind; the result's is 1000 higher.
    pub kind: u16,
    /// The most the customer pays, in millisatoshi; `None` accepts any price.
    pub bid_msat: Option<u64>,
    /// Conditions on the provider; all must hold.
    pub require: Vec<Requirement>,
    /// Which of the providers that are drawn is better, before their score; the first wish weighs most.
    pub rank: Vec<Rank>,
    /// How many inputs it has.
    pub input_count: u32,
    /// Bytes of its inputs.
    pub input_bytes: u64,
    /// Its parameters, for providers' conditions only.
    pub params: Vec<(String, Value)>,
    /// When not empty, only these may hold a lease.
    pub providers: Vec<ProviderId>,
    /// Jobs whose results it needs: it gets no lease before it has them all.
    pub inputs: Vec<Upstream>,
    /// Whether providers make offers first.
    pub auction: Option<Auction>,
    /// Who may answer.
    pub dispatch: Dispatch,
    /// Whether everybody may answer when no provider for it is known after a while: its customer did not say who may.
    pub may_open: bool,
    /// Providers that are to do the job at a time, each on its own; 1 or more.
    pub replicas: u32,
    /// How many of them must agree; from 1 to `replicas`.
    pub quorum: u32,
    /// When two results agree.
    pub validate: Validation,
    /// Whether one result of a trusted provider is enough: see [`adaptive`](crate::adaptive).
    pub adaptive: bool,
    /// Who is to look at its result before that is accepted.
    pub panel: Option<Panel>,
    /// The job whose result it validates; only the relay orders such a job.
    pub examines: Option<JobId>,
    /// These may not hold a lease.
    pub barred: Vec<ProviderId>,
    /// How long a leaseholder may take to say anything.
    pub accept_timeout_ms: Option<u64>,
    /// How long the run may take from acceptance.
    pub run_timeout_ms: Option<u64>,
    /// How long the provider waits for its payment.
    pub pay_timeout_ms: Option<u64>,
    /// The longest silence while running; `None`: no heartbeat is needed.
    pub heartbeat_timeout_ms: Option<u64>,
    /// Leases that the job may use up.
    pub attempts: Option<u32>,
    /// When the whole job must have ended.
    pub deadline_ms: Option<u64>,
}

impl Request {
    /// A request of this kind that leaves everything else to the operator's defaults.
    pub fn new(kind: u16) -> Self {
        Self {
            kind,
            bid_msat: None,
            require: Vec::new(),
            rank: Vec::new(),
            input_count: 0,
            input_bytes: 0,
            params: Vec::new(),
            providers: Vec::new(),
            inputs: Vec::new(),
            auction: None,
            dispatch: Dispatch::Leased,
            may_open: false,
            replicas: 1,
            quorum: 1,
            validate: Validation::Exact,
            adaptive: false,
            panel: None,
            examines: None,
            barred: Vec::new(),
            accept_timeout_ms: None,
            run_timeout_ms: None,
            pay_timeout_ms: None,
            heartbeat_timeout_ms: None,
            attempts: None,
            deadline_ms: None,
        }
    }

    /// The kind of its result. Kinds too high to have one are refused at the door.
    pub fn result_kind(&self) -> u16 {
        self.kind.saturating_add(1_000)
    }

    /// Whether it may become open: one provider at a time was to do it, and its customer does not insist.
    pub fn opens(&self) -> bool {
        self.may_open && self.dispatch == Dispatch::Leased && self.replicas == 1
    }

    /// Why this request is refused at the door.
    pub(crate) fn flaw(&self) -> Option<Flaw> {
        let times = [self.accept_timeout_ms, self.run_timeout_ms, self.pay_timeout_ms, self.heartbeat_timeout_ms];
        if self.kind.checked_add(1_000).is_none() {
            return Some(Flaw::KindTooHigh);
        }
        if times.contains(&Some(0)) {
            return Some(Flaw::ZeroTimeout);
        }
        if self.attempts == Some(0) {
            return Some(Flaw::ZeroAttempts);
        }
        if self.require.len() > REQUIREMENTS_MAX {
            return Some(Flaw::TooManyRequirements);
        }
        if self.providers.len() > NAMED_MAX {
            return Some(Flaw::TooManyNamed);
        }
        if self.inputs.len() > INPUTS_MAX {
            return Some(Flaw::TooManyInputs);
        }
        if self.auction.is_some() && self.dispatch == Dispatch::Open {
            return Some(Flaw::OpenAuction);
        }
        if self.auction.is_some_and(|auction| auction.window_ms == 0) {
            return Some(Flaw::ZeroTimeout);
        }
        if !self.inputs.is_empty() && self.dispatch == Dispatch::Open {
            return Some(Flaw::OpenInputs);
        }
        if self.rank.len() > RANKS_MAX {
            return Some(Flaw::TooManyRanks);
        }
        if self.params.len() > PARAMS_MAX {
            return Some(Flaw::TooManyParams);
        }
        self.replication_flaw().or_else(|| self.text_flaw())
    }

    fn text_flaw(&self) -> Option<Flaw> {
        let required = self.require.iter().find_map(Requirement::flaw);
        let ranked = || self.rank.iter().find_map(|rank| name_flaw(&rank.attribute));
        let named = |(name, value): &(String, Value)| name_flaw(name).or_else(|| value.flaw());
        required.or_else(ranked).or_else(|| self.params.iter().find_map(named))
    }

    fn replication_flaw(&self) -> Option<Flaw> {
        let tolerable = match self.validate {
            Validation::Exact => true,
            Validation::Tolerance { abs, rel_ppm } => (0..=NUMBER_MAX).contains(&abs) && rel_ppm <= ONE_PPM,
            Validation::Verdict => false,
        };
        let in_order = |panel: Panel| panel.quorum > 0 && panel.quorum <= panel.validators;
        let is_own = self.examines.is_none() && self.barred.is_empty();
        let named: BTreeSet<_> = self.providers.iter().collect();
        let quorum = usize::try_from(self.quorum).unwrap_or(usize::MAX);
        let rules = [
            (self.quorum > 0 && self.quorum <= self.replicas, Flaw::WrongQuorum),
            (tolerable, Flaw::WrongTolerance),
            (self.panel.is_none_or(in_order), Flaw::WrongPanel),
            (self.panel.is_none() || self.dispatch == Dispatch::Leased, Flaw::OpenPanel),
            (is_own, Flaw::NotAnOrder),
            (!self.adaptive || self.quorum > 1, Flaw::AdaptiveAlone),
            (self.replicas == 1 || self.dispatch == Dispatch::Leased, Flaw::OpenReplicas),
            (self.attempts.is_none_or(|attempts| attempts >= self.replicas), Flaw::FewerAttemptsThanReplicas),
            (named.is_empty() || named.len() >= quorum, Flaw::FewerNamedThanQuorum),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map(|(_, flaw)| flaw)
    }
}

impl Requirement {
    /// Whether the advert's capabilities fulfil it.
    pub fn holds(&self, advert: &Advert) -> bool {
        self.met_by(|| advert.values(&self.attribute))
    }

    /// Whether these values of its attribute fulfil it.
    pub(crate) fn met_by<'a, I: Iterator<Item = &'a Value>>(&self, all: impl Fn() -> I) -> bool {
        let mut values = all();
        match self.op {
            Op::Equal | Op::In => values.any(|value| self.values.contains(value)),
            Op::NotEqual => self.met_by_others(values),
            Op::Less => values.any(|value| self.compares(value, |cap, asked| cap < asked)),
            Op::LessOrEqual => values.any(|value| self.compares(value, |cap, asked| cap <= asked)),
            Op::Greater => values.any(|value| self.compares(value, |cap, asked| cap > asked)),
            Op::GreaterOrEqual => values.any(|value| self.compares(value, |cap, asked| cap >= asked)),
            Op::Has if self.values.is_empty() => values.next().is_some(),
            Op::Has => self.values.iter().all(|asked| all().any(|value| value == asked)),
        }
    }

    /// Whether one of the capability's values, by itself, is of those by which a list of this requirement is made.
    pub(crate) fn fits(&self, value: &Value) -> bool {
        match self.op {
            Op::Equal | Op::In | Op::Has => self.values.contains(value),
            Op::NotEqual => true,
            Op::Less => self.compares(value, |cap, asked| cap < asked),
            Op::LessOrEqual => self.compares(value, |cap, asked| cap <= asked),
            Op::Greater => self.compares(value, |cap, asked| cap > asked),
            Op::GreaterOrEqual => self.compares(value, |cap, asked| cap >= asked),
        }
    }

    fn met_by_others<'a>(&self, values: impl Iterator<Item = &'a Value>) -> bool {
        let Some(asked) = self.values.first() else {
            return false;
        };
        let same_type = |value: &&'a Value| std::mem::discriminant(*value) == std::mem::discriminant(asked);
        let mut comparable = values.filter(same_type).peekable();
        comparable.peek().is_some() && comparable.all(|value| value != asked)
    }

    fn compares(&self, value: &Value, order: fn(i64, i64) -> bool) -> bool {
        match (value, self.values.first()) {
            (Value::Int(cap), Some(Value::Int(asked))) => order(*cap, *asked),
            (Value::Int(_) | Value::Text(_), Some(Value::Int(_) | Value::Text(_)) | None) => false,
        }
    }

    pub(crate) fn flaw(&self) -> Option<Flaw> {
        if self.values.len() > VALUES_MAX {
            return Some(Flaw::TooManyValues);
        }
        let operands = match self.op {
            Op::Equal | Op::NotEqual => self.values.len() == 1,
            Op::Less | Op::LessOrEqual | Op::Greater | Op::GreaterOrEqual => {
                matches!(self.values.as_slice(), [Value::Int(_)])
            }
            Op::In => !self.values.is_empty(),
            Op::Has => true,
        };
        if !operands {
            return Some(Flaw::WrongOperands);
        }
        name_flaw(&self.attribute).or_else(|| self.values.iter().find_map(Value::flaw))
    }
}
