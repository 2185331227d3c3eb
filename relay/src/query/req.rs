//! Stored events in answer to a REQ, filter by filter, then EOSE.
//!
//! EOSE tells whether that was all (NIP-67): when a filter's limit is reached, the rest of the slice looks for one more
//! event, so that the hint never costs more than a slice.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::found::{Found, Searched};
use super::{Cancelled, Library, SLICE, Work};
use crate::connection::Connection;
use crate::nostr::{Completeness, EventId, Filter, message};
use crate::outbox::Frame;
use crate::store::{Progress, Record, Scan, StoreError};

/// One REQ on its way.
#[derive(Debug)]
pub struct Req {
    subscription: String,
    prefix: Arc<str>,
    filters: Arc<[Filter]>,
    /// Filters that are answered in full.
    finished: usize,
    running: Option<Running>,
    /// What was sent, when several filters might answer with the same event.
    sent: HashSet<EventId>,
    unsent: Unsent,
    max_sequence: u64,
    cancelled: Cancelled,
}

/// The filter that is being answered.
#[derive(Debug)]
struct Running {
    scan: Scan,
    /// Where a search stands.
    found: Found,
    /// Events that the client may still get.
    room: u64,
}

/// What is known of the events that the limits left out.
#[derive(Debug, Default)]
struct Unsent {
    /// One of each filter that had more, unless another filter answered with it since.
    seen: Vec<EventId>,
    /// Whether a filter was left before it was known whether it had more.
    unsure: bool,
}

/// How a filter's answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Exhausted,
    /// Its limit is reached, and there is this event.
    Beyond(EventId),
    Unknown,
}

impl Req {
    /// `max_sequence` is what `Live::subscribe` returned; setting `cancelled` ends the query unanswered.
    pub fn new(
        subscription: String,
        prefix: Arc<str>,
        filters: Arc<[Filter]>,
        max_sequence: u64,
        cancelled: Cancelled,
    ) -> Self {
        Self {
            subscription,
            prefix,
            filters,
            finished: 0,
            running: None,
            sent: HashSet::new(),
            unsent: Unsent::default(),
            max_sequence,
            cancelled,
        }
    }
}

impl Work for Req {
    fn advance(&mut self, library: &Library, connection: &Connection) -> Result<bool, StoreError> {
        // The client's task is woken once for all that a slice has found.
        let mut frames = Vec::new();
        let done = self.scan(library, connection, &mut frames)?;
        if done && !self.cancelled.is_set() {
            frames.push(Frame::Text(message::eose(&self.subscription, self.completeness())));
        }
        if !frames.is_empty() {
            connection.outbox.push_all(frames);
        }
        Ok(done)
    }

    fn fail(&self, connection: &Connection) {
        let text = "error: the relay could not read its store";
        connection.outbox.text(message::closed(&self.subscription, text));
    }

    fn cancelled(&self) -> &Cancelled {
        &self.cancelled
    }
}

impl Req {
    /// One slice of the store; true when the last filter is answered.
    fn scan(
        &mut self,
        library: &Library,
        connection: &Connection,
        frames: &mut Vec<Frame>,
    ) -> Result<bool, StoreError> {
        let Some(filter) = self.filters.get(self.finished) else { return Ok(true) };
        if filter.search.is_some() {
            return self.search(library, connection, frames);
        }
        let several = self.filters.len() > 1;
        let running = self.running.get_or_insert_with(|| Running::new(filter, self.max_sequence, library.max_limit));
        let (mut room, mut full, mut beyond) = (running.room, false, None);
        let (mut waiting, high_water) = (connection.outbox.pending_bytes(), connection.outbox.high_water());
        let mut answer = |record: Record| {
            let id = record.position.id;
            if !library.readers.may_answer(&record.view(), filter, connection) {
                return ControlFlow::Continue(());
            }
            if room == 0 {
                beyond = (!several || !self.sent.contains(&id)).then_some(id);
            } else if !several || self.sent.insert(id) {
                let frame = Frame::event(self.prefix.clone(), record.body());
                waiting += frame.bytes();
                full = waiting >= high_water;
                frames.push(frame);
            }
            room = room.saturating_sub(1);
            match full || beyond.is_some() || self.cancelled.is_set() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        running.scan.now = crate::clock::now_s();
        // One more than the client may get, to know whether there is more. What it may not see uses up this room too: a
        // slice that only looks for more has as much as it takes.
        running.scan.room = if running.room == 0 { u64::MAX } else { running.room + 1 };
        let end = match running.asks_nothing(filter) {
            Some(end) => Some(end),
            None => {
                let progress = library.store.scan(&mut running.scan, SLICE, &mut answer)?;
                running.room = room;
                match (beyond, progress) {
                    (Some(id), _) => Some(End::Beyond(id)),
                    (None, Progress::Done) if !full && running.scan.room > 0 => Some(End::Exhausted),
                    (None, Progress::More) if room == 0 => Some(End::Unknown),
                    (None, Progress::More | Progress::Done) => None,
                }
            }
        };
        if let Some(end) = end {
            self.unsent.note(end);
            self.running = None;
            self.finished += 1;
        }
        Ok(self.finished == self.filters.len())
    }

    /// One page of a search (NIP-50); true when the last filter is answered.
    fn search(
        &mut self,
        library: &Library,
        connection: &Connection,
        frames: &mut Vec<Frame>,
    ) -> Result<bool, StoreError> {
        let filter = &self.filters[self.finished];
        let running = self.running.get_or_insert_with(|| Running::new(filter, self.max_sequence, library.max_limit));
        // A page is small: it is sent whole, and the lane may rest behind it.
        let Running { found, room, .. } = running;
        let end = match filter.is_never() || *room == 0 {
            true => Searched::Exhausted,
            false => found.advance(library, connection, filter, self.max_sequence, &mut |record| {
                if self.sent.insert(record.position.id) {
                    frames.push(Frame::event(self.prefix.clone(), record.body()));
                    *room -= 1;
                }
                *room > 0 && !self.cancelled.is_set()
            })?,
        };
        match end {
            Searched::More => return Ok(false),
            Searched::Exhausted => self.unsent.note(End::Exhausted),
            Searched::CutShort => self.unsent.note(End::Unknown),
        }
        self.running = None;
        self.finished += 1;
        Ok(self.finished == self.filters.len())
    }

    fn completeness(&self) -> Completeness {
        let Unsent { seen, unsure } = &self.unsent;
        if seen.iter().any(|id| !self.sent.contains(id)) {
            Completeness::More
        } else if *unsure || !seen.is_empty() {
            Completeness::Unknown
        } else {
            Completeness::Finish
        }
    }
}

impl Running {
    fn new(filter: &Filter, max_sequence: u64, max_limit: u64) -> Self {
        let scan = Scan { max_sequence, ..Scan::new(filter.clone()) };
        Self { scan, found: Found::default(), room: filter.limit.unwrap_or(max_limit).min(max_limit) }
    }

    /// The end of a filter for which the store need not be asked.
    fn asks_nothing(&self, filter: &Filter) -> Option<End> {
        if filter.limit == Some(0) {
            return Some(End::Unknown);
        }
        filter.is_never().then_some(End::Exhausted)
    }
}

impl Unsent {
    fn note(&mut self, end: End) {
        match end {
            End::Exhausted => {}
            End::Beyond(id) => self.seen.push(id),
            End::Unknown => self.unsure = true,
        }
    }
}
