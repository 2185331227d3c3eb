//! What a relay says: the messages of NIP-01, NIP-42, NIP-45, NIP-67 and NIP-77, checked for form as strictly as clients
//! may.

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::event::Event;

/// Words that NIP-01 and NIP-42 let a machine-readable text begin with, and strfry's `deleted` and `replaced`.
pub const PREFIXES: [&str; 12] = [
    "duplicate",
    "pow",
    "blocked",
    "rate-limited",
    "invalid",
    "restricted",
    "mute",
    "error",
    "auth-required",
    "unsupported",
    "replaced",
    "deleted",
];

/// One message of a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Event {
        subscription: String,
        event: Event,
    },
    Ok {
        id: String,
        accepted: bool,
        text: String,
    },
    Eose {
        subscription: String,
        /// NIP-67.
        hints: Vec<String>,
    },
    /// NIP-45: the object as it is.
    Count {
        query: String,
        tally: Value,
    },
    Closed {
        subscription: String,
        text: String,
    },
    Notice(String),
    Auth(String),
    /// The message in hex.
    NegMsg {
        subscription: String,
        message: String,
    },
    NegErr {
        subscription: String,
        text: String,
    },
}

impl Said {
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let message: Value = serde_json::from_str(text).with_context(|| format!("the relay said {text}"))?;
        let parts = message.as_array().with_context(|| format!("the relay said {text}"))?;
        let word = |at: usize| {
            let part = parts.get(at).and_then(Value::as_str);
            part.map(str::to_owned).with_context(|| format!("element {at} is not text: {text}"))
        };
        let (said, length) = match word(0)?.as_str() {
            "EVENT" => {
                let event = Event::from_json(parts.get(2).context("an EVENT without event")?)?;
                (Self::Event { subscription: word(1)?, event }, 3)
            }
            "OK" => {
                let accepted = parts.get(2).and_then(Value::as_bool).context("an OK without a boolean")?;
                (Self::Ok { id: word(1)?, accepted, text: word(3)? }, 4)
            }
            "EOSE" => {
                let hints = parts.get(2).map(|hints| serde_json::from_value(hints.clone())).transpose()?;
                (Self::Eose { subscription: word(1)?, hints: hints.unwrap_or_default() }, parts.len().clamp(2, 3))
            }
            "COUNT" => (Self::Count { query: word(1)?, tally: parts.get(2).cloned().unwrap_or_default() }, 3),
            "CLOSED" => (Self::Closed { subscription: word(1)?, text: word(2)? }, 3),
            "NOTICE" => (Self::Notice(word(1)?), 2),
            "AUTH" => (Self::Auth(word(1)?), 2),
            "NEG-MSG" => (Self::NegMsg { subscription: word(1)?, message: word(2)? }, 3),
            // NIP-77 lets the number of events that there may be follow.
            "NEG-ERR" => (Self::NegErr { subscription: word(1)?, text: word(2)? }, parts.len().clamp(3, 4)),
            _ => bail!("the relay said {text}"),
        };
        ensure!(parts.len() == length, "{length} elements expected: {text}");
        Ok(said)
    }
}

impl Said {
    /// Whether this is the EOSE of a subscription, whatever its hint.
    pub fn is_eose(&self, id: &str) -> bool {
        matches!(self, Self::Eose { subscription, .. } if subscription == id)
    }
}

/// The machine-readable word before `: `, if there is one.
pub fn prefix(text: &str) -> Option<&'static str> {
    let (word, _) = text.split_once(": ")?;
    PREFIXES.into_iter().find(|known| *known == word)
}
