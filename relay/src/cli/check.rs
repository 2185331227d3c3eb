//! `mercato check`: whether indexes, counters, addresses, deletions and the journal agree with the events.
//!
//! It reads the store as it is when the check begins, with or without a relay beside it.

use anyhow::{bail, ensure};

use super::output::Output;
use super::progress::Progress;
use super::storage;
use crate::config::Config;
use crate::market::journal;
use crate::store::Store;
use crate::store::rocks::Checking;

/// Faults that are told one by one; more are only counted.
const TOLD: u64 = 1_000;

#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Check every signature too, which takes longer than all else.
    #[arg(long)]
    signatures: bool,
}

pub fn run(config: &Config, args: &CheckArgs) -> anyhow::Result<()> {
    let store = storage::open_to_read(config)?;
    let stats = store.stats()?;
    let progress = Progress::events(stats.events);
    let (mut output, mut faults, mut printed) = (Output::new(), 0_u64, Ok(()));
    let mut tell = |text: String| {
        faults += 1;
        if faults <= TOLD && printed.is_ok() {
            printed = output.line(text);
        }
    };
    store.check(&mut Checking {
        signatures: args.signatures,
        progress: &mut || progress.advance(1),
        found: &mut |fault| tell(fault.to_string()),
    })?;
    let entries = store.journal()?;
    for (place, fault) in entries.iter().enumerate().filter_map(|(at, entry)| Some((at, journal::decode(entry).err()?)))
    {
        tell(format!("entry {place} of the journal: {fault}"));
    }
    drop(progress);
    printed?;
    if faults == 0 {
        output.line(format!("{} events and {} journal entries are sound", stats.events, entries.len()))?;
    }
    output.flush()?;
    ensure!(faults <= TOLD, "{faults} faults, the first {TOLD} are told");
    match faults {
        0 => Ok(()),
        1 => bail!("1 fault"),
        _ => bail!("{faults} faults"),
    }
}
