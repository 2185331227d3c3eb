//! `mercato scan`: what a subscription with this filter would be given, without the relay's limits.

use std::time::Duration;

use super::output::Output;
use super::range::Range;
use super::reading::Effort;
use super::{reading, storage};
use crate::clock::now_s;
use crate::config::Config;
use crate::nostr::Filter;
use crate::store::Scan;

#[derive(Debug, clap::Args)]
pub struct ScanArgs {
    /// As in a REQ: '{"kinds":[1],"limit":10}'.
    #[arg(value_parser = super::parse_filter)]
    filter: Filter,
    /// Only events of these ages, as 2h- or 1Y-6M (units s m h d w M Y).
    #[arg(long, value_name = "START-END", allow_hyphen_values = true)]
    range: Option<Range>,
    /// Print only how many there are.
    #[arg(long)]
    count: bool,
    /// Work for so long at a time, then rest as long: leaves half of the machine to a busy relay.
    #[arg(long, value_name = "MICROSECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pause: Option<u64>,
    /// Say on stderr what the scan cost.
    #[arg(long)]
    metrics: bool,
}

pub fn run(config: &Config, args: ScanArgs) -> anyhow::Result<()> {
    let (mut filter, now) = (args.filter, now_s());
    if let Some(range) = args.range {
        range.restrict(&mut filter, now)?;
    }
    let store = storage::open_to_read(config)?;
    let mut output = Output::new();
    let scan = Scan { now, ..Scan::new(filter) };
    let effort = reading::with_rests(&store, scan, args.pause.map(Duration::from_micros), |record| match args.count {
        true => Ok(()),
        false => output.line(record.body()),
    })?;
    if args.count {
        output.line(effort.events.to_string())?;
    }
    output.flush()?;
    if args.metrics {
        eprintln!("{}", told(effort));
    }
    Ok(())
}

fn told(effort: Effort) -> String {
    let Effort { events, slices, busy, longest } = effort;
    let (busy, longest) = (busy.as_micros(), longest.as_micros());
    format!("{events} events, {slices} slices, {busy} us of work, {longest} us at a time at most")
}
