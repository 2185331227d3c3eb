//! The market's tape: all that the scheduler was told, published by the relay in events of kind 1386, so that anybody can
//! have the scheduler told it again and come to the same leases (`audit`).
//!
//! Lines are numbered and chained: `head = sha256(head before, line)`, from 32 zero bytes. A lease names the head before
//! its step, so that a relay which has published one cannot write another past for it. Lines that would tell a secret, a result that others
//! still work at, stand sealed on the tape, as `sha256(salt, line)`; when their job has ended they are revealed.
//!
//! Lines that are not published yet are in the journal, as is the rest of this state: a crash loses none.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mercato_scheduler::tape::Line;
use mercato_scheduler::{JobId, Scheduler};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::MarketKeys;
use super::announce::Draft;
use super::clock::Moment;
use crate::nostr::{hex, kind};

/// An event of the tape is published once its lines have this many bytes.
const FULL: usize = 24 * 1024;
/// ... or this long after its first line, in milliseconds.
const AGE_MS: u64 = 60_000;
/// The first element of the tag that says how the lines are written.
const FORMAT: &str = "1";

pub type Head = [u8; 32];

/// A line as it stands on the tape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wire {
    /// For everybody.
    Open(Spoken),
    /// `sha256(salt, line)`.
    Sealed(Head),
    /// What a line before was.
    Revealed {
        /// Its number.
        number: u64,
        salt: [u8; 32],
        spoken: Spoken,
    },
}

/// What the scheduler was told, and what the wall clock showed: events are dated by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spoken {
    pub wall_ms: u64,
    pub line: Box<Line>,
}

/// What a sealed line is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    number: u64,
    salt: [u8; 32],
    spoken: Spoken,
}

/// What the journal keeps of the tape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// The tape as it was.
    Stands(Box<Tape>),
    /// A line came.
    Written { at_ms: u64, wire: Wire, secret: Option<(JobId, Secret)> },
    /// What was not published is.
    Published,
    /// There is no tape from here on.
    Stopped,
}

/// The end of the tape.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tape {
    /// Over all lines.
    head: Head,
    /// Number of the next line, from 0.
    next: u64,
    /// Number of the next event, from 0.
    epoch: u64,
    /// Head, and number of the first line, of the next event.
    opened: (Head, u64),
    /// The market's time when its first line came.
    since_ms: Option<u64>,
    /// Its lines.
    lines: Vec<Wire>,
    bytes: usize,
    /// What was sealed for jobs that are open: no more lines than such jobs have results.
    secrets: BTreeMap<JobId, Vec<Secret>>,
}

impl Tape {
    /// Over all lines so far.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Changes the tape, live or from the journal.
    pub fn apply(tape: &mut Option<Self>, note: Note) {
        match (note, &mut *tape) {
            (Note::Stands(stands), _) => *tape = Some(*stands),
            (Note::Stopped, _) => *tape = None,
            (Note::Written { at_ms, wire, secret }, Some(tape)) => tape.write(at_ms, wire, secret),
            (Note::Published, Some(tape)) => tape.turn(),
            (Note::Written { .. } | Note::Published, None) => {}
        }
    }

    /// The note for a line; sealed if it tells a secret of an open job.
    pub fn speak(&self, now: Moment, line: Line, scheduler: &Scheduler, keys: &MarketKeys) -> Note {
        let secret_of = line.secret(scheduler);
        let spoken = Spoken { wall_ms: now.wall_ms, line: Box::new(line) };
        let (wire, secret) = match secret_of {
            None => (Wire::Open(spoken), None),
            Some(job) => {
                let salt = keys.salt(&self.head, self.next);
                (Wire::Sealed(seal(&salt, &spoken)), Some((job, Secret { number: self.next, salt, spoken })))
            }
        };
        Note::Written { at_ms: now.market_ms, wire, secret }
    }

    /// The notes that reveal what was sealed for a job.
    pub fn reveal(&self, now: Moment, job: JobId) -> Vec<Note> {
        let secrets = self.secrets.get(&job).into_iter().flatten().cloned();
        let wires = secrets.map(|Secret { number, salt, spoken }| Wire::Revealed { number, salt, spoken });
        wires.map(|wire| Note::Written { at_ms: now.market_ms, wire, secret: None }).collect()
    }

    /// When its lines must be published, by the market's time.
    pub fn due_ms(&self) -> Option<u64> {
        self.since_ms.map(|since_ms| since_ms.saturating_add(AGE_MS))
    }

    /// Whether they must be now.
    pub fn is_full(&self) -> bool {
        self.bytes >= FULL
    }

    /// The event with the lines that are not published.
    pub fn draft(&self) -> Draft {
        let (opened, first) = self.opened;
        let bytes = self.lines.iter().flat_map(encode).collect::<Vec<u8>>();
        let tag = |name: &str, value: String| vec![name.to_owned(), value];
        let tags = vec![
            tag("epoch", self.epoch.to_string()),
            tag("first", first.to_string()),
            tag("lines", self.lines.len().to_string()),
            tag("prev", const_hex::encode(opened)),
            tag("head", const_hex::encode(self.head)),
            vec!["format".to_owned(), FORMAT.to_owned(), env!("CARGO_PKG_VERSION").to_owned()],
        ];
        Draft { kind: kind::MARKET_TAPE, tags, content: BASE64_STANDARD.encode(bytes) }
    }

    fn write(&mut self, at_ms: u64, wire: Wire, secret: Option<(JobId, Secret)>) {
        if let Wire::Revealed { number, .. } = &wire {
            self.secrets.retain(|_, secrets| {
                secrets.retain(|secret| secret.number != *number);
                !secrets.is_empty()
            });
        }
        if let Some((job, secret)) = secret {
            self.secrets.entry(job).or_default().push(secret);
        }
        let bytes = encode(&wire);
        self.head = chain(&self.head, &bytes);
        self.next += 1;
        self.since_ms.get_or_insert(at_ms);
        self.bytes += bytes.len();
        self.lines.push(wire);
    }

    fn turn(&mut self) {
        self.epoch += 1;
        self.opened = (self.head, self.next);
        self.since_ms = None;
        self.lines.clear();
        self.bytes = 0;
    }
}

/// The head after a line.
pub fn chain(head: &Head, line: &[u8]) -> Head {
    Sha256::new().chain_update(head).chain_update(line).finalize().into()
}

/// What stands on the tape for a secret.
pub fn seal(salt: &[u8; 32], spoken: &Spoken) -> Head {
    Sha256::new().chain_update(salt).chain_update(bytes_of(spoken)).finalize().into()
}

/// A line as the chain has it.
pub fn encode(wire: &Wire) -> Vec<u8> {
    bytes_of(wire)
}

fn bytes_of<T: Serialize>(value: &T) -> Vec<u8> {
    // Serialising into memory can fail only for types that postcard cannot hold; a test has every sort of line.
    postcard::to_stdvec(value).expect("postcard holds every line")
}

/// An event of the tape, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub epoch: u64,
    pub first: u64,
    pub prev: Head,
    pub head: Head,
    pub lines: Vec<Wire>,
}

/// Why an event is no page of a tape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    #[error("it has no readable `{0}` tag")]
    Tag(&'static str),
    #[error("its lines are written in a format that this program does not read")]
    Format,
    #[error("its content is damaged")]
    Content,
    #[error("its lines do not lead from its `prev` to its `head`")]
    Chain,
}

impl Page {
    /// Reads the tags and content of an event of kind 1386, and checks its part of the chain.
    ///
    /// # Errors
    /// When they are not what [`Tape::draft`] makes.
    pub fn read(tags: &[Vec<String>], content: &str) -> Result<Self, PageError> {
        let value = |name: &'static str| {
            let tag = tags.iter().find(|tag| tag.first().is_some_and(|first| first == name));
            tag.and_then(|tag| tag.get(1)).ok_or(PageError::Tag(name))
        };
        let number = |name| value(name)?.parse::<u64>().map_err(|_| PageError::Tag(name));
        let head = |name| {
            let bytes = hex::decode::<32>(value(name)?);
            bytes.ok_or(PageError::Tag(name))
        };
        if value("format")? != FORMAT {
            return Err(PageError::Format);
        }
        let page = Self {
            epoch: number("epoch")?,
            first: number("first")?,
            prev: head("prev")?,
            head: head("head")?,
            lines: lines(&BASE64_STANDARD.decode(content).map_err(|_| PageError::Content)?)?,
        };
        let end = page.lines.iter().fold(page.prev, |head, wire| chain(&head, &encode(wire)));
        let is_whole = end == page.head && number("lines")? == page.lines.len() as u64;
        if is_whole { Ok(page) } else { Err(PageError::Chain) }
    }
}

fn lines(mut bytes: &[u8]) -> Result<Vec<Wire>, PageError> {
    let mut lines = Vec::new();
    while !bytes.is_empty() {
        let (wire, rest) = postcard::take_from_bytes(bytes).map_err(|_| PageError::Content)?;
        lines.push(wire);
        bytes = rest;
    }
    Ok(lines)
}
