//! What one event says of a job, in words.

use serde::Serialize;

use crate::cli::duration::clock_of;
use crate::cli::npub::npub;
use crate::nostr::{Event, EventId, Pubkey, kind};

/// Letters of somebody else's text that are shown.
const SHOWN: usize = 100;
/// Letters of a key that are enough to tell it from others.
const SHORT: usize = 12;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Relay,
    Customer,
    Provider,
    Other,
}

/// One event of the story. As JSON, times are in seconds since 1970.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    pub at: u64,
    pub role: Role,
    pub author: String,
    pub kind: u16,
    pub event: String,
    /// What it says, on one line.
    pub words: String,
    /// What belongs to it.
    pub details: Vec<String>,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Customer => "customer",
            Self::Provider => "provider",
            Self::Other => "other",
        }
    }
}

impl Line {
    pub fn of(event: &Event, role: Role, job: &EventId) -> Self {
        let tags = event.tags();
        let (words, details) = match event.kind {
            _ if event.id == *job => asked(event, &tags),
            kind::JOB_FEEDBACK if role == Role::Relay => said_by_relay(&tags),
            kind::JOB_FEEDBACK => feedback(event, &tags),
            kind::LABEL => (format!("judges a result of {}: {}", party(&tags), first(&tags, "l")), Vec::new()),
            kind::DELETION => ("takes the request back".to_owned(), Vec::new()),
            kind::ZAP_RECEIPT => ("pays: a zap receipt".to_owned(), Vec::new()),
            result if kind::is_job_result(result) => {
                let size = event.content().len();
                (
                    format!("{} delivers {} ({size} bytes)", name(&event.pubkey), cut(&event.id.to_hex(), SHORT)),
                    amount(&tags),
                )
            }
            other => (format!("kind {other} {}", cut(&event.id.to_hex(), SHORT)), Vec::new()),
        };
        let (author, event_id) = (event.pubkey.to_hex(), event.id.to_hex());
        Self { at: event.created_at, role, author, kind: event.kind, event: event_id, words, details }
    }
}

fn asked(event: &Event, tags: &[Vec<String>]) -> (String, Vec<String>) {
    let details = tags.iter().map(|tag| tag.iter().map(|text| cut(text, SHOWN)).collect::<Vec<_>>().join(" "));
    (format!("{} asks for kind {}", name(&event.pubkey), event.kind), details.collect())
}

fn said_by_relay(tags: &[Vec<String>]) -> (String, Vec<String>) {
    let status = all(tags, "status").next().unwrap_or_default();
    let text = status.get(1).map(String::as_str).unwrap_or_default();
    let (lease, attempt) = (first(tags, "lease"), first(tags, "attempt"));
    match status.first().map_or("", String::as_str) {
        "assigned" => {
            let deadline: u64 = first(tags, "deadline").parse().unwrap_or(0);
            let words = format!(
                "leases it to {} (lease {lease}, attempt {attempt}), to accept by {}",
                party(tags),
                clock_of(deadline)
            );
            let why = all(tags, "why").next().unwrap_or_default();
            let terms = why.chunks(2).map(|pair| pair.join(" ")).collect::<Vec<_>>().join(", ");
            (words, vec![format!("why: {terms}")])
        }
        "withdrawn" => (format!("withdraws lease {lease} of {} (attempt {attempt}): {text}", party(tags)), Vec::new()),
        _ => {
            let reasons = all(tags, "reason").filter_map(|reason| match reason {
                [attempt, who, _, text] => Some(format!("attempt {attempt}, {}: {}", shown_key(who), cut(text, SHOWN))),
                _ => None,
            });
            let verdicts = all(tags, "verdict").filter_map(|verdict| match verdict {
                [result, who, word] => Some(format!("{}'s result {}: {word}", shown_key(who), cut(result, SHORT))),
                _ => None,
            });
            (format!("ends it: {}: {text}", first(tags, "end")), reasons.chain(verdicts).collect())
        }
    }
}

fn feedback(event: &Event, tags: &[Vec<String>]) -> (String, Vec<String>) {
    let status = all(tags, "status").next().unwrap_or_default().join(": ");
    let mut details = amount(tags);
    if !event.content().is_empty() {
        details.push(cut(&event.content(), SHOWN));
    }
    (format!("{} says {}", name(&event.pubkey), cut(&status, SHOWN)), details)
}

fn amount(tags: &[Vec<String>]) -> Vec<String> {
    let amount = first(tags, "amount");
    if amount.is_empty() { Vec::new() } else { vec![format!("asks for {} msat", cut(&amount, SHOWN))] }
}

/// The first party that it names.
fn party(tags: &[Vec<String>]) -> String {
    shown_key(&first(tags, "p"))
}

fn shown_key(text: &str) -> String {
    Pubkey::from_hex(text).map_or_else(|| cut(text, SHORT), |key| name(&key))
}

fn name(key: &Pubkey) -> String {
    cut(&npub(key), SHORT)
}

fn all<'a>(tags: &'a [Vec<String>], name: &'a str) -> impl Iterator<Item = &'a [String]> {
    tags.iter().filter_map(move |tag| tag.split_first().filter(|(first, _)| *first == name).map(|(_, rest)| rest))
}

fn first(tags: &[Vec<String>], name: &str) -> String {
    all(tags, name).next().and_then(<[String]>::first).cloned().unwrap_or_default()
}

/// On one line, without what a terminal would obey.
fn cut(text: &str, letters: usize) -> String {
    let plain = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let shown: String = plain.clone().take(letters).collect();
    if plain.count() > letters && letters > SHORT { shown + "..." } else { shown }
}
