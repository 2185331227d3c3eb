//! `bench pagination`: what a page costs, the first ones against the last ones, of one author, kind or tag.

use std::time::Instant;

use super::Common;
use super::client::{Client, RelayUrl, req_frame};
use super::data::{keypair, parallel};
use super::fill;
use super::latency::Latencies;
use super::message::{Incoming, created_at, read};
use super::report::{Report, Row};
use super::target::{Spent, Target};
use crate::clock;
use crate::nostr::Event;

/// Highlights: a regular kind that no other load of this bench writes.
const KIND: u16 = 9802;
const TAG: &str = "pagination";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Events of the one author
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    events: u32,
    /// Events on a page
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=500))]
    page: u16,
    /// Pages read from each end, one after the other as a client scrolls
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    pages: u16,
}

/// Pages that followed each other.
#[derive(Default)]
struct Tally {
    latencies: Latencies,
    pages: u64,
    events: u64,
}

/// Fills the store with one author's events, a second apart, and pages through both ends of them.
///
/// # Errors
/// When the relay cannot be reached, refuses the load, or ends a connection.
pub async fn run(args: &Args, common: &Common) -> anyhow::Result<Report> {
    let author = keypair(common.seed, "paginated author");
    let count = u64::from(args.events);
    let newest_s = clock::now_s() / 86_400 * 86_400;
    let tags = [vec!["t".to_owned(), TAG.to_owned()]];
    let events: Vec<Event> = parallel(args.events as usize, |at| {
        let created_at_s = newest_s - count + 1 + at as u64;
        Event::sign(&author, created_at_s, KIND, &tags, &format!("highlight {at} of many"))
    });
    let target = Target::open(common).await?;
    fill::fill(&target.url, &events).await?;
    target.settle().await;
    drop(events);
    let name = author.x_only_public_key().0;
    let conditions = [
        ("author", format!("\"authors\":[\"{name}\"]")),
        ("kind", format!("\"kinds\":[{KIND}]")),
        ("tag", format!("\"#t\":[\"{TAG}\"]")),
    ];
    let span_s = (u64::from(args.page) * u64::from(args.pages)).min(count);
    let mut report = Report::new("pagination", format!("{count} events of one author, {} a page", args.page));
    for (what, condition) in conditions {
        for (end, from_s) in [("first", newest_s), ("last", newest_s - count + span_s)] {
            let watch = target.watch();
            let tally = scroll(&target.url, &condition, from_s, args).await?;
            report.push(row(format!("{what}, {end} pages"), tally, watch.read()));
        }
    }
    Ok(report)
}

fn row(name: String, mut tally: Tally, spent: Spent) -> Row {
    Row::new(name)
        .with("pages", tally.pages)
        .with("events_per_page", tally.events as f64 / tally.pages.max(1) as f64)
        .with("cpu_us_per_page", spent.cpu_us_each(tally.pages))
        .with("p50_ms", tally.latencies.percentile_ms(50))
        .with("p99_ms", tally.latencies.percentile_ms(99))
}

/// Asks for page after page, each from the oldest event of the one before.
async fn scroll(url: &RelayUrl, condition: &str, from_s: u64, args: &Args) -> anyhow::Result<Tally> {
    let mut client = Client::connect(url).await?;
    let mut tally = Tally::default();
    let mut until_s = from_s;
    for _ in 0..args.pages {
        let asked = Instant::now();
        client.send(req_frame("page", &format!("{{{condition},\"until\":{until_s},\"limit\":{}}}", args.page))).await?;
        let mut oldest_s = None;
        loop {
            match read(&client.next().await?) {
                Incoming::Event { body, .. } => {
                    tally.events += 1;
                    oldest_s = created_at(body);
                }
                Incoming::Eose | Incoming::Closed { .. } => break,
                Incoming::Ok { .. }
                | Incoming::Auth { .. }
                | Incoming::Notice { .. }
                | Incoming::Count { .. }
                | Incoming::Other => {}
            }
        }
        tally.latencies.add(asked.elapsed());
        tally.pages += 1;
        match oldest_s {
            Some(oldest_s) => until_s = oldest_s.saturating_sub(1),
            None => break,
        }
    }
    Ok(tally)
}
