//! Stored events for a REQ: in slices, in turn, and never faster than the client reads.
//!
//! Every connection has one lane of queries, served in order. Lanes that have work stand in one
//! queue; a thread takes the first, runs one slice of its first query, and puts the lane at the end:
//! a deep query of one client costs another no more than a slice. A lane whose client is behind with
//! reading rests until it has caught up.

use std::collections::{HashSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::connection::Connection;
use crate::market::Audiences;
use crate::nostr::{EventId, EventView, Filter, message};
use crate::outbox::Frame;
use crate::store::{Progress, Record, Scan, Store, StoreError};

/// Index entries looked at in one slice.
const SLICE: u32 = 512;

/// The queries of one connection.
#[derive(Debug, Default)]
pub struct Lane(Mutex<LaneState>);

#[derive(Debug, Default)]
struct LaneState {
    waiting: VecDeque<Query>,
    /// In the pool's queue, or with one of its threads.
    active: bool,
    /// Has work but waits for the client to read.
    resting: bool,
}

/// One REQ on its way.
#[derive(Debug)]
pub struct Query {
    subscription: String,
    prefix: Arc<str>,
    filters: Arc<[Filter]>,
    /// Filters that are answered in full.
    finished: usize,
    running: Option<Running>,
    /// What was sent, when several filters might answer with the same event.
    sent: HashSet<EventId>,
    max_sequence: u64,
    cancelled: Arc<AtomicBool>,
}

/// The filter that is being answered.
#[derive(Debug)]
struct Running {
    scan: Scan,
    /// Events that the client may still get.
    room: u64,
}

impl Query {
    /// `max_sequence` is what `Live::subscribe` returned; setting `cancelled` ends the query unanswered.
    pub fn new(
        subscription: String,
        prefix: Arc<str>,
        filters: Arc<[Filter]>,
        max_sequence: u64,
        cancelled: Arc<AtomicBool>,
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

pub struct QueryPool {
    queue: Mutex<Queue>,
    wake: Condvar,
    store: Arc<dyn Store>,
    audiences: Arc<Audiences>,
    max_limit: u64,
}

#[derive(Default)]
struct Queue {
    lanes: VecDeque<Arc<Connection>>,
    stopped: bool,
}

/// Whether a client may be told of `event` in answer to `filter`.
///
/// An open leased request shows up in nobody else's feed; who names it (`ids`, `#e`) may look it up.
fn may_answer(event: &EventView<'_>, filter: &Filter, connection: &Connection, audiences: &Audiences) -> bool {
    filter.names_events() || connection.with_keys(|keys| audiences.may_see(event, keys))
}

impl QueryPool {
    /// Starts `threads` threads, which run until `stop`.
    pub fn start(
        store: Arc<dyn Store>,
        audiences: Arc<Audiences>,
        max_limit: u64,
        threads: usize,
    ) -> std::io::Result<Arc<Self>> {
        let pool = Arc::new(Self { queue: Mutex::default(), wake: Condvar::new(), store, audiences, max_limit });
        for number in 0..threads {
            let pool = pool.clone();
            std::thread::Builder::new().name(format!("query-{number}")).spawn(move || pool.work())?;
        }
        Ok(pool)
    }

    pub fn stop(&self) {
        self.lock().stopped = true;
        self.wake.notify_all();
    }

    /// Queues a query behind the others of its connection.
    pub fn submit(&self, connection: &Arc<Connection>, query: Query) {
        let mut lane = connection.lane.lock();
        lane.waiting.push_back(query);
        if !lane.active && !lane.resting {
            lane.active = true;
            drop(lane);
            self.enqueue(connection.clone());
        }
    }

    /// Wakes a resting lane whose client has read enough. Called after each write to the client.
    pub fn resume(&self, connection: &Arc<Connection>) {
        let mut lane = connection.lane.lock();
        if lane.resting && connection.outbox.pending_bytes() < connection.outbox.high_water() / 2 {
            lane.resting = false;
            lane.active = true;
            drop(lane);
            self.enqueue(connection.clone());
        }
    }

    fn enqueue(&self, connection: Arc<Connection>) {
        self.lock().lanes.push_back(connection);
        self.wake.notify_one();
    }

    fn work(&self) {
        while let Some(connection) = self.next_lane() {
            self.turn(connection);
        }
    }

    fn next_lane(&self) -> Option<Arc<Connection>> {
        let mut queue = self.lock();
        loop {
            if queue.stopped {
                return None;
            }
            if let Some(connection) = queue.lanes.pop_front() {
                return Some(connection);
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// One slice of a connection's first query.
    fn turn(&self, connection: Arc<Connection>) {
        let Some(mut query) = connection.lane.lock().waiting.pop_front() else {
            connection.lane.lock().settle();
            return;
        };
        let unfinished = !self.slice(&connection, &mut query);
        let mut lane = connection.lane.lock();
        if unfinished {
            lane.waiting.push_front(query);
        }
        if lane.settle() {
            return;
        }
        if connection.outbox.pending_bytes() >= connection.outbox.high_water() {
            lane.active = false;
            lane.resting = true;
            drop(lane);
            // The client may have read everything in between, with nobody left to wake the lane.
            self.resume(&connection);
            return;
        }
        drop(lane);
        self.enqueue(connection);
    }

    /// Runs one slice; true when the query is answered or cancelled.
    fn slice(&self, connection: &Connection, query: &mut Query) -> bool {
        if query.cancelled.load(Ordering::Acquire) {
            return true;
        }
        match self.advance(connection, query) {
            Ok(false) => false,
            Ok(true) => {
                if !query.cancelled.load(Ordering::Acquire) {
                    connection.outbox.text(message::eose(&query.subscription));
                }
                true
            }
            Err(error) => {
                tracing::error!(%error, "a query failed");
                let text = "error: the relay could not read its store";
                connection.outbox.text(message::closed(&query.subscription, text));
                true
            }
        }
    }

    /// One slice of the store; true when the last filter is answered.
    fn advance(&self, connection: &Connection, query: &mut Query) -> Result<bool, StoreError> {
        let Some(filter) = query.filters.get(query.finished) else { return Ok(true) };
        let several = query.filters.len() > 1;
        let running = query.running.get_or_insert_with(|| self.begin(filter, query.max_sequence));
        let (mut room, mut full) = (running.room, false);
        let mut answer = |record: Record| {
            let permitted = may_answer(&record.view(), filter, connection, &self.audiences);
            if permitted && (!several || query.sent.insert(record.position.id)) {
                let frame = Frame::Event { prefix: query.prefix.clone(), body: record.body() };
                full = connection.outbox.push(frame) >= connection.outbox.high_water();
            }
            room -= u64::from(permitted);
            match full || room == 0 || query.cancelled.load(Ordering::Acquire) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        running.scan.room = running.room;
        let progress = match running.room {
            0 => Progress::Done,
            _ => self.store.scan(&mut running.scan, SLICE, &mut answer)?,
        };
        running.room = room;
        // The scan's room also counts what the client may not see; the client's limit does not.
        let exhausted = progress == Progress::Done && !full && running.scan.room > 0;
        if room == 0 || exhausted {
            query.running = None;
            query.finished += 1;
        }
        Ok(query.finished == query.filters.len())
    }

    fn begin(&self, filter: &Filter, max_sequence: u64) -> Running {
        let room = match filter.is_never() {
            true => 0,
            false => filter.limit.unwrap_or(self.max_limit).min(self.max_limit),
        };
        let scan = Scan {
            filter: filter.clone(),
            ascending: false,
            after: None,
            max_sequence,
            room,
            now: crate::clock::now_s(),
        };
        Running { scan, room }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LaneState {
    /// Leaves the pool when there is nothing to do; true if so.
    fn settle(&mut self) -> bool {
        if self.waiting.is_empty() {
            self.active = false;
            // Most connections ask once and then listen.
            self.waiting = VecDeque::new();
        }
        !self.active
    }
}
