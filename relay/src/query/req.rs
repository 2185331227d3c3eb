//! Stored events in answer to a REQ, filter by filter, then EOSE.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Cancelled, Library, SLICE, Work};
use crate::connection::Connection;
use crate::nostr::{EventId, Filter, message};
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
    max_sequence: u64,
    cancelled: Cancelled,
}

/// The filter that is being answered.
#[derive(Debug)]
struct Running {
    scan: Scan,
    /// Events that the client may still get.
    room: u64,
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
            frames.push(Frame::Text(message::eose(&self.subscription)));
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
        let several = self.filters.len() > 1;
        let running = self.running.get_or_insert_with(|| Running::new(filter, self.max_sequence, library.max_limit));
        let (mut room, mut full) = (running.room, false);
        let (mut waiting, high_water) = (connection.outbox.pending_bytes(), connection.outbox.high_water());
        let mut answer = |record: Record| {
            let permitted = library.readers.may_answer(&record.view(), filter, connection);
            if permitted && (!several || self.sent.insert(record.position.id)) {
                let frame = Frame::Event { prefix: self.prefix.clone(), body: record.body() };
                waiting += frame.len();
                full = waiting >= high_water;
                frames.push(frame);
            }
            room -= u64::from(permitted);
            match full || room == 0 || self.cancelled.is_set() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        running.scan.room = running.room;
        let progress = match running.room {
            0 => Progress::Done,
            _ => library.store.scan(&mut running.scan, SLICE, &mut answer)?,
        };
        running.room = room;
        // The scan's room also counts what the client may not see; the client's limit does not.
        let exhausted = progress == Progress::Done && !full && running.scan.room > 0;
        if room == 0 || exhausted {
            self.running = None;
            self.finished += 1;
        }
        Ok(self.finished == self.filters.len())
    }
}

impl Running {
    fn new(filter: &Filter, max_sequence: u64, max_limit: u64) -> Self {
        let room = match filter.is_never() {
            true => 0,
            false => filter.limit.unwrap_or(max_limit).min(max_limit),
        };
        let scan = Scan { max_sequence, room, now: crate::clock::now_s(), ..Scan::new(filter.clone()) };
        Self { scan, room }
    }
}
