//! Every key of format 1, byte by byte. Numbers are big-endian, so that keys sort as numbers do.
//!
//! ```text
//! family       key                                                        value
//! -----------  ---------------------------------------------------------  --------------------------
//! events       |          position 40           |                         Record (store/record.rs)
//! ids          |            id 32               |                         created_at 8
//! author       | pubkey 8 |          position 40           |              -
//! author_kind  | pubkey 8 | kind 2 |          position 40           |     -
//! kind         | kind 2 |          position 40           |                -
//! tag          | name 1 | hash 8 |          position 40           |       -
//! tag_kind     | name 1 | hash 8 | kind 2 |         position 40         | -
//! expiry       | expiration 8 |          position 40           |          -
//! address      |         pubkey 32        | kind 2 | sha256(d) 32 |       position 40
//! deleted      | 01 |           id 32           |    pubkey 32    |       created_at 8 of a request
//!              | 02 |  pubkey 32  | kind 2 |    sha256(d) 32    |         created_at 8, inclusive
//!              | 03 |         pubkey 32         |                        created_at 8, inclusive: NIP-62
//!              | 04 |         pubkey 32         |                        the same, until all is removed
//! journal      | number 8 |                                               entry
//! meta         "format"                                                   4: this is format 1
//!              "counters"                                                 last sequence 8 | events 8
//!
//! position     | !created_at 8 |      id 32      |
//! ```
//!
//! A position ends every index key because it is the order of answers: walking a prefix yields events
//! newest first, ties by lower id, so a limit inside a tie is exact and no body is read to sort.
//!
//! `pubkey 8` and `hash 8` are the first bytes of the public key and of sha256(tag value). They only
//! narrow the search: the record is fetched anyway and the filter is checked on it, so a collision costs
//! time, never a wrong answer. Eight bytes halve the indexes; to slow down one author's index, someone
//! would have to find a key that shares 64 bits with the author's. Where a key alone decides (`address`,
//! `deleted`) it is whole.

use sha2::{Digest, Sha256};

use super::Position;
use crate::nostr::kind::{Retention, retention};
use crate::nostr::{EventId, EventView, Pubkey};

/// The only layout this program reads and writes.
pub const FORMAT: u32 = 1;

pub const EVENTS: &str = "events";
pub const IDS: &str = "ids";
pub const ADDRESS: &str = "address";
pub const DELETED: &str = "deleted";
pub const JOURNAL: &str = "journal";
pub const META: &str = "meta";

pub const META_FORMAT: &[u8] = b"format";
pub const META_COUNTERS: &[u8] = b"counters";

/// A family whose keys are a fixed prefix and a position, and whose values are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    Author,
    AuthorKind,
    Kind,
    Tag,
    TagKind,
    Expiry,
}

impl Index {
    pub const ALL: [Self; 6] = [Self::Author, Self::AuthorKind, Self::Kind, Self::Tag, Self::TagKind, Self::Expiry];

    pub fn family(self) -> &'static str {
        match self {
            Self::Author => "author",
            Self::AuthorKind => "author_kind",
            Self::Kind => "kind",
            Self::Tag => "tag",
            Self::TagKind => "tag_kind",
            Self::Expiry => "expiry",
        }
    }

    /// Bytes before the position.
    pub fn prefix_bytes(self) -> usize {
        match self {
            Self::Author | Self::Expiry => 8,
            Self::AuthorKind => 10,
            Self::Kind => 2,
            Self::Tag => 9,
            Self::TagKind => 11,
        }
    }
}

const MAX_PREFIX: usize = 11;

/// What one range of an index has in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefix {
    bytes: [u8; MAX_PREFIX],
    length: u8,
}

impl Prefix {
    pub fn author(pubkey: &Pubkey) -> Self {
        Self::default().with(&pubkey.0[..8])
    }

    pub fn author_kind(pubkey: &Pubkey, kind: u16) -> Self {
        Self::author(pubkey).with_kind(kind)
    }

    pub fn kind(kind: u16) -> Self {
        Self::default().with_kind(kind)
    }

    pub fn tag(name: u8, value: &[u8]) -> Self {
        Self::default().with(&[name]).with(&Sha256::digest(value)[..8])
    }

    /// `seconds` as in NIP-40.
    pub fn expiry(seconds: u64) -> Self {
        Self::default().with(&seconds.to_be_bytes())
    }

    /// The same range, of one kind only.
    pub fn with_kind(self, kind: u16) -> Self {
        self.with(&kind.to_be_bytes())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The key of the entry at `position`.
    pub fn at(&self, position: Position) -> IndexKey {
        let prefix = usize::from(self.length);
        let mut key = IndexKey { bytes: [0; MAX_PREFIX + Position::BYTES], length: prefix + Position::BYTES };
        key.bytes[..prefix].copy_from_slice(self.as_bytes());
        key.bytes[prefix..key.length].copy_from_slice(&position.to_bytes());
        key
    }

    /// Where an entry of this range stands; `None` when `key` is of another range.
    pub fn position(&self, key: &[u8]) -> Option<Position> {
        Some(Position::from_bytes(key.strip_prefix(self.as_bytes())?.try_into().ok()?))
    }

    fn with(mut self, part: &[u8]) -> Self {
        let start = usize::from(self.length);
        self.bytes[start..start + part.len()].copy_from_slice(part);
        self.length += part.len() as u8;
        self
    }
}

/// A key of an index family.
#[derive(Debug, Clone, Copy)]
pub struct IndexKey {
    bytes: [u8; MAX_PREFIX + Position::BYTES],
    length: usize,
}

impl AsRef<[u8]> for IndexKey {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Hands over every index range that an event stands in; a repeated tag is handed over twice.
pub fn each_range(event: &EventView<'_>, expiration: Option<u64>, mut range: impl FnMut(Index, Prefix)) {
    range(Index::Author, Prefix::author(event.pubkey));
    range(Index::AuthorKind, Prefix::author_kind(event.pubkey, event.kind));
    range(Index::Kind, Prefix::kind(event.kind));
    for (name, value) in event.index_tags {
        let tag = Prefix::tag(name, value);
        range(Index::Tag, tag);
        range(Index::TagKind, tag.with_kind(event.kind));
    }
    if let Some(seconds) = expiration {
        range(Index::Expiry, Prefix::expiry(seconds));
    }
}

/// Where one current version of an author is kept (NIP-01).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address([u8; 66]);

impl Address {
    /// The address that an event writes to, if its kind has one. A replaceable kind ignores its `d` tags.
    pub fn of(event: &EventView<'_>) -> Option<Self> {
        let identifier = match retention(event.kind) {
            Retention::Replaceable => &[],
            Retention::Addressable => event.index_tags.named(b'd').next().unwrap_or_default(),
            Retention::Regular | Retention::Ephemeral => return None,
        };
        Some(Self::new(event.pubkey, event.kind, identifier))
    }

    /// Reads the `kind:pubkey:d` of an `a` tag; `None` when no event could write there.
    pub fn parse(text: &[u8]) -> Option<(Pubkey, Self)> {
        let mut parts = std::str::from_utf8(text).ok()?.splitn(3, ':');
        let (kind, pubkey, identifier) = (parts.next()?, parts.next()?, parts.next()?);
        let (kind, pubkey) = (kind.parse().ok()?, Pubkey::from_hex(pubkey)?);
        let is_written = match retention(kind) {
            Retention::Replaceable => identifier.is_empty(),
            Retention::Addressable => true,
            Retention::Regular | Retention::Ephemeral => false,
        };
        is_written.then(|| (pubkey, Self::new(&pubkey, kind, identifier.as_bytes())))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn new(pubkey: &Pubkey, kind: u16, identifier: &[u8]) -> Self {
        let mut bytes = [0; 66];
        bytes[..32].copy_from_slice(&pubkey.0);
        bytes[32..34].copy_from_slice(&kind.to_be_bytes());
        bytes[34..].copy_from_slice(&Sha256::digest(identifier));
        Self(bytes)
    }
}

/// A key of the `deleted` family.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeletedKey(Vec<u8>);

impl DeletedKey {
    /// `author` asked that the event `id` be deleted.
    pub fn event(id: &EventId, author: &Pubkey) -> Self {
        Self([&[1], &id.0[..], &author.0[..]].concat())
    }

    /// The owner of `address` asked that what it holds be deleted.
    pub fn address(address: &Address) -> Self {
        Self([&[2], address.as_bytes()].concat())
    }

    /// `author` asked to vanish.
    pub fn vanished(author: &Pubkey) -> Self {
        Self([&[3], &author.0[..]].concat())
    }

    /// Events of one who asked to vanish are still to be removed.
    pub fn vanishing(author: &Pubkey) -> Self {
        Self([&[Self::VANISHING], &author.0[..]].concat())
    }

    /// With what every key of `vanishing` begins.
    pub const VANISHING: u8 = 4;

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_keys_lie_as_drawn() {
        let position = Position::new(1, EventId([7; 32]));
        let key = Prefix::tag(b'e', b"value").with_kind(0x0102).at(position);
        let hash = Sha256::digest(b"value");
        let drawn = [&b"e"[..], &hash[..8], &[1, 2], &(!1u64).to_be_bytes(), &[7; 32]].concat();
        assert_eq!(key.as_ref(), drawn);
    }

    #[test]
    fn every_prefix_has_the_length_its_family_is_told() {
        let (key, id) = (Pubkey([3; 32]), EventId([0; 32]));
        let tags = [b"t\0\x01x".as_slice()].concat();
        let index_tags = crate::nostr::IndexTags(&tags);
        let view = EventView { id: &id, pubkey: &key, created_at: 0, kind: 1, index_tags };
        let mut seen = 0;
        each_range(&view, Some(9), |index, prefix| {
            assert_eq!(prefix.as_bytes().len(), index.prefix_bytes());
            seen += 1;
        });
        assert_eq!(seen, Index::ALL.len());
    }

    #[test]
    fn an_address_is_read_as_its_event_writes_it() {
        let (key, id) = (Pubkey([3; 32]), EventId([0; 32]));
        let index_tags = crate::nostr::IndexTags(b"d\0\x03a:b");
        let view = EventView { id: &id, pubkey: &key, created_at: 0, kind: 30000, index_tags };
        let text = format!("30000:{key}:a:b");
        assert_eq!(Address::parse(text.as_bytes()), Address::of(&view).map(|address| (key, address)));
        for nowhere in ["1:", "x", &format!("1:{key}:"), &format!("0:{key}:d"), &format!("30000:{key}")] {
            assert_eq!(Address::parse(nowhere.as_bytes()), None, "{nowhere}");
        }
    }
}
