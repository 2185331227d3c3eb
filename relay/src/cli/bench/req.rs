//! `bench req`: what questions cost, one class at a time and mixed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::Common;
use super::client::{Client, req_frame};
use super::data::Data;
use super::fill;
use super::latency::Latencies;
use super::message::{Incoming, read};
use super::random::Random;
use super::report::{Report, Row};
use super::target::{Spent, Target};
use crate::nostr::Event;

/// People who wrote the events.
const AUTHORS: usize = 1_000;
/// Events that may be asked for by their id.
const KNOWN: usize = 100_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Events to store first
    #[arg(long, default_value_t = 100_000)]
    events: u32,
    /// Stores nothing: the relay at --url has what `generate --events` of this number, seed and day printed
    #[arg(long, conflicts_with = "events")]
    stored: Option<u32>,
    /// Connections that ask at once
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Questions of each class
    #[arg(long, default_value_t = 4_000)]
    queries: u32,
    /// Seconds after which a class ends
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// A way of asking.
#[derive(Debug, Clone, Copy)]
enum Class {
    Ids,
    AuthorKind,
    PTag,
    ETag,
    Kinds,
    Time,
    /// The author of the most events, at any time.
    HotAuthor,
    /// The person in the most tags, in events of a kind that each author has one of.
    HotTagRareKind,
    /// The same, in a kind that has no such tag.
    HotTagNoKind,
    /// A word in very many events, by an author of few.
    HotTagRareAuthor,
}

impl Class {
    /// What clients ask for all the time.
    const MIX: [Self; 6] = [Self::Ids, Self::AuthorKind, Self::PTag, Self::ETag, Self::Kinds, Self::Time];
    /// What is easy to answer slowly.
    const HOT: [Self; 4] = [Self::HotAuthor, Self::HotTagRareKind, Self::HotTagNoKind, Self::HotTagRareAuthor];

    fn name(self) -> &'static str {
        match self {
            Self::Ids => "ids",
            Self::AuthorKind => "author+kind",
            Self::PTag => "#p",
            Self::ETag => "#e",
            Self::Kinds => "kinds 500",
            Self::Time => "hour 100",
            Self::HotAuthor => "hot author, any time",
            Self::HotTagRareKind => "hot tag, rare kind",
            Self::HotTagNoKind => "hot tag, no such kind",
            Self::HotTagRareAuthor => "hot tag, rare author",
        }
    }

    /// The filter of one question.
    fn filter(self, random: &mut Random, data: &Data, events: &[Event]) -> String {
        match self {
            Self::Ids => format!("{{\"ids\":[\"{}\"]}}", events[random.below(events.len())].id),
            Self::AuthorKind => {
                let author = data.name(random.skewed(data.authors()));
                format!("{{\"authors\":[\"{author}\"],\"kinds\":[1],\"limit\":30}}")
            }
            Self::PTag => {
                let author = data.name(random.skewed(data.authors()));
                format!("{{\"#p\":[\"{author}\"],\"limit\":20}}")
            }
            Self::ETag => format!("{{\"#e\":[\"{}\"]}}", data.thread(random.below(1_000))),
            Self::Kinds => {
                let kind = random.pick(&[1, 7, 6, 9735]);
                format!("{{\"kinds\":[{kind}],\"limit\":500}}")
            }
            Self::Time => {
                let since_s = some_time_s(random, data);
                format!("{{\"since\":{since_s},\"until\":{},\"limit\":100}}", since_s + 3_600)
            }
            Self::HotAuthor => {
                let until_s = some_time_s(random, data);
                format!("{{\"authors\":[\"{}\"],\"until\":{until_s},\"limit\":100}}", data.name(0))
            }
            Self::HotTagRareKind => {
                format!("{{\"#p\":[\"{}\"],\"kinds\":[3],\"limit\":20}}", data.name(random.below(10)))
            }
            Self::HotTagNoKind => {
                format!("{{\"#p\":[\"{}\"],\"kinds\":[30023],\"limit\":20}}", data.name(random.below(10)))
            }
            Self::HotTagRareAuthor => {
                let author = data.name(data.authors() - 1 - random.below(100));
                format!("{{\"#t\":[\"zap\"],\"authors\":[\"{author}\"],\"limit\":20}}")
            }
        }
    }
}

/// A time at which there are events.
fn some_time_s(random: &mut Random, data: &Data) -> u64 {
    let (from_s, until_s) = data.span_s();
    from_s + random.next() % (until_s - from_s)
}

/// What the questions of a class brought.
#[derive(Default)]
struct Tally {
    latencies: Latencies,
    queries: u64,
    events: u64,
    refused: u64,
}

/// Fills the store, then asks.
///
/// # Errors
/// When the relay cannot be reached or ends a connection.
pub async fn run(args: &Args, common: &Common) -> anyhow::Result<Report> {
    let data = Data::new(common.seed, AUTHORS);
    let count = args.stored.unwrap_or(args.events) as usize;
    // Some of what is stored already are enough to ask for by id.
    let events = data.sign_every(count.div_ceil(KNOWN).max(1), count);
    let target = Target::open(common).await?;
    if args.stored.is_none() {
        fill::fill(&target.url, &data.sign(count)).await?;
        target.settle().await;
    }
    let subject = format!("{count} stored events, {} connections", args.connections);
    let mut report = Report::new("req", subject);
    for (name, classes) in runs() {
        let frames = questions(args.queries as usize, &classes, common.seed, &data, &events);
        let (tally, spent) = ask_all(&target, frames, args).await?;
        report.push(row(name, tally, spent));
    }
    Ok(report)
}

/// All classes together, then each alone.
fn runs() -> Vec<(&'static str, Vec<Class>)> {
    let alone = Class::MIX.iter().chain(&Class::HOT).map(|class| (class.name(), vec![*class]));
    std::iter::once(("mixed", Class::MIX.to_vec())).chain(alone).collect()
}

fn questions(count: usize, classes: &[Class], seed: u64, data: &Data, events: &[Event]) -> Vec<Utf8Bytes> {
    let mut random = Random::new(seed, 0x7265_7173);
    let filters = (0..count).map(|at| classes[at % classes.len()].filter(&mut random, data, events));
    filters.map(|filter| req_frame("q", &filter)).collect()
}

fn row(name: &str, mut tally: Tally, spent: Spent) -> Row {
    Row::new(name)
        .with("queries", tally.queries)
        .with("refused", tally.refused)
        .with("events_per_query", tally.events as f64 / tally.queries.max(1) as f64)
        .with("queries_per_s", spent.rate(tally.queries))
        .with("events_per_s", spent.rate(tally.events))
        .with("cpu_us_per_query", spent.cpu_us_each(tally.queries))
        .with("cpu_us_per_event", spent.cpu_us_each(tally.events))
        .with("cpu_s_per_10k_events", spent.cpu_us_each(tally.events).map(|us| us / 100.0))
        .with("p50_ms", tally.latencies.percentile_ms(50))
        .with("p99_ms", tally.latencies.percentile_ms(99))
}

async fn ask_all(target: &Target, frames: Vec<Utf8Bytes>, args: &Args) -> anyhow::Result<(Tally, Spent)> {
    let connections = usize::from(args.connections);
    let clients = try_join_all((0..connections).map(|_| Client::connect(&target.url))).await?;
    let frames: Arc<[Utf8Bytes]> = frames.into();
    let watch = target.watch();
    let deadline = Instant::now() + Duration::from_secs(args.seconds);
    let ask = |(at, client)| tokio::spawn(ask(client, frames.clone(), at, connections, deadline));
    let tasks: Vec<_> = clients.into_iter().enumerate().map(ask).collect();
    let mut all = Tally::default();
    for tally in try_join_all(tasks).await? {
        all.add(tally?);
    }
    Ok((all, watch.read()))
}

/// Asks every `step`th question from `first` on, the next when one is answered.
async fn ask(
    mut client: Client,
    frames: Arc<[Utf8Bytes]>,
    first: usize,
    step: usize,
    deadline: Instant,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    for frame in frames.iter().skip(first).step_by(step) {
        if Instant::now() >= deadline {
            break;
        }
        let asked = Instant::now();
        client.send(frame.clone()).await?;
        tally.queries += 1;
        loop {
            match read(&client.next().await?) {
                Incoming::Event { .. } => tally.events += 1,
                Incoming::Eose => break,
                Incoming::Closed { .. } => {
                    tally.refused += 1;
                    break;
                }
                Incoming::Ok { .. }
                | Incoming::Auth { .. }
                | Incoming::Notice { .. }
                | Incoming::Count { .. }
                | Incoming::Other => {}
            }
        }
        tally.latencies.add(asked.elapsed());
    }
    Ok(tally)
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.latencies.append(other.latencies);
        self.queries += other.queries;
        self.events += other.events;
        self.refused += other.refused;
    }
}
