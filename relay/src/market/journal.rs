//! The scheduler's records, and what is not published of its tape, as bytes.
//!
//! ```text
//! offset  bytes  field
//!      0      1  format: 2 for a record, 3 for a note about the tape
//!      1      n  the record or note in postcard's encoding, to the end
//! ```
//! Format 1 had one lease for each job, and was never released: it is refused by its number.
//! postcard writes an enum's variant by its position, so the order of the record's variants is part of the format.

use mercato_scheduler::Record;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::tape::Note;

const RECORD: u8 = 2;
const NOTE: u8 = 3;

/// What an entry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Record(Record),
    Tape(Note),
}

/// An entry that this program did not write.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Written by a later program, or not a journal entry at all.
    #[error("journal entry has format {found}, this program reads {RECORD} and {NOTE}")]
    Format {
        /// The first byte; 0 for an empty entry.
        found: u8,
    },
    /// The bytes behind the format do not make what it should be.
    #[error("journal entry is damaged: {0}")]
    Damaged(#[from] postcard::Error),
    /// A whole entry, and then more.
    #[error("journal entry has {0} bytes too many")]
    TooLong(usize),
}

/// The entry for `record`.
pub fn encode(record: &Record) -> Vec<u8> {
    entry(RECORD, record)
}

/// The entry for a note about the tape.
pub fn encode_note(note: &Note) -> Vec<u8> {
    entry(NOTE, note)
}

fn entry<T: Serialize>(format: u8, value: &T) -> Vec<u8> {
    // Serialising into memory can fail only for types that postcard cannot hold; a test has every variant.
    postcard::to_extend(value, vec![format]).expect("postcard holds every entry")
}

/// What an entry holds.
///
/// # Errors
/// When it is not exactly what [`encode`] or [`encode_note`] makes.
pub fn decode(entry: &[u8]) -> Result<Entry, EntryError> {
    match entry.split_first() {
        Some((&RECORD, record)) => whole(record).map(Entry::Record),
        Some((&NOTE, note)) => whole(note).map(Entry::Tape),
        other => Err(EntryError::Format { found: other.map_or(0, |(format, _)| *format) }),
    }
}

fn whole<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EntryError> {
    match postcard::take_from_bytes(bytes)? {
        (value, []) => Ok(value),
        (_, rest) => Err(EntryError::TooLong(rest.len())),
    }
}
