//! The wire: ranges of a message, read where they lie and written with as few bytes as they need.
//!
//! ```text
//! Message := 0x61 Range*
//! Range   := Bound mode payload      mode 0: skip, 1: fingerprint (16), 2: count, ids (32 each)
//! Bound   := timestamp length prefix timestamp 0: infinity, else 1 + what it is beyond the one before
//! ```
//! Each range begins where the one before ends. Numbers are base 128, most significant digits first.

use super::item::Item;
use super::sum::Fingerprint;
use crate::nostr::EventId;

/// The protocol version that is spoken here: 1.
pub const VERSION: u8 = 0x61;
/// Bytes with which any version begins.
const VERSIONS: std::ops::RangeInclusive<u8> = 0x60..=0x6f;
/// The longest number: 64 bits, seven a byte.
const VARINT: usize = 10;

/// Why bytes are no message, worded for the `invalid:` prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("the negentropy message is empty")]
    Empty,
    #[error("the first byte is no negentropy version")]
    NoVersion,
    #[error("the negentropy message ends too early")]
    Short,
    #[error("a number in the negentropy message is too large")]
    Number,
    #[error("an id prefix is longer than an id")]
    Prefix,
    #[error("the ranges of the negentropy message are out of order")]
    Order,
    #[error("mode {0} is not known")]
    Mode(u64),
    #[error("the other side does not speak version 1 of negentropy")]
    Version,
    #[error("the other side never comes to an end")]
    Endless,
}

/// Where a range ends. Places with the same beginning as `place` may be told with fewer bytes of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    pub place: Item,
    /// Bytes of the id that are told; the rest is zero.
    prefix: usize,
}

impl Bound {
    pub const END: Self = Self { place: Item::END, prefix: 0 };

    /// Exactly before `item`.
    pub fn at(item: Item) -> Self {
        Self { place: item, prefix: item.id.0.len() }
    }

    /// Somewhere behind `last` and not behind `next`, in as few bytes as do.
    pub fn between(last: &Item, next: &Item) -> Self {
        let shared = last.id.0.iter().zip(next.id.0).take_while(|(a, b)| **a == *b).count();
        let prefix = if last.created_at == next.created_at { (shared + 1).min(next.id.0.len()) } else { 0 };
        let mut id = EventId([0; 32]);
        id.0[..prefix].copy_from_slice(&next.id.0[..prefix]);
        Self { place: Item { created_at: next.created_at, id }, prefix }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    Skip,
    Fingerprint(Fingerprint),
    Ids(&'a [[u8; 32]]),
}

#[derive(Debug, Clone, Copy)]
pub struct Range<'a> {
    pub end: Bound,
    pub payload: Payload<'a>,
}

/// Reads a message range by range.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    last: Item,
}

impl<'a> Reader<'a> {
    /// `None` when the message is of another version.
    pub fn new(message: &'a [u8]) -> Result<Option<Self>, FrameError> {
        let (version, rest) = message.split_first().ok_or(FrameError::Empty)?;
        match *version {
            VERSION => Ok(Some(Self { rest, last: Item::FIRST })),
            other if VERSIONS.contains(&other) => Ok(None),
            _ => Err(FrameError::NoVersion),
        }
    }

    /// `None` at the end of the message.
    pub fn read(&mut self) -> Result<Option<Range<'a>>, FrameError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let end = self.bound()?;
        let payload = match self.varint()? {
            0 => Payload::Skip,
            1 => Payload::Fingerprint(*self.take(16)?.first_chunk().ok_or(FrameError::Short)?),
            2 => {
                let bytes = self.varint()?.checked_mul(32).and_then(|bytes| usize::try_from(bytes).ok());
                Payload::Ids(self.take(bytes.ok_or(FrameError::Short)?)?.as_chunks().0)
            }
            mode => return Err(FrameError::Mode(mode)),
        };
        Ok(Some(Range { end, payload }))
    }

    fn bound(&mut self) -> Result<Bound, FrameError> {
        let created_at = match self.varint()? {
            0 => u64::MAX,
            beyond => self.last.created_at.saturating_add(beyond - 1),
        };
        let prefix = usize::try_from(self.varint()?).map_err(|_| FrameError::Prefix)?;
        let mut id = EventId([0; 32]);
        id.0.get_mut(..prefix).ok_or(FrameError::Prefix)?.copy_from_slice(self.take(prefix)?);
        // Behind the last moment there is no order of ids: our own end could not be told after one.
        let bound = match created_at {
            u64::MAX => Bound::END,
            created_at => Bound { place: Item { created_at, id }, prefix },
        };
        if bound.place < self.last {
            return Err(FrameError::Order);
        }
        self.last = bound.place;
        Ok(bound)
    }

    fn varint(&mut self) -> Result<u64, FrameError> {
        let mut number: u64 = 0;
        for at in 0..VARINT {
            let byte = *self.rest.get(at).ok_or(FrameError::Short)?;
            number = number.checked_mul(128).ok_or(FrameError::Number)? | u64::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[at + 1..];
                return Ok(number);
            }
        }
        Err(FrameError::Number)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], FrameError> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(FrameError::Short)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Writes a message range by range. Ranges to skip are put together, and left out at the end.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    last_s: u64,
    skipped: Option<Bound>,
}

impl Default for Writer {
    fn default() -> Self {
        Self { bytes: vec![VERSION], last_s: 0, skipped: None }
    }
}

impl Writer {
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub fn skip(&mut self, end: Bound) {
        self.skipped = Some(end);
    }

    pub fn fingerprint(&mut self, end: Bound, fingerprint: Fingerprint) {
        self.begin(end, 1);
        self.bytes.extend_from_slice(&fingerprint);
    }

    pub fn ids(&mut self, end: Bound, ids: &[EventId]) {
        self.begin(end, 2);
        put_varint(&mut self.bytes, ids.len() as u64);
        ids.iter().for_each(|id| self.bytes.extend_from_slice(&id.0));
    }

    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn begin(&mut self, end: Bound, mode: u64) {
        if let Some(skipped) = self.skipped.take() {
            self.bound(skipped);
            put_varint(&mut self.bytes, 0);
        }
        self.bound(end);
        put_varint(&mut self.bytes, mode);
    }

    fn bound(&mut self, bound: Bound) {
        match bound.place.created_at {
            u64::MAX => put_varint(&mut self.bytes, 0),
            // Ranges are written in order.
            created_at => put_varint(&mut self.bytes, 1 + created_at.saturating_sub(self.last_s)),
        }
        self.last_s = bound.place.created_at;
        put_varint(&mut self.bytes, bound.prefix as u64);
        self.bytes.extend_from_slice(&bound.place.id.0[..bound.prefix]);
    }
}

/// Appends a number as the protocol writes it.
pub fn put_varint(bytes: &mut Vec<u8>, number: u64) {
    let digits = (64 - (number | 1).leading_zeros()).div_ceil(7);
    for digit in (0..digits).rev() {
        let more = if digit > 0 { 0x80 } else { 0 };
        bytes.push((number >> (7 * digit)) as u8 & 0x7f | more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(message: &[u8]) -> Result<Vec<Range<'_>>, FrameError> {
        let mut reader = Reader::new(message)?.ok_or(FrameError::Version)?;
        let mut ranges = Vec::new();
        while let Some(range) = reader.read()? {
            ranges.push(range);
        }
        Ok(ranges)
    }

    #[test]
    fn numbers_are_written_as_the_protocol_has_them() {
        let written = |number| {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            bytes
        };
        assert_eq!(written(0), [0]);
        assert_eq!(written(127), [0x7f]);
        assert_eq!(written(128), [0x81, 0]);
        assert_eq!(written(u64::MAX), [0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    }

    #[test]
    fn what_is_written_is_read_back_with_skips_put_together() {
        let at = |created_at, byte| Item { created_at, id: EventId([byte; 32]) };
        let mut writer = Writer::default();
        writer.skip(Bound::at(at(5, 1)));
        writer.skip(Bound::between(&at(7, 1), &at(9, 2)));
        writer.fingerprint(Bound::between(&at(9, 2), &at(9, 3)), [7; 16]);
        writer.ids(Bound::END, &[EventId([8; 32])]);
        writer.skip(Bound::END);
        let bytes = writer.finish();
        let read: Vec<_> = all(&bytes).unwrap().into_iter().map(|range| (range.end, range.payload)).collect();
        let mut prefix = EventId([0; 32]);
        prefix.0[0] = 3;
        let expected = [
            (Bound { place: Item { created_at: 9, id: EventId([0; 32]) }, prefix: 0 }, Payload::Skip),
            (Bound { place: Item { created_at: 9, id: prefix }, prefix: 1 }, Payload::Fingerprint([7; 16])),
            (Bound::END, Payload::Ids(&[[8; 32]])),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_no_message_is_named() {
        let endless = [[VERSION].as_slice(), &[0xff; 20]].concat();
        let cases: [(&[u8], FrameError); 9] = [
            (&[], FrameError::Empty),
            (b"{", FrameError::NoVersion),
            (&[0x62, 0, 0], FrameError::Version),
            (&[VERSION, 0], FrameError::Short),
            (&[VERSION, 0, 0, 1, 9], FrameError::Short),
            (&[VERSION, 0, 0, 2, 0x8f, 0xff, 0xff, 0xff, 0x7f, 1], FrameError::Short),
            (&[VERSION, 0, 33], FrameError::Prefix),
            (&[VERSION, 0, 0, 3], FrameError::Mode(3)),
            (&endless, FrameError::Number),
        ];
        for (bytes, error) in cases {
            assert_eq!(all(bytes).err(), Some(error), "{bytes:x?}");
        }
        // The end is the end, whatever id is told with it.
        let ends = all(&[VERSION, 0, 1, 9, 0, 0, 0, 0]).unwrap();
        assert!(ends.iter().all(|range| range.end == Bound::END));
        // The same second, with a lower id.
        assert_eq!(all(&[VERSION, 2, 1, 9, 0, 1, 1, 8, 0]).err(), Some(FrameError::Order));
    }
}
