//! An event as it lies in the store.
//!
//! ```text
//! offset  bytes  field
//!      0      8  sequence, big-endian: order of storing, never reused
//!      8     32  pubkey
//!     40      2  kind, big-endian
//!     42      8  expiration, big-endian seconds (NIP-40); 0 when none
//!     50      4  length of the index tags, big-endian
//!     54      n  index tags, each: name (1), length (2, big-endian), value
//!   54+n         the event as JSON, to the end
//! ```
//! `created_at` and the id are in the key (`Position`).

use bytes::Bytes;

use super::{Position, StoreError};
use crate::nostr::{Event, EventView, IndexTags, Pubkey};

const HEADER: usize = 54;

/// What filters, read permissions and NIP-77 look at, read where it lies: nothing is copied, and no body kept.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    pub position: Position,
    pub sequence: u64,
    pub pubkey: Pubkey,
    pub kind: u16,
    /// Seconds; `None` when the event does not end.
    pub expiration: Option<u64>,
    pub index_tags: IndexTags<'a>,
}

impl<'a> Head<'a> {
    /// Reads the head of a stored value; also where its body starts.
    pub fn decode(position: Position, bytes: &'a [u8]) -> Result<(Self, usize), StoreError> {
        let header: &[u8; HEADER] = bytes.first_chunk().ok_or(StoreError::Damaged("event record"))?;
        let body_start = HEADER.saturating_add(u32::from_be_bytes(field(header, 50)) as usize);
        let tags = bytes.get(HEADER..body_start).ok_or(StoreError::Damaged("event record"))?;
        let expiration = u64::from_be_bytes(field(header, 42));
        let head = Self {
            position,
            sequence: u64::from_be_bytes(field(header, 0)),
            pubkey: Pubkey(field(header, 8)),
            kind: u16::from_be_bytes(field(header, 40)),
            expiration: (expiration != 0).then_some(expiration),
            index_tags: IndexTags(tags),
        };
        Ok((head, body_start))
    }

    pub fn view(&self) -> EventView<'_> {
        EventView {
            id: &self.position.id,
            pubkey: &self.pubkey,
            created_at: self.position.created_at(),
            kind: self.kind,
            index_tags: self.index_tags,
        }
    }

    pub fn is_expired(&self, now: u64) -> bool {
        self.expiration.is_some_and(|end| end <= now)
    }
}

/// A stored event: its place and its bytes, which are shared and never copied again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub position: Position,
    pub sequence: u64,
    pub pubkey: Pubkey,
    pub kind: u16,
    /// Seconds; `None` when the event does not end.
    pub expiration: Option<u64>,
    bytes: Bytes,
    body_start: usize,
}

impl Record {
    /// The value stored for `event`.
    pub fn encode(event: &Event, sequence: u64) -> Vec<u8> {
        let tags = event.index_tags().0;
        let mut bytes = Vec::with_capacity(HEADER + tags.len() + event.body().len());
        bytes.extend_from_slice(&sequence.to_be_bytes());
        bytes.extend_from_slice(&event.pubkey.0);
        bytes.extend_from_slice(&event.kind.to_be_bytes());
        // 0 stands for none; an end at 0 is as past as one at 1.
        bytes.extend_from_slice(&event.expiration.map_or(0, |end| end.max(1)).to_be_bytes());
        bytes.extend_from_slice(&(tags.len() as u32).to_be_bytes());
        bytes.extend_from_slice(tags);
        bytes.extend_from_slice(event.body());
        bytes
    }

    pub fn decode(position: Position, bytes: Bytes) -> Result<Self, StoreError> {
        let (Head { sequence, pubkey, kind, expiration, .. }, body_start) = Head::decode(position, &bytes)?;
        Ok(Self { position, sequence, pubkey, kind, expiration, body_start, bytes })
    }

    pub fn head(&self) -> Head<'_> {
        Head {
            position: self.position,
            sequence: self.sequence,
            pubkey: self.pubkey,
            kind: self.kind,
            expiration: self.expiration,
            index_tags: self.index_tags(),
        }
    }

    pub fn view(&self) -> EventView<'_> {
        EventView {
            id: &self.position.id,
            pubkey: &self.pubkey,
            created_at: self.position.created_at(),
            kind: self.kind,
            index_tags: self.index_tags(),
        }
    }

    pub fn index_tags(&self) -> IndexTags<'_> {
        IndexTags(&self.bytes[HEADER..self.body_start])
    }

    /// The event as JSON, as it was first built.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(self.body_start..)
    }

    /// Bytes the record takes in memory, for caches that are bounded by bytes.
    pub fn weight(&self) -> usize {
        std::mem::size_of::<Self>() + self.bytes.len()
    }

    /// The event with every field, read back from its body.
    pub fn event(&self) -> Result<Event, StoreError> {
        let body = std::str::from_utf8(&self.bytes[self.body_start..]);
        let body = body.map_err(|_| StoreError::Damaged("event body"))?;
        Event::parse(body).map_err(|_| StoreError::Damaged("event body"))
    }

    pub fn is_expired(&self, now: u64) -> bool {
        self.expiration.is_some_and(|end| end <= now)
    }
}

/// `N` bytes of the fixed header; the offsets are constants within it.
fn field<const N: usize>(header: &[u8; HEADER], at: usize) -> [u8; N] {
    header[at..at + N].try_into().expect("a field inside the header")
}
