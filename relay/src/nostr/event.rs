//! One event, checked for form and held as the bytes that will be stored and sent.

use std::ops::Range;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::hex::{self, hex_newtype};
use super::json::{Cursor, JsonError, RawStr};
use super::kind::{self, Retention};

hex_newtype!(
    /// sha256 of an event's canonical form (NIP-01).
    EventId, 32
);
hex_newtype!(
    /// A BIP-340 x-only public key.
    Pubkey, 32
);

/// Why a text is not an event, worded for the `invalid:` prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    #[error("{0}")]
    Json(#[from] JsonError),
    #[error("field {0} is missing")]
    Missing(&'static str),
    #[error("field {0} stands twice")]
    Twice(&'static str),
    #[error("{0} must be {1} lower-case hex digits")]
    NotHex(&'static str, usize),
    #[error("kind must be between 0 and 65535")]
    Kind,
    #[error("bad event id")]
    Id,
    #[error("bad signature")]
    Signature,
}

/// An event whose fields have the right form and whose id is the hash of its content.
///
/// The signature is checked apart (`verify_signature`): it costs more than all else together.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    pub id: EventId,
    pub pubkey: Pubkey,
    /// Seconds since 1970.
    pub created_at: u64,
    pub kind: u16,
    pub signature: [u8; 64],
    /// When NIP-40 says that it ends, in seconds since 1970.
    pub expiration: Option<u64>,
    /// NIP-70: only its author may publish it.
    pub protected: bool,
    pub tag_count: usize,
    /// Bytes of the longest tag value.
    pub longest_tag_value: usize,
    index_tags: Box<[u8]>,
    /// The event as one line of JSON in canonical escapes: stored, sent and exported as it is.
    body: Bytes,
    tags: Range<usize>,
    content: Range<usize>,
}

/// The part of an event that filters look at, wherever it is held.
#[derive(Debug, Clone, Copy)]
pub struct EventView<'a> {
    pub id: &'a EventId,
    pub pubkey: &'a Pubkey,
    pub created_at: u64,
    pub kind: u16,
    pub index_tags: IndexTags<'a>,
}

/// First values of single-letter tags, packed: name (1 byte), length (2, big-endian), value.
#[derive(Debug, Clone, Copy)]
pub struct IndexTags<'a>(pub &'a [u8]);

impl<'a> IndexTags<'a> {
    /// Values under one name, in the event's order.
    pub fn named(self, name: u8) -> impl Iterator<Item = &'a [u8]> {
        self.filter(move |(n, _)| *n == name).map(|(_, value)| value)
    }
}

impl<'a> Iterator for IndexTags<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[name, high, low], rest) = self.0.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        self.0 = rest;
        Some((name, value))
    }
}

/// The members of an event object as they stand in its text.
#[derive(Default)]
struct Members<'a> {
    id: Option<[u8; 32]>,
    pubkey: Option<[u8; 32]>,
    created_at: Option<u64>,
    kind: Option<u64>,
    tags: Option<Tags>,
    content: Option<RawStr<'a>>,
    signature: Option<[u8; 64]>,
}

/// What one walk over the tags gathers.
#[derive(Default)]
struct Tags {
    canonical: String,
    index: Vec<u8>,
    count: usize,
    longest_value: usize,
    expiration: Option<u64>,
    protected: bool,
}

impl Event {
    /// Reads one event object; nothing may follow it. Members that NIP-01 does not know are dropped.
    pub fn parse(text: &str) -> Result<Self, EventError> {
        let mut cursor = Cursor::new(text);
        let event = Self::read(&mut cursor)?;
        cursor.end()?;
        Ok(event)
    }

    /// Reads one event object at the cursor and checks its id.
    pub fn read(cursor: &mut Cursor<'_>) -> Result<Self, EventError> {
        let mut members = Members::default();
        cursor.object(|key, cursor| members.read(key.raw, cursor))?;
        members.into_event()
    }

    /// Checks the BIP-340 signature over the id.
    pub fn verify_signature(&self) -> Result<(), EventError> {
        let key = secp256k1::XOnlyPublicKey::from_byte_array(self.pubkey.0).map_err(|_| EventError::Signature)?;
        secp256k1::schnorr::Signature::from_byte_array(self.signature)
            .verify(&self.id.0, &key)
            .map_err(|_| EventError::Signature)
    }

    /// Builds and signs an event. `tags` are written in order, `created_at` is in seconds.
    pub fn sign(key: &secp256k1::Keypair, created_at: u64, kind: u16, tags: &[Vec<String>], content: &str) -> Self {
        let pubkey = Pubkey(key.x_only_public_key().0.to_byte_array());
        let sign = |id: &EventId| secp256k1::schnorr::sign_no_aux_rand(&id.0, key).to_byte_array();
        Self::build(pubkey, created_at, kind, tags, content, sign)
    }

    /// The same for who signs in a way of its own; `sign` makes the BIP-340 signature of `pubkey` over the id.
    pub fn build(
        pubkey: Pubkey,
        created_at: u64,
        kind: u16,
        tags: &[Vec<String>],
        content: &str,
        sign: impl FnOnce(&EventId) -> [u8; 64],
    ) -> Self {
        let mut packed = Tags::default();
        // Quotes, commas and brackets; escapes are rare.
        packed.canonical.reserve(tags.iter().flatten().map(|value| value.len() + 5).sum());
        packed.canonical.push('[');
        for (at, tag) in tags.iter().enumerate() {
            if at > 0 {
                packed.canonical.push(',');
            }
            packed.canonical.push('[');
            for (at, value) in tag.iter().enumerate() {
                if at > 0 {
                    packed.canonical.push(',');
                }
                super::json::quote_into(value, &mut packed.canonical);
            }
            packed.canonical.push(']');
            packed.note(tag.first().map_or("", |s| s), tag.get(1).map(|s| s.as_str()));
            packed.longest_value = packed.longest_value.max(tag.iter().skip(1).map(String::len).max().unwrap_or(0));
        }
        packed.canonical.push(']');
        let content = super::json::quote(content);
        let id = event_id(&pubkey, created_at, kind, &packed.canonical, &content);
        assemble(id, pubkey, created_at, kind, sign(&id), packed, &content)
    }

    pub fn view(&self) -> EventView<'_> {
        EventView {
            id: &self.id,
            pubkey: &self.pubkey,
            created_at: self.created_at,
            kind: self.kind,
            index_tags: self.index_tags(),
        }
    }

    pub fn index_tags(&self) -> IndexTags<'_> {
        IndexTags(&self.index_tags)
    }

    /// The event as JSON.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Every tag, decoded: for the few kinds whose tags the relay itself reads.
    pub fn tags(&self) -> Vec<Vec<String>> {
        serde_json::from_slice(&self.body[self.tags.clone()]).unwrap_or_default()
    }

    pub fn content(&self) -> String {
        serde_json::from_slice(&self.body[self.content.clone()]).unwrap_or_default()
    }

    pub fn retention(&self) -> Retention {
        kind::retention(self.kind)
    }

    /// Value of the first `d` tag, empty when there is none (NIP-01).
    pub fn identifier(&self) -> &[u8] {
        self.index_tags().named(b'd').next().unwrap_or_default()
    }

    /// NIP-40: whether it has ended at `now` (seconds).
    pub fn is_expired(&self, now: u64) -> bool {
        self.expiration.is_some_and(|end| end <= now)
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.body))
    }
}

impl<'a> Members<'a> {
    fn read(&mut self, name: &str, cursor: &mut Cursor<'a>) -> Result<(), EventError> {
        match name {
            "id" => once(&mut self.id, "id", hex_member("id", cursor)?),
            "pubkey" => once(&mut self.pubkey, "pubkey", hex_member("pubkey", cursor)?),
            "created_at" => once(&mut self.created_at, "created_at", cursor.unsigned()?),
            "kind" => once(&mut self.kind, "kind", cursor.unsigned()?),
            "tags" => once(&mut self.tags, "tags", Tags::read(cursor)?),
            "content" => once(&mut self.content, "content", cursor.string()?),
            "sig" => once(&mut self.signature, "sig", hex_member("sig", cursor)?),
            _ => Ok(cursor.skip_value().map(drop)?),
        }
    }

    fn into_event(self) -> Result<Event, EventError> {
        let id = EventId(self.id.ok_or(EventError::Missing("id"))?);
        let pubkey = Pubkey(self.pubkey.ok_or(EventError::Missing("pubkey"))?);
        let created_at = self.created_at.ok_or(EventError::Missing("created_at"))?;
        let kind = self.kind.ok_or(EventError::Missing("kind"))?;
        let kind = u16::try_from(kind).map_err(|_| EventError::Kind)?;
        let tags = self.tags.ok_or(EventError::Missing("tags"))?;
        let raw = self.content.ok_or(EventError::Missing("content"))?;
        let signature = self.signature.ok_or(EventError::Missing("sig"))?;
        let mut content = String::with_capacity(raw.raw.len() + 2);
        raw.write_canonical(&mut content)?;
        if event_id(&pubkey, created_at, kind, &tags.canonical, &content) != id {
            return Err(EventError::Id);
        }
        Ok(assemble(id, pubkey, created_at, kind, signature, tags, &content))
    }
}

fn once<T>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), EventError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(EventError::Twice(name)),
    }
}

fn hex_member<const N: usize>(name: &'static str, cursor: &mut Cursor<'_>) -> Result<[u8; N], EventError> {
    hex::decode(cursor.string()?.raw).ok_or(EventError::NotHex(name, 2 * N))
}

impl Tags {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, EventError> {
        let mut tags = Self::default();
        tags.canonical.push('[');
        cursor.array::<EventError>(|cursor| tags.read_tag(cursor))?;
        tags.canonical.push(']');
        Ok(tags)
    }

    fn read_tag(&mut self, cursor: &mut Cursor<'_>) -> Result<(), EventError> {
        if self.count > 0 {
            self.canonical.push(',');
        }
        self.canonical.push('[');
        let (mut name, mut value, mut elements) = (None, None, 0);
        cursor.array::<EventError>(|cursor| {
            let raw = cursor.string()?;
            if elements > 0 {
                self.canonical.push(',');
                self.longest_value = self.longest_value.max(raw.raw.len());
            }
            raw.write_canonical(&mut self.canonical)?;
            match elements {
                0 => name = Some(raw.decode()?),
                1 => value = Some(raw.decode()?),
                _ => {}
            }
            elements += 1;
            Ok(())
        })?;
        self.canonical.push(']');
        self.note(name.as_deref().unwrap_or(""), value.as_deref());
        Ok(())
    }

    /// Keeps what the relay itself needs of one tag.
    fn note(&mut self, name: &str, value: Option<&str>) {
        self.count += 1;
        match (name, value) {
            ("-", _) => self.protected = true,
            ("expiration", Some(value)) if self.expiration.is_none() => {
                self.expiration = value.parse().ok();
            }
            (name, Some(value)) if is_index_name(name) => {
                // A value too long to be packed cannot be asked for either.
                if let Ok(length) = u16::try_from(value.len()) {
                    self.index.push(name.as_bytes()[0]);
                    self.index.extend_from_slice(&length.to_be_bytes());
                    self.index.extend_from_slice(value.as_bytes());
                }
            }
            _ => {}
        }
    }
}

fn is_index_name(name: &str) -> bool {
    matches!(name.as_bytes(), [letter] if letter.is_ascii_alphabetic())
}

fn event_id(pubkey: &Pubkey, created_at: u64, kind: u16, tags: &str, content: &str) -> EventId {
    let mut hash = Sha256::new();
    hash.update("[0,\"");
    hash.update(const_hex::Buffer::<32>::new().format(&pubkey.0));
    hash.update("\",");
    hash.update(itoa::Buffer::new().format(created_at));
    hash.update(",");
    hash.update(itoa::Buffer::new().format(kind));
    hash.update(",");
    hash.update(tags);
    hash.update(",");
    hash.update(content);
    hash.update("]");
    EventId(hash.finalize().into())
}

/// `content` is its canonical literal with quotes.
fn assemble(
    id: EventId,
    pubkey: Pubkey,
    created_at: u64,
    kind: u16,
    signature: [u8; 64],
    tags: Tags,
    content: &str,
) -> Event {
    let mut body = String::with_capacity(tags.canonical.len() + content.len() + 384);
    body.push_str("{\"id\":\"");
    body.push_str(const_hex::Buffer::<32>::new().format(&id.0));
    body.push_str("\",\"pubkey\":\"");
    body.push_str(const_hex::Buffer::<32>::new().format(&pubkey.0));
    body.push_str("\",\"created_at\":");
    body.push_str(itoa::Buffer::new().format(created_at));
    body.push_str(",\"kind\":");
    body.push_str(itoa::Buffer::new().format(kind));
    body.push_str(",\"tags\":");
    let tags_range = body.len()..body.len() + tags.canonical.len();
    body.push_str(&tags.canonical);
    body.push_str(",\"content\":");
    let content_range = body.len()..body.len() + content.len();
    body.push_str(content);
    body.push_str(",\"sig\":\"");
    body.push_str(const_hex::Buffer::<64>::new().format(&signature));
    body.push_str("\"}");
    Event {
        id,
        pubkey,
        created_at,
        kind,
        signature,
        expiration: tags.expiration,
        protected: tags.protected,
        tag_count: tags.count,
        longest_tag_value: tags.longest_value,
        index_tags: tags.index.into_boxed_slice(),
        body: Bytes::from(body),
        tags: tags_range,
        content: content_range,
    }
}
