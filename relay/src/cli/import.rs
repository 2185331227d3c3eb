//! `mercato import`: events from JSON lines into the store, as fast as their signatures can be checked.
//!
//! `read` cuts the input into batches, `check` has every core parse and verify them, and here they are stored in the
//! order of the input.

pub(super) mod check;
mod judge;
pub(super) mod read;
mod tally;

use std::path::PathBuf;

use anyhow::bail;

use self::check::{Check, Checked};
use self::judge::Judge;
use self::read::Input;
use self::tally::Tally;
use super::output::Output;
use super::progress::Progress;
use super::writing::Writing;
use crate::config::Config;
use crate::control::{Answer, WINDOW};
use crate::nostr::{Event, EventId};
use crate::policy::Verdict;

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
    /// The events come from `export --fried`: check that they hold together, but no signatures.
    #[arg(long)]
    fried: bool,
    /// Events that are handed to the store at once, 1000 at most.
    #[arg(long, value_name = "COUNT", default_value_t = WINDOW as u64, value_parser = clap::value_parser!(u64).range(1..))]
    write_batch: u64,
    /// Of strfry; there is nothing to set here.
    #[arg(long, hide = true)]
    debounce_millis: Option<u64>,
}

pub fn run(config: &Config, args: ImportArgs) -> anyhow::Result<()> {
    // Canonical escapes take up to six bytes for one, what is packed of a tag two.
    let max_line_bytes = config.limits.max_event_bytes.saturating_mul(8).saturating_add(512);
    let batch = usize::try_from(args.write_batch).unwrap_or(WINDOW).min(WINDOW);
    let input = Input::open(args.file.as_deref(), max_line_bytes, batch)?;
    let progress = Progress::bytes(input.total_bytes);
    let mut writing = Writing::open_for_import(config)?;
    let judge = Judge::start(config)?;
    let mut tally = Tally::new(args.show_rejected);
    let check = match (args.fried, args.no_verify) {
        (true, _) => Check::Fried,
        (false, true) => Check::Id,
        (false, false) => Check::Signature,
    };
    check::every(input, check, |bytes, batch| {
        let events = valid(batch, judge.as_ref(), &mut tally, &progress);
        store(&mut writing, events, &mut tally, &progress)?;
        progress.advance(bytes);
        progress.say(tally.to_string());
        Ok(())
    })?;
    writing.finish()?;
    if let Some(judge) = judge {
        judge.finish();
    }
    tally.close(&progress);
    drop(progress);
    let mut output = Output::new();
    output.line(tally.to_string())?;
    output.flush()
}

/// What of a batch may be stored, with its line. The rest is counted.
fn valid(batch: Vec<Checked>, judge: Option<&Judge>, tally: &mut Tally, progress: &Progress) -> Vec<(u64, Event)> {
    let (mut lines, mut events) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
    for checked in batch {
        match checked.event {
            Ok(event) => {
                lines.push(checked.line);
                events.push(*event);
            }
            Err(fault) => tally.faulty(checked.line, &fault, progress),
        }
    }
    let Some(judge) = judge else { return lines.into_iter().zip(events).collect() };
    let verdicts = judge.ask(&events);
    let mut accepted = Vec::with_capacity(events.len());
    for ((line, event), verdict) in lines.into_iter().zip(events).zip(verdicts) {
        match verdict {
            Verdict::Accept => accepted.push((line, event)),
            Verdict::Reject(text) | Verdict::Shadow(text) => tally.refused(line, &event.id, &text, progress),
        }
    }
    accepted
}

/// Stores events, and counts what became of them.
fn store(
    writing: &mut Writing,
    events: Vec<(u64, Event)>,
    tally: &mut Tally,
    progress: &Progress,
) -> anyhow::Result<()> {
    let (sent, events): (Vec<(u64, EventId)>, Vec<Event>) =
        events.into_iter().map(|(line, event)| ((line, event.id), event)).unzip();
    for ((line, id), answer) in sent.into_iter().zip(writing.import(events)?) {
        match answer {
            Answer::Stored => tally.stored += 1,
            Answer::Duplicate => tally.duplicates += 1,
            Answer::Refused(reason) => tally.refused(line, &id, &reason, progress),
            Answer::Error(text) => bail!("line {line}: {text}; {tally} until then"),
            other @ (Answer::Info(_)
            | Answer::Links(_)
            | Answer::Deleted(_)
            | Answer::Compacted
            | Answer::Checkpoint(_)
            | Answer::Connections(_)
            | Answer::Connection(_)
            | Answer::Trees(_)
            | Answer::Begun) => {
                bail!("line {line}: the answer does not fit: {other:?}")
            }
        }
    }
    Ok(())
}
