//! `mercato negentropy`: the trees that make large syncs cheap.

use anyhow::{Context, bail};

use super::output::Output;
use super::storage;
use crate::config::{Config, tree_filter};
use crate::control::client::Client;
use crate::negentropy::filters;

#[derive(Debug, clap::Args)]
pub struct NegentropyArgs {
    #[arg(value_enum)]
    act: Act,
    /// For `add` and `build`: a filter without since, until and limit, as '{"kinds":[0,3,10002]}'.
    #[arg(required_if_eq_any([("act", "add"), ("act", "build")]))]
    filter: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Act {
    /// Show the trees of the running relay.
    List,
    /// Keep a tree for a filter from now on.
    Add,
    /// Build a tree of the running relay anew, as one that had grown too large.
    Build,
}

pub fn run(config: &Config, args: NegentropyArgs) -> anyhow::Result<()> {
    match (args.act, args.filter.as_deref()) {
        (Act::List, None) => list(config),
        (Act::Add, Some(filter)) => add(config, filter),
        (Act::Build, Some(filter)) => build(config, filter),
        (Act::List, Some(_)) => bail!("list shows every tree: leave out the filter"),
        (Act::Add | Act::Build, None) => bail!("a filter is needed"),
    }
}

fn list(config: &Config) -> anyhow::Result<()> {
    let mut output = Output::new();
    match Client::connect(&config.store.path)? {
        Some(mut relay) => {
            for tree in relay.trees()? {
                output.line(format!("filter: {}", tree.filter))?;
                output.line(format!("  state: {}", tree.state))?;
                output.line(format!("  events: {}", tree.events))?;
                output.line(format!("  memory: {} bytes", tree.bytes))?;
                output.line(format!("  fingerprint: {}", tree.fingerprint))?;
            }
        }
        None => {
            for filter in filters::all(config)? {
                output.line(format!("filter: {}", filter.to_json()))?;
                output.line("  state: no relay is running")?;
            }
        }
    }
    output.flush()
}

fn add(config: &Config, filter: &str) -> anyhow::Result<()> {
    let filter = tree_filter(filter)?;
    storage::create_folder(config)?;
    if !filters::add(config, &filter)? {
        bail!("a tree is kept for {} already", filter.to_json());
    }
    match Client::connect(&config.store.path)? {
        Some(mut relay) => relay.build_tree(&filter)?,
        None => eprintln!("it is built when a relay starts"),
    }
    Ok(())
}

fn build(config: &Config, filter: &str) -> anyhow::Result<()> {
    let filter = tree_filter(filter)?;
    if !filters::all(config)?.contains(&filter) {
        bail!("no tree is kept for {}: add it first", filter.to_json());
    }
    let relay = Client::connect(&config.store.path)?;
    relay.context("no relay is running; trees are in its memory, and built when it starts")?.build_tree(&filter)
}
