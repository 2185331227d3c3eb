//! `mercato bench`: measures a relay from outside, over plain Nostr, this one or any other.
//!
//! Every load is made and signed before the clock starts, is bounded in number and time, and ends by itself.

mod abuse;
pub mod child;
pub mod client;
mod compare;
mod count;
mod data;
mod fanout;
mod fill;
mod generate;
mod hostile;
mod idle;
mod import;
mod jobs;
mod latency;
pub mod message;
mod pace;
mod pagination;
mod process;
mod provider;
mod publish;
mod random;
mod report;
mod req;
mod start;
mod target;

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

use self::client::RelayUrl;
use self::report::Report;
use super::output::Output;

/// Measure a relay
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    scenario: Scenario,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Subcommand)]
enum Scenario {
    /// Events published, each awaited
    Publish(publish::Args),
    /// Stored events asked for
    Req(req::Args),
    /// Events delivered live to many subscribers
    Fanout(fanout::Args),
    /// Jobs from request to lease to result
    Jobs(jobs::Args),
    /// Memory of connections that say nothing
    Idle(idle::Args),
    /// Time from start to the first answer
    Start(start::Args),
    /// First pages against last pages of a long list
    Pagination(pagination::Args),
    /// Events counted instead of sent
    Count(count::Args),
    /// Delivery beside subscriptions that are made to be expensive
    Hostile(hostile::Args),
    /// Delivery beside clients that misbehave
    Abuse(abuse::Args),
    /// Events from JSON lines into a store
    Import(import::Args),
    /// Two relays side by side, by every scenario that needs no restart
    Compare(compare::Args),
    /// Measures nothing: prints the events of a load as JSON lines
    Generate(generate::Args),
}

/// What every scenario understands.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    /// Relay to measure, as ws://host:port; without it one is started for the run
    #[arg(long, global = true)]
    url: Option<RelayUrl>,
    /// Process of the relay at --url on this machine, for its processor time and memory
    #[arg(long, global = true, requires = "url")]
    pid: Option<u32>,
    /// Setting of the relay that is started; may stand several times
    // Not named as the one before the verb: clap would hand it up there.
    #[arg(id = "relay_set", long = "set", global = true, value_name = "KEY=VALUE", conflicts_with = "url")]
    set: Vec<String>,
    /// Another seed gives other events: a relay that is measured twice should not know them
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object instead of a table
    #[arg(long, global = true)]
    json: bool,
}

/// Runs one scenario and prints what it measured.
///
/// # Errors
/// When the relay cannot be reached, does not answer, or the run is interrupted.
pub fn run(args: BenchArgs) -> anyhow::Result<()> {
    if let Scenario::Generate(generate) = &args.scenario {
        return generate::run(generate, args.common.seed);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(unless_interrupted(measure(&args.scenario, &args.common)));
    // Subscribers may still be reading; nobody waits for them.
    runtime.shutdown_timeout(Duration::from_millis(100));
    let report = report?;
    let mut output = Output::new();
    match args.common.json {
        true => output.line(report.to_json().to_string())?,
        false => output.line(report.to_string().trim_end())?,
    }
    output.flush()
}

async fn measure(scenario: &Scenario, common: &Common) -> anyhow::Result<Report> {
    match scenario {
        Scenario::Publish(args) => publish::run(args, common).await,
        Scenario::Req(args) => req::run(args, common).await,
        Scenario::Fanout(args) => fanout::run(args, common).await,
        Scenario::Jobs(args) => jobs::run(args, common).await,
        Scenario::Idle(args) => idle::run(args, common).await,
        Scenario::Start(args) => start::run(args, common).await,
        Scenario::Pagination(args) => pagination::run(args, common).await,
        Scenario::Count(args) => count::run(args, common).await,
        Scenario::Hostile(args) => hostile::run(args, common).await,
        Scenario::Abuse(args) => abuse::run(args, common).await,
        Scenario::Import(args) => import::run(args, common).await,
        Scenario::Compare(args) => compare::run(args, common).await,
        Scenario::Generate(_) => bail!("there is nothing to measure"),
    }
}

/// Gives up at Ctrl-C or SIGTERM by returning, so that a relay that was started is ended and its folder removed.
pub async fn unless_interrupted<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    tokio::select! {
        result = work => result,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = terminate.recv() => bail!("interrupted"),
    }
}
