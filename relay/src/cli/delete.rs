//! `mercato delete`: removes events without leaving a deletion on record, so that they may come back.

use anyhow::ensure;

use super::output::Output;
use super::range::{self, Range};
use super::writing::Writing;
use super::{reading, storage};
use crate::clock::now_s;
use crate::config::Config;
use crate::nostr::Filter;

#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    /// Remove what matches this filter.
    #[arg(long, value_parser = super::parse_filter, required_unless_present_any = ["age", "range"])]
    filter: Option<Filter>,
    /// Remove what is as old as this or older: seconds, or a number with one of the units s m h d w M Y.
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    age: Option<u64>,
    /// Remove what is of these ages, as 2h- or 1Y-6M.
    #[arg(long, value_name = "START-END", allow_hyphen_values = true, conflicts_with = "age")]
    range: Option<Range>,
    /// Only count them.
    #[arg(long)]
    dry_run: bool,
}

pub fn run(config: &Config, args: DeleteArgs) -> anyhow::Result<()> {
    let mut filter = args.filter.unwrap_or_default();
    ensure!(filter.limit.is_none(), "a limit is not heeded when events are removed, leave it out");
    if let Some(age) = args.age {
        let until = now_s().saturating_sub(age);
        filter.until = Some(filter.until.map_or(until, |own| own.min(until)));
    }
    if let Some(range) = args.range {
        range.restrict(&mut filter, now_s())?;
    }
    let mut output = Output::new();
    if args.dry_run {
        let mut count = 0_u64;
        let store = storage::open_to_read(config)?;
        reading::every(&store, filter, false, 0, |_| {
            count += 1;
            Ok(())
        })?;
        output.line(format!("{count} events would be removed"))?;
    } else {
        let mut writing = Writing::open(config)?;
        let removed = writing.delete(filter)?;
        writing.finish()?;
        output.line(format!("{removed} events removed"))?;
    }
    output.flush()
}

fn parse_age(text: &str) -> anyhow::Result<u64> {
    text.parse().or_else(|_| range::age(text))
}
