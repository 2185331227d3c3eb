//! What a provider offers.

use crate::refusal::Flaw;
use crate::request::Requirement;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Capabilities that an advert may list.
pub const CAPS_MAX: usize = 64;
/// Job kinds that an advert may offer.
pub const OFFERS_MAX: usize = 256;
/// Job kinds that a walk-in may listen for; who lists more watches the market rather than works in it.
pub const WALK_IN_KINDS_MAX: usize = 64;
/// Conditions on jobs that an advert may list.
pub const ACCEPTS_MAX: usize = 32;
/// Bytes of an attribute's name or text value.
pub const TEXT_MAX: usize = 256;

/// A job kind that a provider serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The kind of the requests.
    pub kind: u16,
    /// What it asks up front, in millisatoshi; `None` asks nothing (it may quote later).
    pub price_msat: Option<u64>,
}

/// The value of a capability. Values of different types are never equal and have no order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// A whole number: `vram_mb = 24576`.
    Int(i64),
    /// A word: `model = llama`.
    Text(String),
}

/// A provider's advert. What is too large is refused at the door.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advert {
    /// Kinds served; of two offers for one kind, the first counts.
    pub kinds: Vec<Offer>,
    /// Capabilities by name; a name may repeat and then has several values.
    pub caps: Vec<(String, Value)>,
    /// Conditions on the job's attributes; all must hold, or it gets no lease on it.
    pub accept: Vec<Requirement>,
    /// Jobs that it does at a time; `None`: the operator's default.
    pub slots: Option<u32>,
}

impl Advert {
    /// The offer for a job kind.
    pub fn offer(&self, kind: u16) -> Option<&Offer> {
        self.kinds.iter().find(|offer| offer.kind == kind)
    }

    /// Leaves out offers that do not count, because another for their kind comes before.
    pub(crate) fn drop_double_offers(&mut self) {
        let mut known = BTreeSet::new();
        self.kinds.retain(|offer| known.insert(offer.kind));
    }

    /// The values of a capability.
    pub fn values<'a>(&'a self, attribute: &'a str) -> impl Iterator<Item = &'a Value> {
        values(&self.caps, attribute)
    }

    /// Why this advert is refused at the door.
    pub(crate) fn flaw(&self) -> Option<Flaw> {
        if self.kinds.len() > OFFERS_MAX {
            return Some(Flaw::TooManyOffers);
        }
        if self.caps.len() > CAPS_MAX {
            return Some(Flaw::TooManyCaps);
        }
        if self.accept.len() > ACCEPTS_MAX {
            return Some(Flaw::TooManyAccepts);
        }
        let caps = self.caps.iter().find_map(|(name, value)| name_flaw(name).or_else(|| value.flaw()));
        caps.or_else(|| self.accept.iter().find_map(Requirement::flaw))
    }
}

/// The values under a name.
pub(crate) fn values<'a>(all: &'a [(String, Value)], name: &'a str) -> impl Iterator<Item = &'a Value> {
    let named = all.iter().filter(move |(known, _)| known == name);
    named.map(|(_, value)| value)
}

impl Value {
    pub(crate) fn flaw(&self) -> Option<Flaw> {
        match self {
            Value::Int(_) => None,
            Value::Text(text) => (text.len() > TEXT_MAX).then_some(Flaw::TextTooLong),
        }
    }
}

pub(crate) fn name_flaw(name: &str) -> Option<Flaw> {
    if name.is_empty() {
        return Some(Flaw::EmptyName);
    }
    (name.len() > TEXT_MAX).then_some(Flaw::TextTooLong)
}
