//! `mercato export`: the whole store as JSON lines, which `mercato import` and other relays read.

use super::output::Output;
use super::progress::Progress;
use super::{reading, storage};
use crate::config::Config;
use crate::nostr::Filter;
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// No events older than this, in seconds since 1970.
    #[arg(long, value_name = "SECONDS")]
    since: Option<u64>,
    /// No events newer than this, in seconds since 1970.
    #[arg(long, value_name = "SECONDS")]
    until: Option<u64>,
    /// Newest first.
    #[arg(long)]
    reverse: bool,
}

pub fn run(config: &Config, args: &ExportArgs) -> anyhow::Result<()> {
    let store = storage::open_to_read(config)?;
    let filter = Filter { since: args.since, until: args.until, ..Filter::default() };
    let progress = Progress::events(store.stats()?.events);
    let mut output = Output::new();
    // A backup has everything, also what has expired and is about to be removed.
    reading::every(&store, filter, !args.reverse, 0, |record| {
        progress.advance(1);
        output.line(record.body())
    })?;
    output.flush()
}
