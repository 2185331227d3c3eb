//! The relay's answers worked out the slow and plain way: every event is looked at, nothing is indexed.

use std::cmp::Reverse;
use std::collections::HashSet;

use serde_json::Value;

use crate::event::Event;

/// Whether `event` fulfils every condition of `filter`; `limit` is not one.
pub fn matches(filter: &Value, event: &Event) -> bool {
    let Some(conditions) = filter.as_object() else { return false };
    conditions.iter().all(|(name, wanted)| match name.as_str() {
        "ids" => holds(wanted, &event.id),
        "authors" => holds(wanted, &event.pubkey),
        "kinds" => wanted.as_array().is_some_and(|kinds| kinds.iter().any(|kind| *kind == event.kind)),
        "since" => wanted.as_u64().is_some_and(|since| event.created_at >= since),
        "until" => wanted.as_u64().is_some_and(|until| event.created_at <= until),
        "limit" => true,
        tag => match tag.strip_prefix('#') {
            Some(letter) => event.named(letter).any(|rest| rest.first().is_some_and(|value| holds(wanted, value))),
            None => false,
        },
    })
}

fn holds(wanted: &Value, value: &str) -> bool {
    wanted.as_array().is_some_and(|wanted| wanted.iter().any(|element| element == value))
}

/// Whether the holder of `viewer` may see an event: private kinds are shown to their parties only (NIP-04, NIP-59).
pub fn is_visible(event: &Event, viewer: &str) -> bool {
    let named = || event.named("p").any(|rest| rest.first().is_some_and(|value| value == viewer));
    match event.kind {
        4 => event.pubkey == viewer || named(),
        1059 | 21059 => named(),
        _ => true,
    }
}

/// What a relay does with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Stored,
    Duplicate,
    Replaced,
    Deleted,
    /// Told to subscribers, and forgotten.
    Passed,
}

/// What a relay would hold.
#[derive(Debug, Default)]
pub struct Store {
    pub events: Vec<Event>,
    /// Every deletion that was ever taken.
    deletions: Vec<Event>,
}

impl Store {
    pub fn insert(&mut self, event: &Event) -> Fate {
        if (20_000..30_000).contains(&event.kind) {
            return Fate::Passed;
        }
        if self.events.iter().any(|other| other.id == event.id) {
            return Fate::Duplicate;
        }
        if self.deletions.iter().any(|deletion| deletes(deletion, event)) {
            return Fate::Deleted;
        }
        let address = address(event);
        let is_version = |other: &Event| address.is_some() && self::address(other) == address;
        if self.events.iter().any(|other| is_version(other) && age(other) < age(event)) {
            return Fate::Replaced;
        }
        self.events.retain(|other| !is_version(other));
        self.events.push(event.clone());
        if event.kind == 5 {
            self.events.retain(|other| !deletes(event, other));
            self.deletions.push(event.clone());
        }
        Fate::Stored
    }

    /// Events in answer to one filter, in NIP-01's order; those that ended by `now` are not served.
    pub fn answer(&self, filter: &Value, max_limit: usize, now: u64) -> Vec<Event> {
        self.find(filter, max_limit, now, |_| true).into_iter().cloned().collect()
    }

    /// The same for a client that may see only what is `visible` to it, and without copies.
    pub fn find(&self, filter: &Value, max_limit: usize, now: u64, visible: impl Fn(&Event) -> bool) -> Vec<&Event> {
        let limit = filter.get("limit").and_then(Value::as_u64).map_or(max_limit, |limit| limit as usize);
        let is_answer = |event: &&Event| matches(filter, event) && !is_expired(event, now) && visible(event);
        let mut found: Vec<&Event> = self.events.iter().filter(is_answer).collect();
        found.sort_by_key(|event| age(event));
        found.truncate(limit.min(max_limit));
        found
    }

    /// How many events several filters answer together.
    pub fn count(&self, filters: &[Value], now: u64, visible: impl Fn(&Event) -> bool) -> usize {
        let found = filters.iter().flat_map(|filter| self.find(filter, usize::MAX, now, &visible));
        found.map(|event| &event.id).collect::<HashSet<_>>().len()
    }
}

/// Sorts newer before older; of equals the lower id wins.
fn age(event: &Event) -> (Reverse<u64>, &str) {
    (Reverse(event.created_at), &event.id)
}

fn address(event: &Event) -> Option<String> {
    match event.kind {
        0 | 3 | 10_000..20_000 => Some(format!("{}:{}:", event.kind, event.pubkey)),
        30_000..40_000 => Some(format!("{}:{}:{}", event.kind, event.pubkey, event.value("d").unwrap_or(""))),
        _ => None,
    }
}

/// NIP-09: of one's own, and of other kinds than deletions.
fn deletes(deletion: &Event, event: &Event) -> bool {
    (deletion.pubkey == event.pubkey || (event.kind == 1059 && is_visible(event, &deletion.pubkey)))
        && event.kind != 5
        && deletion.tags.iter().any(|tag| match tag.as_slice() {
            [name, id, ..] if name == "e" => *id == event.id,
            [name, named, ..] if name == "a" => {
                Some(named) == address(event).as_ref() && event.created_at <= deletion.created_at
            }
            _ => false,
        })
}

/// NIP-40.
fn is_expired(event: &Event, now: u64) -> bool {
    event.value("expiration").and_then(|end| end.parse::<u64>().ok()).is_some_and(|end| end <= now)
}
