//! The number of stored events in answer to a COUNT (NIP-45).

use std::ops::ControlFlow;
use std::sync::Arc;

use super::hll::HyperLogLog;
use super::{Cancelled, Library, SLICE, Work};
use crate::connection::Connection;
use crate::metrics::Asked;
use crate::nostr::{Filter, Tally, message};
use crate::store::{Head, Position, Progress, Scan, StoreError};

/// One COUNT on its way. Needs no memory for what it has counted: an event counts for the first filter that covers it.
#[derive(Debug)]
pub struct Count {
    query: String,
    filters: Arc<[Filter]>,
    /// Of each filter that is counted, the last event that its limit let in; `None`: all that match.
    finished: Vec<Option<Position>>,
    running: Option<Scan>,
    count: u64,
    hll: Option<HyperLogLog>,
    max_sequence: u64,
    cancelled: Cancelled,
}

impl Count {
    /// Counts what is stored up to `max_sequence`; setting `cancelled` ends it unanswered.
    pub fn new(query: String, filters: Vec<Filter>, max_sequence: u64, cancelled: Cancelled) -> Self {
        let hll = HyperLogLog::of(&filters);
        let filters = filters.into();
        Self { query, filters, finished: Vec::new(), running: None, count: 0, hll, max_sequence, cancelled }
    }
}

impl Work for Count {
    fn asked(&self) -> Asked {
        Asked::Count
    }

    fn advance(&mut self, library: &Library, connection: &Connection) -> Result<bool, StoreError> {
        self.scan(library, connection)?;
        let approximate = self.count > library.max_count;
        if !approximate && self.finished.len() < self.filters.len() {
            return Ok(false);
        }
        let hll = self.hll.as_ref().filter(|_| !approximate).map(HyperLogLog::to_hex);
        let tally = Tally { count: self.count.min(library.max_count), approximate, hll };
        connection.outbox.text(message::count(&self.query, &tally));
        Ok(true)
    }

    fn fail(&self, connection: &Connection) {
        let text = "error: the relay could not read its store";
        connection.outbox.text(message::closed(&self.query, text));
    }

    fn cancelled(&self) -> &Cancelled {
        &self.cancelled
    }
}

impl Count {
    /// Whether every match counts, and only that there is one: nothing has to be known of the event.
    fn is_plain(&self) -> bool {
        let [filter] = &*self.filters else { return false };
        self.hll.is_none() && filter.is_public()
    }

    /// One slice, if the indexes alone can tell. What is stored in the meantime may be counted.
    fn scan_positions(&mut self, library: &Library) -> Result<bool, StoreError> {
        let mut scan = self.running.take().unwrap_or_else(|| Scan::new(self.filters[0].clone()));
        scan.now = crate::clock::now_s();
        let progress = library.store.scan_positions(&mut scan, SLICE, &mut |_| {
            self.count += 1;
            match self.count > library.max_count {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        match progress {
            None | Some(Progress::More) => self.running = Some(scan),
            Some(Progress::Done) => self.finished.push(None),
        }
        Ok(progress.is_some())
    }

    /// One slice of the store.
    fn scan(&mut self, library: &Library, connection: &Connection) -> Result<(), StoreError> {
        if self.is_plain() && self.scan_positions(library)? {
            return Ok(());
        }
        let Some(filter) = self.filters.get(self.finished.len()) else { return Ok(()) };
        let before = &self.filters[..self.finished.len()];
        let mut scan = self.running.take().unwrap_or_else(|| Scan::new(filter.clone()));
        (scan.max_sequence, scan.now) = (self.max_sequence, crate::clock::now_s());
        // What the client may not see counts against no limit: it is passed over here, not by the scan.
        let (mut room, mut last) = (scan.room, None);
        scan.room = u64::MAX;
        let mut found = |head: &Head<'_>| {
            let view = head.view();
            if !library.readers.may_answer(&view, filter, connection) {
                return ControlFlow::Continue(());
            }
            let covered = before.iter().zip(&self.finished).any(|(earlier, last)| {
                earlier.limit != Some(0)
                    && last.is_none_or(|last| head.position <= last)
                    && earlier.matches(&view)
                    && library.readers.may_answer(&view, earlier, connection)
            });
            if !covered {
                self.count += 1;
                if let Some(hll) = &mut self.hll {
                    hll.add(&head.pubkey);
                }
            }
            room -= 1;
            if room == 0 {
                last = Some(head.position);
            }
            match room == 0 || self.count > library.max_count {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let progress = match filter.is_never() {
            true => Progress::Done,
            false => library.store.scan_heads(&mut scan, SLICE, &mut found)?,
        };
        scan.room = room;
        match progress {
            Progress::More => self.running = Some(scan),
            Progress::Done => self.finished.push(last),
        }
        Ok(())
    }
}
