//! The customer of `bench jobs`: sends requests at a pace or a few at a time, and notes what becomes of each.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::cli::bench::client::{Receiver, Sender, event_frame};
use crate::cli::bench::latency::Latencies;
use crate::cli::bench::message::{Incoming, read, tag_value};
use crate::cli::bench::pace::Pace;
use crate::nostr::{Event, hex};

/// How long the next word about a job may take.
pub const TAIL: Duration = Duration::from_secs(15);

/// When requests are sent.
#[derive(Debug, Clone, Copy)]
pub enum Load {
    /// So many a second, whatever becomes of them.
    Rate(u32),
    /// So many at a time: the next one follows the end of an earlier one.
    InFlight(u32),
}

/// What a customer saw of its jobs.
#[derive(Default)]
pub struct Seen {
    /// Every job by its id.
    jobs: HashMap<[u8; 32], Job>,
    pub taken: u64,
    pub refused: u64,
    pub leases: u64,
    pub withdrawn: u64,
    /// Leases given while another one was live.
    pub double_leases: u64,
    pub results: u64,
    pub ended: u64,
    pub ok: Latencies,
    pub lease: Latencies,
    pub result: Latencies,
    pub end: Latencies,
}

/// One job, as its customer sees it.
#[derive(Debug, Clone, Copy)]
struct Job {
    number: usize,
    is_leased: bool,
    has_result: bool,
    is_over: bool,
}

/// What the sending and the reading half have to tell each other.
pub struct Flight {
    /// When each request was sent, in microseconds after the start.
    sent_us: Box<[AtomicU64]>,
    started: Instant,
    turns: Turns,
}

/// When the next request's turn comes.
enum Turns {
    /// So many a second.
    Rate(u32),
    /// When there is a place for one more job under way; closed when nothing comes any more.
    Room(Semaphore),
}

impl Flight {
    pub fn new(count: usize, load: Load) -> Self {
        let turns = match load {
            Load::Rate(rate) => Turns::Rate(rate),
            Load::InFlight(jobs) => Turns::Room(Semaphore::new(jobs as usize)),
        };
        Self { sent_us: (0..count).map(|_| AtomicU64::new(0)).collect(), started: Instant::now(), turns }
    }

    fn note(&self, at: usize, counts_from: Instant) {
        let since = counts_from.saturating_duration_since(self.started);
        self.sent_us[at].store(since.as_micros() as u64, Ordering::Relaxed);
    }

    fn latency(&self, at: usize) -> Duration {
        let sent = Duration::from_micros(self.sent_us[at].load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(sent)
    }

    /// A job is over: there is a place for another one.
    fn make_room(&self) {
        if let Turns::Room(room) = &self.turns {
            room.add_permits(1);
        }
    }

    /// Nothing comes any more.
    fn close(&self) {
        if let Turns::Room(room) = &self.turns {
            room.close();
        }
    }
}

/// Publishes every request when its turn comes.
///
/// # Errors
/// When the connection ends.
pub async fn request(sender: Sender, requests: &[Event], flight: &Flight) -> anyhow::Result<()> {
    match &flight.turns {
        Turns::Rate(rate) => request_at_pace(sender, requests, *rate, flight).await,
        Turns::Room(room) => request_in_turn(sender, requests, room, flight).await,
    }
}

async fn request_at_pace(mut sender: Sender, requests: &[Event], rate: u32, flight: &Flight) -> anyhow::Result<()> {
    let pace = Pace::start(f64::from(rate));
    for (at, request) in requests.iter().enumerate() {
        if !pace.is_due(at) {
            sender.flush().await?;
            pace.wait(at).await;
        }
        flight.note(at, pace.counts_from(at).into_std());
        sender.feed(event_frame(request)).await?;
    }
    sender.flush().await
}

async fn request_in_turn(
    mut sender: Sender,
    requests: &[Event],
    room: &Semaphore,
    flight: &Flight,
) -> anyhow::Result<()> {
    for (at, request) in requests.iter().enumerate() {
        let place = match room.try_acquire() {
            Ok(place) => place,
            Err(_) => {
                sender.flush().await?;
                // Closed: nothing comes any more, and the figures say so.
                let Ok(place) = room.acquire().await else { return Ok(()) };
                place
            }
        };
        place.forget();
        flight.note(at, Instant::now());
        sender.feed(event_frame(request)).await?;
    }
    sender.flush().await
}

/// Reads what the relay tells the customer until every job that it took has ended, or nothing comes any more.
///
/// # Errors
/// When the connection ends.
pub async fn look_on(mut receiver: Receiver, mut seen: Seen, flight: Arc<Flight>) -> anyhow::Result<Seen> {
    while !seen.is_complete() {
        let Ok(text) = timeout(TAIL, receiver.next()).await else { break };
        seen.note(&text?, &flight);
    }
    flight.close();
    Ok(seen)
}

impl Seen {
    pub fn new(requests: &[Event]) -> Self {
        let job = |(number, request): (usize, &Event)| {
            (request.id.0, Job { number, is_leased: false, has_result: false, is_over: false })
        };
        Self { jobs: requests.iter().enumerate().map(job).collect(), ..Self::default() }
    }

    fn is_complete(&self) -> bool {
        self.taken + self.refused == self.jobs.len() as u64 && self.ended >= self.taken
    }

    fn note(&mut self, text: &str, flight: &Flight) {
        match read(text) {
            Incoming::Ok { id, accepted, .. } => {
                let job = hex::decode(id).and_then(|id| self.jobs.get(&id));
                match (job, accepted) {
                    (Some(job), true) => self.ok.add(flight.latency(job.number)),
                    (_, false) => flight.make_room(),
                    (None, true) => {}
                }
                self.taken += u64::from(accepted);
                self.refused += u64::from(!accepted);
            }
            Incoming::Event { subscription: "results", body } => self.note_result(body, flight),
            Incoming::Event { body, .. } => self.note_feedback(body, flight),
            Incoming::Eose
            | Incoming::Count { .. }
            | Incoming::Closed { .. }
            | Incoming::Notice { .. }
            | Incoming::Auth { .. }
            | Incoming::Other => {}
        }
    }

    fn note_result(&mut self, body: &str, flight: &Flight) {
        let Some(job) = job_of(&mut self.jobs, body) else { return };
        if !job.has_result {
            job.has_result = true;
            self.results += 1;
            self.result.add(flight.latency(job.number));
        }
    }

    fn note_feedback(&mut self, body: &str, flight: &Flight) {
        let Some(job) = job_of(&mut self.jobs, body) else { return };
        match tag_value(body, "status") {
            Some("assigned") => {
                self.leases += 1;
                self.double_leases += u64::from(job.is_leased);
                job.is_leased = true;
                self.lease.add(flight.latency(job.number));
            }
            Some("withdrawn") => {
                self.withdrawn += 1;
                job.is_leased = false;
            }
            _ if tag_value(body, "end").is_some() && !job.is_over => {
                job.is_over = true;
                self.ended += 1;
                self.end.add(flight.latency(job.number));
                flight.make_room();
            }
            _ => {}
        }
    }
}

/// The job that an event is about.
fn job_of<'a>(jobs: &'a mut HashMap<[u8; 32], Job>, body: &str) -> Option<&'a mut Job> {
    jobs.get_mut(&hex::decode(tag_value(body, "e")?)?)
}
