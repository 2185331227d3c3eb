//! `bench publish`: how many events a relay takes, and how long each waits for its OK.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::sync::Barrier;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::Common;
use super::client::{Client, event_frame};
use super::data::Data;
use super::latency::Latencies;
use super::message::{Incoming, read};
use super::report::{Report, Row};
use super::target::{Spent, Target};
use crate::nostr::Event;

/// People who write the events.
const AUTHORS: usize = 1_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Connections at once; several numbers give a row each, on a new store unless --url is given
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100], value_parser = clap::value_parser!(u16).range(1..))]
    connections: Vec<u16>,
    /// Events of each row
    #[arg(long, default_value_t = 20_000)]
    events: u32,
    /// Events that each connection has under way
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pipeline: u16,
    /// Seconds after which a row ends
    #[arg(long, default_value_t = 120)]
    seconds: u64,
}

/// What one connection saw.
#[derive(Default)]
struct Tally {
    latencies: Latencies,
    accepted: u64,
    refused: u64,
    first_refusal: Option<String>,
    /// Accepted, but known before: cheaper for the relay, so the run says less.
    duplicates: u64,
}

/// Measures every number of connections in turn.
///
/// # Errors
/// When the relay cannot be reached or ends a connection.
pub async fn run(args: &Args, common: &Common) -> anyhow::Result<Report> {
    let mut report = Report::new("publish", format!("{} in flight on each connection", args.pipeline));
    for (at, connections) in args.connections.iter().enumerate() {
        let data = Data::new(common.seed.wrapping_add(at as u64), AUTHORS);
        let events = data.sign(args.events as usize);
        let target = Target::open(common).await?;
        let (tally, spent) = publish_all(&target, &events, usize::from(*connections), args).await?;
        if let Some(text) = &tally.first_refusal {
            report.note(format!("first refusal with {connections}: {text}"));
        }
        report.push(row(*connections, tally, spent));
    }
    Ok(report)
}

fn row(connections: u16, mut tally: Tally, spent: Spent) -> Row {
    let answered = tally.accepted + tally.refused;
    Row::new(if connections == 1 { "1 connection".to_owned() } else { format!("{connections} connections") })
        .with("accepted", tally.accepted)
        .with("refused", tally.refused)
        .with("duplicates", tally.duplicates)
        .with("events_per_s", spent.rate(answered))
        .with("cpu_us_per_event", spent.cpu_us_each(answered))
        .with("cpu_s_per_10k_events", spent.cpu_us_each(answered).map(|us| us / 100.0))
        .with("p50_ms", tally.latencies.percentile_ms(50))
        .with("p99_ms", tally.latencies.percentile_ms(99))
        .with("max_ms", tally.latencies.percentile_ms(100))
}

async fn publish_all(
    target: &Target,
    events: &[Event],
    connections: usize,
    args: &Args,
) -> anyhow::Result<(Tally, Spent)> {
    let clients = try_join_all((0..connections).map(|_| Client::connect(&target.url))).await?;
    let frames: Vec<Utf8Bytes> = events.iter().map(event_frame).collect();
    let start = Arc::new(Barrier::new(connections + 1));
    let deadline = Duration::from_secs(args.seconds);
    let tasks: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(at, client)| {
            let frames: Vec<Utf8Bytes> = frames.iter().skip(at).step_by(connections).cloned().collect();
            let (start, window) = (start.clone(), usize::from(args.pipeline));
            tokio::spawn(async move {
                start.wait().await;
                publish(client, frames, window, Instant::now() + deadline).await
            })
        })
        .collect();
    // Whoever is in the runtime's queues must not wait for frames to be shared out.
    start.wait().await;
    let watch = target.watch();
    let mut all = Tally::default();
    for tally in try_join_all(tasks).await? {
        all.add(tally?);
    }
    Ok((all, watch.read()))
}

/// Keeps `window` events under way until all are answered or the deadline passes.
async fn publish(
    mut client: Client,
    frames: Vec<Utf8Bytes>,
    window: usize,
    deadline: Instant,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let mut under_way: VecDeque<Sent> = VecDeque::with_capacity(window);
    let mut frames = frames.into_iter();
    loop {
        // Half a window at a time: one system call for many events.
        if under_way.len() <= window / 2 && Instant::now() < deadline {
            for frame in frames.by_ref().take(window - under_way.len()) {
                under_way.push_back(Sent::now(&frame));
                client.feed(frame).await?;
            }
            client.flush().await?;
        }
        if under_way.is_empty() {
            return Ok(tally);
        }
        let text = client.next().await?;
        if let Incoming::Ok { id, accepted, text } = read(&text)
            && let Some(at) = under_way.iter().position(|sent| sent.is(id))
            && let Some(sent) = under_way.remove(at)
        {
            tally.answer(sent.at.elapsed(), accepted, text);
        }
    }
}

/// An event whose answer is awaited.
struct Sent {
    frame: Utf8Bytes,
    at: Instant,
}

impl Sent {
    fn now(frame: &Utf8Bytes) -> Self {
        Self { frame: frame.clone(), at: Instant::now() }
    }

    fn is(&self, id: &str) -> bool {
        // Our own frames begin with the id.
        self.frame.strip_prefix("[\"EVENT\",{\"id\":\"").is_some_and(|rest| rest.starts_with(id))
    }
}

impl Tally {
    fn answer(&mut self, latency: Duration, accepted: bool, text: &str) {
        self.latencies.add(latency);
        self.accepted += u64::from(accepted);
        self.refused += u64::from(!accepted);
        if !accepted {
            self.first_refusal.get_or_insert_with(|| text.to_owned());
        }
        self.duplicates += u64::from(accepted && text.starts_with("duplicate"));
    }

    fn add(&mut self, other: Self) {
        self.latencies.append(other.latencies);
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.duplicates += other.duplicates;
        self.first_refusal = self.first_refusal.take().or(other.first_refusal);
    }
}
