//! The command line: a file for each verb.
//!
//! Verbs that only read open the store as a secondary, so they work beside a running relay and without one alike
//! (`storage`). Verbs that write go through the relay where one runs, else straight to the store (`writing`).

mod aggregate;
mod audit;
mod backup;
mod bench;
mod check;
mod compact;
mod delete;
mod demo;
mod descriptors;
mod download;
mod duration;
mod export;
mod files;
mod import;
mod info;
mod job;
mod jobs;
mod keys;
mod linking;
mod log;
mod memory;
mod migrate;
mod monitor;
mod negentropy;
mod npub;
mod output;
mod progress;
mod range;
mod reading;
mod relay;
mod reputation;
mod restore;
mod router;
mod scan;
mod screen;
mod settings;
mod standing;
mod storage;
mod stream;
mod sync;
mod terminal;
mod upload;
mod writing;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::{Args, Parser, Subcommand};

use self::output::ReaderGone;
use crate::config::Config;
use crate::nostr::{Filter, FilterLimits};
use crate::reload;

/// A Nostr relay with built-in job scheduling.
#[derive(Debug, Parser)]
#[command(name = "mercato", version, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the relay.
    Relay(With<Nothing>),
    /// Store events from JSON lines.
    Import(With<import::ImportArgs>),
    /// Print every stored event as a JSON line, oldest first.
    Export(With<export::ExportArgs>),
    /// Print the stored events that match a filter, newest first.
    Scan(With<scan::ScanArgs>),
    /// Remove stored events.
    Delete(With<delete::DeleteArgs>),
    /// Give the space of removed events back to the disk.
    Compact(With<Nothing>),
    /// Check that everything that is kept about the events agrees with them.
    Check(With<check::CheckArgs>),
    /// Copy the store as it is at one moment.
    Backup(With<backup::BackupArgs>),
    /// Put a backup in the place of the store.
    Restore(With<restore::RestoreArgs>),
    /// Bring a store of an older format to this version's.
    Migrate(With<Nothing>),
    /// Pass live events from or to another relay.
    Stream(With<stream::StreamArgs>),
    /// Keep the links to other relays that a file asks for.
    Router(With<router::RouterArgs>),
    /// Send stored events to another relay.
    Upload(With<upload::UploadArgs>),
    /// Fetch what another relay has stored.
    Download(With<download::DownloadArgs>),
    /// Explain what the relay thinks of a provider or customer.
    Reputation(With<reputation::ReputationArgs>),
    /// Show the jobs and how they stand.
    Jobs(With<jobs::JobsArgs>),
    /// Tell the whole story of one job.
    Job(With<job::JobArgs>),
    /// Play the tape of a relay, and hold its leases against what comes out.
    Audit(With<audit::AuditArgs>),
    /// Make one model update of many, by a rule that faulty ones cannot move far.
    Aggregate(aggregate::AggregateArgs),
    /// Show the public key that the relay signs with.
    Keys(With<keys::KeysArgs>),
    /// Show what is stored, and whether a relay runs.
    Info(With<Nothing>),
    /// Show who is connected to the running relay, and what waits for whom.
    Monitor(With<monitor::MonitorArgs>),
    /// Show, check or translate a configuration.
    Config(settings::SettingsArgs),
    /// Of strfry: there are no dictionaries here.
    #[command(hide = true)]
    Dict(Anything),
    /// Show and keep the trees that make large syncs cheap.
    Negentropy(With<negentropy::NegentropyArgs>),
    /// Reconcile this store with another relay (NIP-77).
    Sync(With<sync::SyncArgs>),
    /// Show a relay, a customer and providers at work.
    Demo(demo::DemoArgs),
    /// Measure a relay.
    Bench(bench::BenchArgs),
}

/// Where the configuration comes from. May stand before the verb, behind it, or both: clap's global arguments would
/// let the values behind it replace those before.
#[derive(Debug, Clone, Args)]
struct Source {
    /// Configuration; without it $MERCATO_CONFIG, /etc/mercato/config.toml or ./config.toml, whichever is there first.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Lays one value over the configuration, as in `--set relay.port=8080`; may stand several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// The arguments of a verb that reads the configuration.
#[derive(Debug, Args)]
struct With<A: Args> {
    #[command(flatten)]
    args: A,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Args)]
struct Nothing {}

/// What is passed over, for a verb that only explains itself.
#[derive(Debug, Args)]
struct Anything {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
    rest: Vec<String>,
}

impl Source {
    /// `self` stood before the verb, `behind` behind it.
    fn join(mut self, behind: Self) -> Self {
        self.set.extend(behind.set);
        Self { config: behind.config.or(self.config), set: self.set }
    }

    /// The file that is read, if any.
    fn file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(Config::search)
    }

    fn load(&self) -> anyhow::Result<Config> {
        Config::load(self.file().as_deref(), &self.set)
    }

    /// The same, to be read again while the relay runs.
    fn source(self) -> reload::Source {
        reload::Source { file: self.file(), sets: self.set }
    }

    fn is_empty(&self) -> bool {
        self.config.is_none() && self.set.is_empty()
    }
}

/// Runs what the command line asks for. 0: done; 1: failed, and why is on stderr; 2: not understood.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    terminal::raise_open_files();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // `mercato export | head` has what it wanted.
        Err(error) if error.is::<ReaderGone>() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mercato: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and what caused it, without what an error already says of its own cause.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(|cause| cause.to_string().trim_end().to_owned()) {
        if !text.ends_with(&cause) {
            text = if text.is_empty() { cause } else { format!("{text}: {cause}") };
        }
    }
    text
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let before = arguments.source;
    if let Verb::Demo(_) | Verb::Bench(_) | Verb::Aggregate(_) = arguments.verb {
        // They have relays of their own, or none: better refused than not heeded.
        ensure!(before.is_empty(), "this verb reads no configuration: leave out what stands before it");
    }
    let config = |behind| before.clone().join(behind).load();
    match arguments.verb {
        Verb::Relay(with) => relay::run(before.join(with.source).source()),
        Verb::Import(with) => import::run(&config(with.source)?, with.args),
        Verb::Export(with) => export::run(&config(with.source)?, &with.args),
        Verb::Scan(with) => scan::run(&config(with.source)?, with.args),
        Verb::Delete(with) => delete::run(&config(with.source)?, with.args),
        Verb::Compact(with) => compact::run(&config(with.source)?),
        Verb::Check(with) => check::run(&config(with.source)?, &with.args),
        Verb::Backup(with) => backup::run(&config(with.source)?, &with.args),
        Verb::Restore(with) => restore::run(&config(with.source)?, &with.args),
        Verb::Migrate(with) => migrate::run(&config(with.source)?),
        Verb::Stream(with) => stream::run(&config(with.source)?, with.args),
        Verb::Router(with) => router::run(&config(with.source)?, with.args),
        Verb::Upload(with) => upload::run(&config(with.source)?, with.args),
        Verb::Download(with) => download::run(&config(with.source)?, with.args),
        Verb::Reputation(with) => reputation::run(&config(with.source)?, &with.args),
        Verb::Jobs(with) => jobs::run(&config(with.source)?, &with.args),
        Verb::Job(with) => job::run(&config(with.source)?, &with.args),
        Verb::Audit(with) => audit::run(&config(with.source)?, &with.args),
        Verb::Aggregate(args) => aggregate::run(&args),
        Verb::Keys(with) => keys::run(&config(with.source)?, &with.args),
        Verb::Info(with) => info::run(&config(with.source)?),
        Verb::Monitor(with) => monitor::run(&config(with.source)?, &with.args),
        Verb::Config(args) => settings::run(before.clone(), args),
        Verb::Dict(_) => bail!("there are no dictionaries to train or apply: the store compresses events by itself"),
        Verb::Negentropy(with) => negentropy::run(&config(with.source)?, with.args),
        Verb::Sync(with) => sync::run(&config(with.source)?, with.args),
        Verb::Demo(args) => demo::run(args),
        Verb::Bench(args) => bench::run(args),
    }
}

/// A filter from the operator, whose size is not limited.
fn parse_filter(text: &str) -> Result<Filter, String> {
    let limits = FilterLimits { max_elements: usize::MAX, max_tags: usize::MAX };
    let filter = Filter::parse(text, limits).map_err(|error| error.to_string())?;
    match filter.search {
        None => Ok(filter),
        Some(_) => Err("search is for subscriptions only".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_cause_is_told_once() {
        let cause = std::io::Error::other("no disk");
        let error = anyhow::Error::new(crate::store::StoreError::Io(cause)).context("opening");
        assert_eq!(with_causes(&error), "opening: store: no disk");
    }
}
