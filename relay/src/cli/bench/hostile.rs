//! `bench hostile`: how long a well-behaved client waits for an event while others hold subscriptions that are made to
//! be expensive.
//!
//! Each hostile filter stands where a relay would have to look at it for every event, and matches none, but for a few
//! that ask for everything.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::try_join_all;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Common;
use super::client::{Client, event_frame, req_frame};
use super::data::{Data, keypair, parallel};
use super::latency::Latencies;
use super::message::{Incoming, event_id, read};
use super::pace::Pace;
use super::random::Random;
use super::report::{Report, Row};
use super::target::Target;
use crate::clock;
use crate::nostr::Event;

/// People whom the hostile filters name; none of them writes.
const STRANGERS: usize = 1_000;
/// The topic of every event, and of many filters.
const TOPIC: &str = "nostr";
/// How long an event may still come after the last was sent.
const TAIL: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Hostile subscriptions, all together
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    subscriptions: u32,
    /// Connections that hold them; relays bound what one may hold
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Events a second of the well-behaved client
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Events of each row
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    events: u32,
}

/// What the well-behaved client does.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Events a second.
    pub rate: u32,
    pub events: u32,
}

/// Measures alone, then with the crowd.
///
/// # Errors
/// When the relay cannot be reached or ends a connection.
pub async fn run(args: &Args, common: &Common) -> anyhow::Result<Report> {
    let target = Target::open(common).await?;
    let subject = format!("{} events/s by one client, heard by one other", args.rate);
    let mut report = Report::new("hostile", subject);
    let load = Load { rate: args.rate, events: args.events };
    report.push(measure(&target, load, common.seed, "alone").await?);
    let data = Data::new(common.seed, STRANGERS);
    let each = args.subscriptions.div_ceil(u32::from(args.connections));
    let opened = Instant::now();
    let crowd = (0..args.connections).map(|at| besiege(&target, &data, u64::from(at), each, common.seed));
    let (mut crowd_reads, mut refused) = (JoinSet::new(), 0);
    for (client, closed) in try_join_all(crowd).await? {
        refused += closed;
        crowd_reads.spawn(read_on(client));
    }
    report.note(format!("opening took {:.1} s, {refused} subscriptions refused", opened.elapsed().as_secs_f64()));
    let name = format!("{} hostile", u64::from(each) * u64::from(args.connections) - refused);
    report.push(measure(&target, load, common.seed.wrapping_add(1), &name).await?);
    Ok(report)
}

/// Publishes at the rate on one connection and listens on another.
pub async fn measure(target: &Target, load: Load, seed: u64, name: &str) -> anyhow::Result<Row> {
    let author = keypair(seed, "well-behaved author");
    let run = clock::now_ms();
    let events: Vec<Event> = parallel(load.events as usize, |at| {
        let tags = [vec!["t".to_owned(), TOPIC.to_owned()]];
        Event::sign(&author, clock::now_s(), 1, &tags, &format!("note {at} of run {run}"))
    });
    let mut listener = Client::connect(&target.url).await?;
    let name_of_author = author.x_only_public_key().0;
    listener.subscribe("feed", &format!("{{\"authors\":[\"{name_of_author}\"],\"limit\":0}}")).await?;
    let mut places: HashMap<[u8; 32], usize> = events.iter().enumerate().map(|(at, event)| (event.id.0, at)).collect();
    let listening = tokio::spawn(async move {
        let mut arrivals: Vec<(usize, Instant)> = Vec::with_capacity(places.len());
        while !places.is_empty() {
            let Ok(text) = timeout(TAIL, listener.next()).await else { break };
            if let Incoming::Event { body, .. } = read(&text?)
                && let Some(at) = event_id(body).and_then(|id| places.remove(&id))
            {
                arrivals.push((at, Instant::now()));
            }
        }
        anyhow::Ok(arrivals)
    });
    let (mut sender, mut answers) = Client::connect(&target.url).await?.split();
    let reading = tokio::spawn(async move { while answers.next().await.is_ok() {} });
    let watch = target.watch();
    let pace = Pace::start(f64::from(load.rate));
    let mut sent = Vec::with_capacity(events.len());
    for (at, event) in events.iter().enumerate() {
        pace.wait(at).await;
        sent.push(pace.counts_from(at).into_std());
        sender.feed(event_frame(event)).await?;
        sender.flush().await?;
    }
    let arrivals = listening.await??;
    let spent = watch.read();
    reading.abort();
    let mut latencies = Latencies::default();
    for (at, arrived) in &arrivals {
        latencies.add(arrived.saturating_duration_since(sent[*at]));
    }
    let count = events.len() as u64;
    Ok(Row::new(name)
        .with("events", count)
        .with("delivered", arrivals.len() as u64)
        .with("cpu_us_per_event", spent.cpu_us_each(count))
        .with("p50_ms", latencies.percentile_ms(50))
        .with("p99_ms", latencies.percentile_ms(99))
        .with("max_ms", latencies.percentile_ms(100)))
}

/// Opens `count` hostile subscriptions on a new connection; how many the relay refused.
async fn besiege(
    target: &Target,
    data: &Data,
    connection: u64,
    count: u32,
    seed: u64,
) -> anyhow::Result<(Client, u64)> {
    let mut random = Random::new(seed, 0x686f_7374 + connection);
    let mut client = Client::connect(&target.url).await?;
    let (mut answered, mut refused) = (0, 0);
    for at in 0..count {
        client.send(req_frame(&format!("h{at}"), &hostile_filter(&mut random, data))).await?;
        // One at a time, or a relay that is slow to open them would hang up on a full buffer.
        while answered <= at {
            match read(&client.next().await.context("while hostile subscriptions were opened")?) {
                Incoming::Eose => answered += 1,
                // A relay that refuses in a NOTICE does not say which.
                Incoming::Closed { .. } | Incoming::Notice { .. } => {
                    answered += 1;
                    refused += 1;
                }
                Incoming::Event { .. }
                | Incoming::Ok { .. }
                | Incoming::Auth { .. }
                | Incoming::Count { .. }
                | Incoming::Other => {}
            }
        }
    }
    Ok((client, refused))
}

/// One of the filters that look as if they might match.
fn hostile_filter(random: &mut Random, data: &Data) -> String {
    let strangers = |random: &mut Random, count: usize| {
        let first = random.below(STRANGERS);
        let names: Vec<String> = (0..count).map(|nth| format!("\"{}\"", data.name(first + nth))).collect();
        names.join(",")
    };
    match random.below(100) {
        // The right kind, at a time that has passed.
        0..25 => format!("{{\"kinds\":[1],\"until\":{}}}", 1_000 + random.below(1_000_000)),
        // Anything at all, at a time that is far off.
        25..40 => format!("{{\"since\":{},\"limit\":1}}", clock::now_s() + 10_000_000 + random.below(1_000) as u64),
        // The right topic, by hundreds of others.
        40..65 => {
            let authors = strangers(random, 200);
            format!("{{\"#t\":[\"{TOPIC}\"],\"authors\":[{authors}],\"limit\":0}}")
        }
        // Many kinds, many people.
        65..80 => {
            let kinds: Vec<String> = (0..40).map(|kind| kind.to_string()).collect();
            let authors = strangers(random, 100);
            format!("{{\"kinds\":[{}],\"authors\":[{authors}],\"limit\":0}}", kinds.join(","))
        }
        // Two tags, one of which every event has.
        80..90 => {
            let other = random.below(1_000_000);
            format!("{{\"#t\":[\"{TOPIC}\"],\"#p\":[\"{other:064x}\"],\"kinds\":[1],\"limit\":0}}")
        }
        // Several filters in one.
        90..99 => {
            let until = 1_000 + random.below(1_000);
            let one = format!("{{\"kinds\":[1,7],\"until\":{until}}}");
            let authors = strangers(random, 10);
            format!("{one},{{\"authors\":[{authors}],\"kinds\":[1],\"limit\":0}},{{\"ids\":[\"{until:064x}\"]}}")
        }
        // Everything.
        _ => "{\"limit\":0}".to_owned(),
    }
}

/// Reads what comes, so that the relay never sees a slow client.
async fn read_on(mut client: Client) {
    while client.next().await.is_ok() {}
}
