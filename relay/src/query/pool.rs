//! Lanes of work and the threads that serve them in turn.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{Library, Work};
use crate::connection::Connection;
use crate::metrics::QueryMeters;
use crate::outbox::Gathering;

/// The questions of one connection, in the order they came.
#[derive(Debug, Default)]
pub struct Lane(Mutex<LaneState>);

#[derive(Debug, Default)]
struct LaneState {
    waiting: VecDeque<Task>,
    /// In the pool's queue, or with one of its threads.
    active: bool,
    /// Has work but waits for the client to read.
    resting: bool,
}

/// Work and when it was asked for.
#[derive(Debug)]
struct Task {
    work: Box<dyn Work>,
    since: Instant,
}

pub struct QueryPool {
    pub meters: QueryMeters,
    queue: Mutex<Queue>,
    wake: Condvar,
    library: Library,
}

#[derive(Default)]
struct Queue {
    lanes: VecDeque<Arc<Connection>>,
    stopped: bool,
}

impl QueryPool {
    /// Starts `threads` threads, which run until `stop`.
    pub fn start(library: Library, threads: usize) -> std::io::Result<Arc<Self>> {
        let pool =
            Arc::new(Self { queue: Mutex::default(), wake: Condvar::new(), library, meters: QueryMeters::default() });
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

    /// Queues work behind the rest of its connection.
    pub fn submit(&self, connection: &Arc<Connection>, work: Box<dyn Work>) {
        let mut lane = connection.lane.lock();
        // A client may give up faster than its lane is served; what it gave up takes no room.
        lane.waiting.retain(|task| !task.work.cancelled().is_set());
        lane.waiting.push_back(Task { work, since: Instant::now() });
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

    /// One slice of a connection's first work.
    fn turn(&self, connection: Arc<Connection>) {
        let Some(mut task) = connection.lane.lock().waiting.pop_front() else {
            connection.lane.lock().settle();
            return;
        };
        let unfinished = !self.slice(&connection, &mut task);
        let mut lane = connection.lane.lock();
        if unfinished {
            lane.waiting.push_front(task);
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

    /// Runs one slice; true when the work is done or given up.
    fn slice(&self, connection: &Connection, task: &mut Task) -> bool {
        let work = &mut task.work;
        if work.cancelled().is_set() {
            return true;
        }
        let _gathering = Gathering::start();
        self.meters.slices.inc();
        let done = work.advance(&self.library, connection).unwrap_or_else(|error| {
            tracing::error!(%error, "a query failed");
            self.meters.failed.inc();
            work.fail(connection);
            true
        });
        if done && !work.cancelled().is_set() {
            self.meters.answered(work.asked()).observe(task.since.elapsed());
        }
        done
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    /// How much is under way or waits for its turn.
    pub fn pending(&self) -> usize {
        let lane = self.lock();
        // What a thread has in hand is in no queue.
        lane.waiting.len().max(usize::from(lane.active))
    }

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
