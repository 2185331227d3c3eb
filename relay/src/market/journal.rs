//! The scheduler's records as bytes.
//!
//! ```text
//! offset  bytes  field
//!      0      1  format: 2
//!      1      n  the record in postcard's encoding, to the end
//! ```
//! Format 1 had one lease for each job, and was never released: it is refused by its number.
//! postcard writes an enum's variant by its position, so the order of the record's variants is part of the format.

use mercato_scheduler::Record;

const FORMAT: u8 = 2;

/// An entry that this program did not write.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Written by a later program, or not a journal entry at all.
    #[error("journal entry has format {found}, this program reads {FORMAT}")]
    Format {
        /// The first byte; 0 for an empty entry.
        found: u8,
    },
    /// The bytes behind the format do not make a record.
    #[error("journal entry is damaged: {0}")]
    Damaged(#[from] postcard::Error),
    /// A record, and then more.
    #[error("journal entry has {0} bytes too many")]
    TooLong(usize),
}

/// The entry for `record`.
pub fn encode(record: &Record) -> Vec<u8> {
    // Serialising into memory can fail only for types that postcard cannot hold; a test has every variant.
    postcard::to_extend(record, vec![FORMAT]).expect("postcard holds every record")
}

/// The record of an entry.
///
/// # Errors
/// When it is not exactly what [`encode`] makes.
pub fn decode(entry: &[u8]) -> Result<Record, EntryError> {
    match entry.split_first() {
        Some((&FORMAT, record)) => match postcard::take_from_bytes(record)? {
            (record, []) => Ok(record),
            (_, rest) => Err(EntryError::TooLong(rest.len())),
        },
        other => Err(EntryError::Format { found: other.map_or(0, |(format, _)| *format) }),
    }
}
