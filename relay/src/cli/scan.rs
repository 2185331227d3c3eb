//! `mercato scan`: what a subscription with this filter would be given, without the relay's limits.

use super::output::Output;
use super::{reading, storage};
use crate::clock::now_s;
use crate::config::Config;
use crate::nostr::Filter;

#[derive(Debug, clap::Args)]
pub struct ScanArgs {
    /// As in a REQ: '{"kinds":[1],"limit":10}'.
    #[arg(value_parser = super::parse_filter)]
    filter: Filter,
    /// Print only how many there are.
    #[arg(long)]
    count: bool,
}

pub fn run(config: &Config, args: ScanArgs) -> anyhow::Result<()> {
    let store = storage::open_to_read(config)?;
    let mut output = Output::new();
    let mut count = 0_u64;
    reading::every(&store, args.filter, false, now_s(), |record| {
        count += 1;
        if args.count { Ok(()) } else { output.line(record.body()) }
    })?;
    if args.count {
        output.line(count.to_string())?;
    }
    output.flush()
}
