//! `bench jobs`: how long a request waits for its lease, and a job for its end, and what that costs the relay beyond the
//! arithmetic of its signatures.

mod customer;
mod floor;

use std::sync::Arc;

use anyhow::{bail, ensure};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::customer::{Flight, Load, Seen, TAIL, look_on, request};
use self::floor::Floor;
use super::Common;
use super::client::Client;
use super::data::{keypair, parallel};
use super::process;
use super::provider::{Provider, Worked};
use super::report::{Report, Row};
use super::target::{Spent, Target};
use crate::cli::descriptors;
use crate::clock;
use crate::nostr::Event;

/// NIP-90's text generation; any job kind would do.
pub const JOB_KIND: u16 = 5050;
/// Providers that connect at a time.
const CONNECTING: usize = 32;
/// Descriptors and connections beside those of providers.
const SPARE: u32 = 100;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Requests a second
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Seconds of requests
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Jobs under way at once, in place of a rate
    #[arg(long, conflicts_with_all = ["rate", "seconds"], value_parser = clap::value_parser!(u32).range(1..=10_000))]
    in_flight: Option<u32>,
    /// Jobs in all, for --in-flight
    #[arg(long, default_value_t = 5_000, requires = "in_flight", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: u32,
    /// Providers, each with a key and a connection of its own; several numbers are measured one after the other
    #[arg(long, default_value = "4", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=20_000))]
    providers: Vec<u32>,
    /// Slots of each provider
    #[arg(long, default_value_t = 1_000)]
    slots: u32,
}

impl Args {
    fn load(&self) -> Load {
        self.in_flight.map_or(Load::Rate(self.rate), Load::InFlight)
    }

    fn count(&self) -> usize {
        match self.load() {
            Load::Rate(rate) => rate as usize * self.seconds as usize,
            Load::InFlight(_) => self.jobs as usize,
        }
    }

    fn subject(&self) -> String {
        let load = match self.load() {
            Load::Rate(rate) => format!("{rate} jobs/s for {} s", self.seconds),
            Load::InFlight(jobs) => format!("{} jobs, {jobs} at a time", self.jobs),
        };
        format!("{load}, of kind {JOB_KIND}; providers with {} slots", self.slots)
    }
}

/// Runs a market with each number of providers.
///
/// # Errors
/// When the relay has no market, or ends a connection, or the system lets this process have too few.
pub async fn run(args: &Args, common: &Common) -> anyhow::Result<Report> {
    let most = args.providers.iter().max().map_or(0, |most| most + SPARE);
    let allowed = descriptors::raise_limit()?;
    ensure!(
        u64::from(most) <= allowed,
        "so many providers need {most} open files in this process and in the relay, and the limit is {allowed} (ulimit -Hn)"
    );
    let mut report = Report::new("jobs", args.subject());
    for providers in &args.providers {
        measure(args, common, *providers, &mut report).await?;
    }
    report.note("floor: what checking three signatures and making two takes, just before or just after".to_owned());
    Ok(report)
}

async fn measure(args: &Args, common: &Common, providers: u32, report: &mut Report) -> anyhow::Result<()> {
    let (count, load) = (args.count(), args.load());
    let requests = requests(count, common.seed);
    let mut common = common.clone();
    // What the user sets goes before.
    common.set.insert(0, format!("limits.max_connections={}", (providers + SPARE).max(20_000)));
    let target = Target::open(&common).await?;
    let open = |at| Provider::open(&target.url, keypair(common.seed, &format!("provider {at}")), args.slots);
    let opened: Vec<Provider> = stream::iter(0..providers).map(open).buffer_unordered(CONNECTING).try_collect().await?;
    let mut client = Client::connect(&target.url).await?;
    let name = keypair(common.seed, "customer").x_only_public_key().0;
    for (id, kind) in [("feedback", 7000), ("results", JOB_KIND + 1_000)] {
        client.subscribe(id, &format!("{{\"kinds\":[{kind}],\"#p\":[\"{name}\"],\"limit\":0}}")).await?;
    }
    let (mut working, worked) = (JoinSet::new(), Arc::new(Worked::default()));
    for provider in opened {
        working.spawn(provider.work(worked.clone()));
    }
    target.settle().await;
    let floor = Floor::measure()?;
    let (sender, receiver) = client.split();
    let flight = Arc::new(Flight::new(count, load));
    let own_before_s = process::cpu_s(std::process::id())?;
    let watch = target.watch();
    let seen = tokio::spawn(look_on(receiver, Seen::new(&requests), flight.clone()));
    request(sender, &requests, &flight).await?;
    let Ok(seen) = timeout(TAIL + TAIL, seen).await else { bail!("the customer's connection is stuck") };
    let spent = watch.read();
    let own_s = process::cpu_s(std::process::id())? - own_before_s;
    // A neighbour on the machine is seldom there both times.
    let floor = floor.lower(Floor::measure()?);
    report.push(row(format!("{providers} providers"), seen??, &worked, spent, own_s, floor));
    if let Some(text) = worked.first_refusal() {
        report.note(format!("first refusal of a provider's event: {text}"));
    }
    Ok(())
}

/// Signed beforehand. What providers say of a job names it and is of whoever got it, so they sign as they go.
fn requests(count: usize, seed: u64) -> Vec<Event> {
    let customer = keypair(seed, "customer");
    // Requests of an earlier run at the same relay must not be known to it.
    let run = clock::now_ms();
    parallel(count, |at| {
        let input = vec!["i".to_owned(), format!("prompt {run} {at}"), "text".to_owned()];
        Event::sign(&customer, clock::now_s(), JOB_KIND, &[input], "")
    })
}

fn row(name: String, mut seen: Seen, worked: &Worked, spent: Spent, own_s: f64, floor: Floor) -> Row {
    let cpu_us = spent.cpu_us_each(seen.ended);
    Row::new(name)
        .with("jobs", seen.taken)
        .with("leases", seen.leases)
        .with("results", seen.results)
        .with("ended", seen.ended)
        .with("refused", seen.refused + worked.refused())
        .with("withdrawn", seen.withdrawn)
        .with("double_leases", seen.double_leases)
        .with("jobs_per_s", spent.rate(seen.ended))
        .with("cpu_us_per_job", cpu_us)
        .with("check_us", floor.check_us)
        .with("sign_us", floor.sign_us)
        .with("floor_us_per_job", floor.job_us())
        .with("cpu_per_floor", cpu_us.map(|cpu_us| cpu_us / floor.job_us()))
        .with("client_cpu_us_per_job", (seen.ended > 0).then(|| own_s * 1e6 / seen.ended as f64))
        .with("ok_p50_ms", seen.ok.percentile_ms(50))
        .with("ok_p99_ms", seen.ok.percentile_ms(99))
        .with("lease_p50_ms", seen.lease.percentile_ms(50))
        .with("lease_p99_ms", seen.lease.percentile_ms(99))
        .with("result_p50_ms", seen.result.percentile_ms(50))
        .with("result_p99_ms", seen.result.percentile_ms(99))
        .with("end_p50_ms", seen.end.percentile_ms(50))
        .with("end_p99_ms", seen.end.percentile_ms(99))
}
