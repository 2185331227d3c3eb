//! `bench start`: how soon a relay answers after it was started on a store that holds something.

use std::path::Path;
use std::time::Instant;

use anyhow::bail;

use super::Common;
use super::child::{ChildRelay, TempFolder};
use super::client::Client;
use super::data::Data;
use super::fill;
use super::latency::Latencies;
use super::report::{Report, Row};

/// People who wrote the events.
const AUTHORS: usize = 1_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Events in the store
    #[arg(long, default_value_t = 100_000)]
    events: u32,
    /// How often to start it, after a good end and after a crash
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
}

/// How the relay before ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Well,
    Killed,
}

/// Fills a store, then starts relays on it.
///
/// # Errors
/// When `--url` is given, or the relay does not start.
pub async fn run(args: &Args, common: &Common) -> anyhow::Result<Report> {
    if common.url.is_some() {
        bail!("bench start starts the relay itself, so it takes no --url");
    }
    let events = Data::new(common.seed, AUTHORS).sign(args.events as usize);
    let folder = TempFolder::new("bench")?;
    let relay = ChildRelay::start(folder.path(), &common.set).await?;
    fill::fill(&relay.url, &events).await?;
    relay.stop().await?;
    let disk_mib = size(folder.path())? as f64 / f64::from(1 << 20);
    let json: usize = events.iter().map(|event| event.body().len() + 1).sum();
    let json_mib = json as f64 / f64::from(1 << 20);
    let mut report = Report::new("start", format!("{disk_mib:.0} MiB on disk for {json_mib:.0} MiB of JSON"));
    for (name, ended) in [("after a good end", Ended::Well), ("after a crash", Ended::Killed)] {
        let mut latencies = Latencies::default();
        for _ in 0..args.runs {
            time_one(folder.path(), common, ended, &mut latencies).await?;
        }
        report.push(
            Row::new(name)
                .with("events", events.len() as u64)
                .with("runs", u64::from(args.runs))
                .with("p50_ms", latencies.percentile_ms(50))
                .with("min_ms", latencies.percentile_ms(0))
                .with("max_ms", latencies.percentile_ms(100))
                .with("disk_mib", disk_mib),
        );
    }
    Ok(report)
}

/// Starts a relay, waits for its first answer, and ends it in one way or the other.
async fn time_one(folder: &Path, common: &Common, ended: Ended, latencies: &mut Latencies) -> anyhow::Result<()> {
    let started = Instant::now();
    let relay = ChildRelay::start(folder, &common.set).await?;
    let mut client = Client::connect(&relay.url).await?;
    let found = client.subscribe("first", "{\"kinds\":[1],\"limit\":1}").await?;
    latencies.add(started.elapsed());
    if found == 0 {
        bail!("the relay has lost its events");
    }
    drop(client);
    match ended {
        Ended::Well => relay.stop().await,
        // Dropping it kills it.
        Ended::Killed => Ok(()),
    }
}

/// Bytes in all files below a folder.
fn size(folder: &Path) -> std::io::Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(total)
}
