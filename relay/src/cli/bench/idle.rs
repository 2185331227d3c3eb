//! `bench idle`: what connections cost in memory while nothing happens on them.

use std::time::Duration;

use anyhow::Context;
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::time::sleep;

use super::Common;
use super::client::Client;
use super::data::{Data, keypair};
use super::report::{Report, Row};
use super::target::Target;

/// How long the relay may take to come to rest.
const REST: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Connections to hold
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
    /// Seconds to hold them
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// Connects, then subscribes, and looks at the relay's memory after each.
///
/// # Errors
/// When the relay's memory cannot be seen, or it ends a connection.
pub async fn run(args: &Args, common: &Common) -> anyhow::Result<Report> {
    let target = Target::open(common).await?;
    let mut report = Report::new("idle", format!("{} connections", args.connections));
    // The first client makes the relay allocate what all share.
    Client::connect(&target.url).await?.subscribe("warm", "{\"limit\":1}").await?;
    sleep(REST).await;
    let memory = || target.anonymous_mib().context("bench idle needs --pid with --url");
    let before_mib = memory()?;
    let each = |mib: f64| (mib - before_mib) * 1_000.0 / f64::from(args.connections);
    let row = |name, mib: f64, cpu_s: Option<f64>| {
        Row::new(name).with("anonymous_mib", mib).with("mib_per_1000", each(mib)).with("cpu_s", cpu_s)
    };
    report.push(row("before", before_mib, None));
    let mut clients: Vec<Client> = stream::iter(0..args.connections)
        .map(|_| Client::connect(&target.url))
        .buffer_unordered(16)
        .try_collect()
        .await?;
    sleep(REST).await;
    let watch = target.watch();
    sleep(Duration::from_secs(args.seconds)).await;
    report.push(row("connected", memory()?, watch.read().cpu_s));
    let data = Data::new(common.seed, 20);
    let followed: Vec<String> = (0..data.authors()).map(|at| format!("\"{}\"", data.name(at))).collect();
    let followed = followed.join(",");
    let filter = |at| {
        let own = keypair(common.seed, &format!("idle {at}")).x_only_public_key().0;
        format!("{{\"authors\":[{followed},\"{own}\"],\"kinds\":[1,6]}}")
    };
    try_join_all(clients.iter_mut().enumerate().map(|(at, client)| {
        let filter = filter(at);
        async move { client.subscribe("feed", &filter).await }
    }))
    .await?;
    sleep(REST).await;
    let watch = target.watch();
    sleep(Duration::from_secs(args.seconds)).await;
    report.push(row("with a subscription each", memory()?, watch.read().cpu_s));
    Ok(report)
}
