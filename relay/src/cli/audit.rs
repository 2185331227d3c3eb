//! `mercato audit`: plays a relay's tape and holds its leases against what comes out (docs/market.md).
//!
//! It needs nothing but the relay's events, as `mercato export` or any Nostr client writes them.

use std::path::PathBuf;

use anyhow::{bail, ensure};

use super::import::check::{self, Check, Checked};
use super::import::read::Input;
use super::output::Output;
use super::progress::Progress;
use crate::config::Config;
use crate::market::{Audit, Report};
use crate::nostr::{Event, Pubkey, kind};

/// Lines that are read at once.
const BATCH: usize = 1_000;
/// A page of a tape may be longer than what clients may publish.
const LINE: usize = 16 << 20;

#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    /// Events of the relay, one a line; standard input when there is none, or for `-`.
    file: Option<PathBuf>,
    /// The relay's key, `self` of its NIP-11 document, in hex; not needed where there is one tape only.
    #[arg(long, value_name = "PUBKEY", value_parser = pubkey)]
    relay: Option<Pubkey>,
}

pub fn run(config: &Config, args: &AuditArgs) -> anyhow::Result<()> {
    let max_line_bytes = config.limits.max_event_bytes.saturating_mul(8).max(LINE);
    let input = Input::open(args.file.as_deref(), max_line_bytes, BATCH)?;
    let progress = Progress::bytes(input.total_bytes);
    let events = ours(input, args.relay, &progress)?;
    drop(progress);
    let relay = match args.relay {
        Some(relay) => relay,
        None => only_author(&events)?,
    };
    let mut audit = Audit::default();
    for event in events {
        audit.add(&relay, event).map_err(anyhow::Error::msg)?;
    }
    let report = audit.run();
    let mut output = Output::new();
    for line in words(&report) {
        output.line(line)?;
    }
    output.flush()?;
    ensure!(report.tapes > 0, "no tape of {relay} begins among these events");
    match report.difference {
        Some(difference) => bail!("{difference}"),
        None => Ok(()),
    }
}

/// What may be of a tape, with valid signatures.
fn ours(input: Input, relay: Option<Pubkey>, progress: &Progress) -> anyhow::Result<Vec<Event>> {
    let mut events = Vec::new();
    check::every(input, Check::Signature, |bytes, batch| {
        progress.advance(bytes);
        for Checked { line, event } in batch {
            let event = event.map_err(|fault| anyhow::anyhow!("line {line}: {fault}"))?;
            let is_wanted = matches!(event.kind, kind::MARKET_TAPE | kind::JOB_FEEDBACK);
            if is_wanted && relay.is_none_or(|relay| relay == event.pubkey) {
                events.push(*event);
            }
        }
        Ok(())
    })?;
    Ok(events)
}

fn only_author(events: &[Event]) -> anyhow::Result<Pubkey> {
    let mut authors: Vec<Pubkey> =
        events.iter().filter(|event| event.kind == kind::MARKET_TAPE).map(|event| event.pubkey).collect();
    authors.sort_unstable();
    authors.dedup();
    match authors[..] {
        [] => bail!("there is no tape among these events (kind {})", kind::MARKET_TAPE),
        [author] => Ok(author),
        [..] => bail!("there are tapes of {} relays: say which by --relay", authors.len()),
    }
}

fn words(report: &Report) -> Vec<String> {
    let Report { tapes, lines, equal, missing, beyond, loose, sealed, difference } = report;
    let mut words = vec![format!("{lines} lines of {tapes} tapes played: {equal} leases are as published")];
    let told = [
        (*missing, "leases come out that are not among the events"),
        (*beyond, "leases are from before or after what could be played"),
        (*loose, "pages of the tape could not be played: pages before them are missing"),
    ];
    words.extend(told.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    words.extend(sealed.map(|line| format!("line {line} is sealed until its job has ended; no more was played")));
    if difference.is_none() {
        words.push("no difference".to_owned());
    }
    words
}

fn pubkey(text: &str) -> Result<Pubkey, String> {
    Pubkey::from_hex(text).ok_or_else(|| "not 64 hex digits in lower case".to_owned())
}
