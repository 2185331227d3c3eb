//! `mercato delete`: removes events without leaving a deletion on record, so that they may come back.

use anyhow::ensure;

use super::output::Output;
use super::writing::Writing;
use super::{reading, storage};
use crate::clock::now_s;
use crate::config::Config;
use crate::nostr::Filter;

#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    /// Remove what matches this filter.
    #[arg(long, value_parser = super::parse_filter, required_unless_present = "age")]
    filter: Option<Filter>,
    /// Remove what is older than this many seconds.
    #[arg(long, value_name = "SECONDS")]
    age: Option<u64>,
    /// Only count them.
    #[arg(long)]
    dry_run: bool,
}

pub fn run(config: &Config, args: DeleteArgs) -> anyhow::Result<()> {
    let mut filter = args.filter.unwrap_or_default();
    ensure!(filter.limit.is_none(), "a limit is not heeded when events are removed, leave it out");
    if let Some(age) = args.age {
        let until = now_s().saturating_sub(age.saturating_add(1));
        filter.until = Some(filter.until.map_or(until, |own| own.min(until)));
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
