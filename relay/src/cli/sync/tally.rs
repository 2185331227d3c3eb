//! What a sync has found and done, counted and told.

use std::fmt;

use crate::nostr::EventId;

/// Refusals that are told one by one.
const SHOWN: u64 = 20;

#[derive(Debug, Default)]
pub struct Tally {
    pub have: u64,
    pub need: u64,
    /// Came down and is new.
    pub stored: u64,
    /// Had come in another way meanwhile.
    pub known: u64,
    /// Came down, and was spoilt or not wanted.
    pub refused_here: u64,
    /// Went up and was taken, or had been before.
    pub taken: u64,
    pub refused_there: u64,
    pub rounds: u32,
    pub bytes_up: u64,
    pub bytes_down: u64,
}

impl Tally {
    pub fn refuse_here(&mut self, id: &EventId, reason: &str) {
        self.refused_here += 1;
        tell(self.refused_here, "not stored", id, reason);
    }

    pub fn refuse_there(&mut self, id: &EventId, reason: &str) {
        self.refused_there += 1;
        tell(self.refused_there, "refused by the relay", id, reason);
    }
}

fn tell(nth: u64, what: &str, id: &EventId, reason: &str) {
    match nth {
        ..=SHOWN => eprintln!("{what}: {id}: {reason}"),
        _ if nth == SHOWN + 1 => eprintln!("{what}: and more"),
        _ => {}
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { have, need, stored, known, refused_here, taken, refused_there, rounds, .. } = self;
        write!(f, "have {have}, need {need}; down: {stored} stored, {known} duplicates, {refused_here} refused; ")?;
        write!(f, "up: {taken} taken, {refused_there} refused; ")?;
        write!(f, "{rounds} rounds, {} bytes sent, {} received", self.bytes_up, self.bytes_down)
    }
}
