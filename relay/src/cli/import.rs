//! `mercato import`: events from JSON lines into the store, as fast as their signatures can be checked.
//!
//! `read` cuts the input into batches, `check` has every core parse and verify them, and here they are stored in the
//! order of the input.

mod check;
mod read;
mod tally;

use std::path::PathBuf;

use anyhow::bail;

use self::check::Checked;
use self::read::Input;
use self::tally::Tally;
use super::output::Output;
use super::progress::Progress;
use super::writing::Writing;
use crate::config::Config;
use crate::control::Answer;
use crate::nostr::{Event, EventId};

#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// One event a line; standard input when there is none, or for `-`.
    file: Option<PathBuf>,
    /// Say on stderr why each event that is not stored is not.
    #[arg(long)]
    show_rejected: bool,
    /// Do not check signatures (ids are checked all the same).
    #[arg(long)]
    no_verify: bool,
}

pub fn run(config: &Config, args: ImportArgs) -> anyhow::Result<()> {
    // Canonical escapes take up to six bytes for one.
    let input = Input::open(args.file.as_deref(), config.limits.max_event_bytes.saturating_mul(6))?;
    let progress = Progress::bytes(input.total_bytes);
    let mut writing = Writing::open_for_import(config)?;
    let mut tally = Tally::new(args.show_rejected);
    check::every(input, !args.no_verify, |bytes, batch| {
        store(&mut writing, batch, &mut tally, &progress)?;
        progress.advance(bytes);
        progress.say(tally.to_string());
        Ok(())
    })?;
    writing.finish()?;
    tally.close(&progress);
    drop(progress);
    let mut output = Output::new();
    output.line(tally.to_string())?;
    output.flush()
}

/// Stores one batch, and counts what became of it.
fn store(writing: &mut Writing, batch: Vec<Checked>, tally: &mut Tally, progress: &Progress) -> anyhow::Result<()> {
    let mut events: Vec<Event> = Vec::with_capacity(batch.len());
    let mut sent: Vec<(u64, EventId)> = Vec::with_capacity(batch.len());
    for checked in batch {
        match checked.event {
            Ok(event) => {
                sent.push((checked.line, event.id));
                events.push(*event);
            }
            Err(fault) => tally.faulty(checked.line, &fault, progress),
        }
    }
    for ((line, id), answer) in sent.into_iter().zip(writing.import(events)?) {
        match answer {
            Answer::Stored => tally.stored += 1,
            Answer::Duplicate => tally.duplicates += 1,
            Answer::Refused(reason) => tally.refused(line, &id, &reason, progress),
            Answer::Error(text) => bail!("line {line}: {text}; {tally} until then"),
            other @ (Answer::Info(_) | Answer::Deleted(_) | Answer::Compacted | Answer::Checkpoint(_)) => {
                bail!("line {line}: the answer does not fit: {other:?}")
            }
        }
    }
    Ok(())
}
