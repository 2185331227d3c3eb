//! What became of the events, counted and told.

use std::collections::BTreeMap;
use std::fmt;

use crate::cli::progress::Progress;
use crate::nostr::EventId;

/// Faulty lines that are told one by one, unless all rejections are asked for.
const FAULTS_SHOWN: u64 = 20;
/// Reasons that are counted apart; a plugin may have as many as it likes.
const REASONS: usize = 20;

/// The count so far.
#[derive(Debug, Default)]
pub struct Tally {
    pub stored: u64,
    pub duplicates: u64,
    refused: u64,
    faulty: u64,
    /// Why valid events are not kept, and how many.
    reasons: BTreeMap<String, u64>,
    show_all: bool,
}

impl Tally {
    /// `show_all`: every rejection is told.
    pub fn new(show_all: bool) -> Self {
        Self { show_all, ..Self::default() }
    }

    /// A line that does not hold a valid event.
    pub fn faulty(&mut self, line: u64, fault: &str, progress: &Progress) {
        self.faulty += 1;
        if self.show_all || self.faulty <= FAULTS_SHOWN {
            progress.print(&format!("line {line}: {fault}"));
        }
    }

    /// A valid event that is not kept.
    pub fn refused(&mut self, line: u64, id: &EventId, reason: &str, progress: &Progress) {
        self.refused += 1;
        if self.reasons.len() < REASONS || self.reasons.contains_key(reason) {
            *self.reasons.entry(reason.to_owned()).or_default() += 1;
        }
        if self.show_all {
            progress.print(&format!("line {line}: {id}: {reason}"));
        }
    }

    /// Says what was left unsaid.
    pub fn close(&self, progress: &Progress) {
        if self.show_all {
            return;
        }
        let unsaid = self.faulty.saturating_sub(FAULTS_SHOWN);
        if unsaid > 0 {
            progress.print(&format!("and {unsaid} more lines; --show-rejected shows all"));
        }
        for (reason, count) in &self.reasons {
            progress.print(&format!("{count} not kept: {reason}"));
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rejected = self.refused + self.faulty;
        write!(f, "{} stored, {} duplicates, {rejected} rejected", self.stored, self.duplicates)
    }
}
