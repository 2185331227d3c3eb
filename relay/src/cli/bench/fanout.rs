//! `bench fanout`: how long a new event takes to reach those who wait for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Common;
use super::client::{Client, Receiver, event_frame};
use super::data::{Data, Note, keypair};
use super::latency::Latencies;
use super::message::{Incoming, event_id, read};
use super::pace::Pace;
use super::report::{Report, Row};
use super::target::Target;

/// Authors that each subscriber follows.
const FOLLOWS: usize = 20;
/// Subscribers who follow any one author.
const FOLLOWERS: usize = 5;
/// How long deliveries may still come after the last event was taken.
const TAIL: Duration = Duration::from_secs(10);
/// Events under way at once when there is no rate.
const WINDOW: usize = 64;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Subscribers, each on a connection of its own
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(20..=20_000))]
    subscribers: u32,
    /// Events a second; 0 publishes as fast as the relay takes them
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(..=100_000))]
    rate: u32,
    /// Events to publish
    #[arg(long, default_value_t = 5_000)]
    events: u32,
}

/// Where every delivery is written down.
struct Board {
    /// Place of each event among those published.
    places: HashMap<[u8; 32], usize>,
    /// When each event was sent, in microseconds after `started`.
    sent_us: Box<[AtomicU64]>,
    /// Latencies in microseconds, as they come.
    latency_us: Box<[AtomicU32]>,
    delivered: AtomicUsize,
    started: Instant,
}

/// Publishes at the rate and waits for every delivery.
///
/// # Errors
/// When the relay cannot be reached or ends a connection.
pub async fn run(args: &Args, common: &Common) -> anyhow::Result<Report> {
    let crowd = Crowd::new(args.subscribers as usize, common.seed);
    let notes = crowd.data.sign_notes(args.events as usize, &crowd.names);
    let expected = notes.iter().map(|note| crowd.audience(note)).sum();
    let board = Arc::new(Board::new(&notes, expected));
    let target = Target::open(common).await?;
    let clients: Vec<Client> = stream::iter(0..args.subscribers as usize)
        .map(|at| subscribe(&target, crowd.filters(at)))
        .buffer_unordered(16)
        .try_collect()
        .await?;
    let mut readers = JoinSet::new();
    for client in clients {
        readers.spawn(listen(client, board.clone()));
    }
    let watch = target.watch();
    let refused = publish(&target, &notes, args.rate, &board).await?;
    let published = watch.read();
    let tail = Instant::now();
    while board.delivered.load(Ordering::Relaxed) < expected && tail.elapsed() < TAIL {
        sleep(Duration::from_millis(5)).await;
    }
    let spent = watch.read();
    let (delivered, mut latencies) = board.latencies();
    let count = notes.len() as u64;
    let row = Row::new(if args.rate == 0 { "flat out".to_owned() } else { format!("{} events/s", args.rate) })
        .with("events", count)
        .with("refused", refused)
        .with("delivered", delivered)
        .with("expected", expected as u64)
        .with("events_per_s", published.rate(count))
        .with("cpu_us_per_delivery", spent.cpu_us_each(delivered))
        .with("cpu_s_per_10k_events", spent.cpu_us_each(count).map(|us| us / 100.0))
        .with("p50_ms", latencies.percentile_ms(50))
        .with("p99_ms", latencies.percentile_ms(99))
        .with("max_ms", latencies.percentile_ms(100));
    let subject = format!("{} subscribers, about {} of them get each event", args.subscribers, FOLLOWERS + 1);
    let mut report = Report::new("fanout", subject);
    report.push(row);
    Ok(report)
}

/// Who follows whom.
struct Crowd {
    data: Data,
    /// Public keys of the subscribers, whom some events mention.
    names: Vec<String>,
}

impl Crowd {
    fn new(subscribers: usize, seed: u64) -> Self {
        let data = Data::new(seed, subscribers * FOLLOWS / FOLLOWERS);
        let name = |at| keypair(seed, &format!("subscriber {at}")).x_only_public_key().0.to_string();
        Self { data, names: (0..subscribers).map(name).collect() }
    }

    /// The authors that a subscriber follows.
    fn followed(&self, subscriber: usize) -> impl Iterator<Item = usize> {
        let authors = self.data.authors();
        (0..FOLLOWS).map(move |nth| (subscriber * FOLLOWS + nth) % authors)
    }

    fn filters(&self, subscriber: usize) -> String {
        let followed: Vec<String> =
            self.followed(subscriber).map(|author| format!("\"{}\"", self.data.name(author))).collect();
        let (followed, own) = (followed.join(","), &self.names[subscriber]);
        format!("{{\"authors\":[{followed}],\"kinds\":[1,6,30023]}},{{\"#p\":[\"{own}\"],\"kinds\":[1,7,9735]}}")
    }

    /// How many are to get a note: its author's followers, and who is mentioned in it.
    fn audience(&self, note: &Note) -> usize {
        let follows = self.followed(note.mentioned).any(|author| author == note.author);
        FOLLOWERS + usize::from(!follows)
    }
}

async fn subscribe(target: &Target, filters: String) -> anyhow::Result<Client> {
    let mut client = Client::connect(&target.url).await?;
    client.subscribe("feed", &filters).await?;
    Ok(client)
}

/// Writes down what a subscriber gets, until the run is over.
async fn listen(mut client: Client, board: Arc<Board>) -> anyhow::Result<()> {
    loop {
        if let Incoming::Event { body, .. } = read(&client.next().await?)
            && let Some(id) = event_id(body)
        {
            board.note(&id);
        }
    }
}

/// Publishes at a rate, or without one in a window; how many events were refused.
async fn publish(target: &Target, notes: &[Note], rate: u32, board: &Arc<Board>) -> anyhow::Result<u64> {
    let (mut sender, receiver) = Client::connect(&target.url).await?.split();
    let room = Arc::new(Semaphore::new(WINDOW));
    let answers = tokio::spawn(await_answers(receiver, notes.len(), room.clone()));
    let pace = Pace::start(f64::from(if rate == 0 { u32::MAX } else { rate }));
    for (at, note) in notes.iter().enumerate() {
        match rate {
            0 => {
                if room.available_permits() == 0 {
                    sender.flush().await?;
                }
                room.acquire().await?.forget();
                board.send(at, Instant::now());
            }
            _ => {
                if !pace.is_due(at) {
                    sender.flush().await?;
                    pace.wait(at).await;
                }
                board.send(at, pace.counts_from(at).into_std());
            }
        }
        sender.feed(event_frame(&note.event)).await?;
    }
    sender.flush().await?;
    answers.await?
}

/// Reads an OK for each event; how many said no.
async fn await_answers(mut receiver: Receiver, count: usize, room: Arc<Semaphore>) -> anyhow::Result<u64> {
    let (mut answered, mut refused) = (0, 0);
    while answered < count {
        if let Incoming::Ok { accepted, .. } = read(&receiver.next().await?) {
            answered += 1;
            refused += u64::from(!accepted);
            room.add_permits(1);
        }
    }
    Ok(refused)
}

impl Board {
    fn new(notes: &[Note], deliveries: usize) -> Self {
        Self {
            places: notes.iter().enumerate().map(|(at, note)| (note.event.id.0, at)).collect(),
            sent_us: notes.iter().map(|_| AtomicU64::new(0)).collect(),
            latency_us: (0..deliveries).map(|_| AtomicU32::new(0)).collect(),
            delivered: AtomicUsize::new(0),
            started: Instant::now(),
        }
    }

    fn send(&self, at: usize, counts_from: Instant) {
        let sent = counts_from.saturating_duration_since(self.started);
        self.sent_us[at].store(sent.as_micros() as u64, Ordering::Relaxed);
    }

    /// One delivery. An event that is not ours, as others may publish at --url, is passed over.
    fn note(&self, id: &[u8; 32]) {
        let Some(at) = self.places.get(id) else { return };
        let sent_us = self.sent_us[*at].load(Ordering::Relaxed);
        let latency_us = (self.started.elapsed().as_micros() as u64).saturating_sub(sent_us);
        let nth = self.delivered.fetch_add(1, Ordering::Relaxed);
        if let Some(slot) = self.latency_us.get(nth) {
            slot.store(u32::try_from(latency_us).unwrap_or(u32::MAX), Ordering::Relaxed);
        }
    }

    /// How many were delivered, doubles included, and how fast.
    fn latencies(&self) -> (u64, Latencies) {
        let delivered = self.delivered.load(Ordering::Relaxed);
        let latencies = self.latency_us.iter().take(delivered).map(|us| us.load(Ordering::Relaxed)).collect();
        (delivered as u64, latencies)
    }
}
