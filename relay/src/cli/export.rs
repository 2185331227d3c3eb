//! `mercato export`: the whole store as JSON lines, which `mercato import` and other relays read.

use super::output::Output;
use super::progress::Progress;
use super::range::Range;
use super::{reading, storage};
use crate::clock::now_s;
use crate::config::Config;
use crate::nostr::{Event, Filter, fried};
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// No events older than this, in seconds since 1970.
    #[arg(long, value_name = "SECONDS")]
    since: Option<u64>,
    /// No events newer than this, in seconds since 1970.
    #[arg(long, value_name = "SECONDS")]
    until: Option<u64>,
    /// Only events of these ages, as 2h- or 1Y-6M (units s m h d w M Y).
    #[arg(long, value_name = "START-END", allow_hyphen_values = true)]
    range: Option<Range>,
    /// Newest first.
    #[arg(long)]
    reverse: bool,
    /// Add to each event what strfry's indexes need, for `strfry import --fried`.
    #[arg(long)]
    fried: bool,
}

pub fn run(config: &Config, args: &ExportArgs) -> anyhow::Result<()> {
    let store = storage::open_to_read(config)?;
    let mut filter = Filter { since: args.since, until: args.until, ..Filter::default() };
    if let Some(range) = args.range {
        range.restrict(&mut filter, now_s())?;
    }
    let progress = Progress::events(store.stats()?.events);
    let mut output = Output::new();
    // A backup has everything, also what has expired and is about to be removed.
    reading::every(&store, filter, !args.reverse, 0, |record| {
        progress.advance(1);
        match args.fried {
            true => output.line(fry(&record.body())?),
            false => output.line(record.body()),
        }
    })?;
    output.flush()
}

fn fry(body: &[u8]) -> anyhow::Result<String> {
    Ok(fried::write(&Event::parse(std::str::from_utf8(body)?)?))
}
