//! strfry's `fried` lines: an event as JSON whose last member holds, in hex, what strfry's indexes need of it.
//!
//! The packed form, integers little-endian: id (32 bytes), pubkey (32), created_at (8), kind (8), expiration (8; 0 none,
//! 1 ephemeral), then for each tag with a name of one byte: the name, the value's length (1), the value. Values of `e`
//! and `p` are 32 raw bytes, longer values than 255 bytes are left out, and an event that others replace has an empty
//! `d` before (kinds without `d` tags) or behind (kinds with) its tags.

use super::event::{Event, EventError, EventId, Pubkey};
use super::hex;
use super::kind::{self, Retention};

/// Bytes before the tags.
const HEAD: usize = 88;
const MEMBER: &str = ",\"fried\":\"";
/// Expiration of what strfry keeps for minutes only.
const EPHEMERAL: u64 = 1;
/// strfry takes no smaller value for a time.
const FIRST_EXPIRATION: u64 = 100;

/// Why a line is not one of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FriedError {
    #[error("the line does not end in a member \"fried\" in hex")]
    Missing,
    #[error("the member \"fried\" is damaged")]
    Damaged,
    #[error("the member \"fried\" tells of another event")]
    Other,
    #[error("{0}")]
    Event(#[from] EventError),
}

/// The packed form, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed<'a> {
    pub id: EventId,
    pub pubkey: Pubkey,
    pub created_at: u64,
    pub kind: u64,
    pub expiration: u64,
    /// Names and values, in order.
    pub tags: Vec<(u8, &'a [u8])>,
}

impl<'a> Packed<'a> {
    /// `None` when it is cut short.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (head, mut rest) = bytes.split_first_chunk::<HEAD>()?;
        let number = |at: usize| Some(u64::from_le_bytes(*head.get(at..)?.first_chunk()?));
        let mut tags = Vec::new();
        while let Some((&[name, length], behind)) = rest.split_first_chunk() {
            let (value, behind) = behind.split_at_checked(usize::from(length))?;
            tags.push((name, value));
            rest = behind;
        }
        rest.is_empty().then_some(())?;
        Some(Self {
            id: EventId(*head.first_chunk()?),
            pubkey: Pubkey(*head.get(32..)?.first_chunk()?),
            created_at: number(64)?,
            kind: number(72)?,
            expiration: number(80)?,
            tags,
        })
    }

    fn tells_of(&self, event: &Event) -> bool {
        self.id == event.id
            && self.pubkey == event.pubkey
            && self.created_at == event.created_at
            && self.kind == u64::from(event.kind)
    }
}

/// What strfry would index of an event.
pub fn pack(event: &Event) -> Vec<u8> {
    let ephemeral = event.retention() == Retention::Ephemeral;
    let expiration = match event.expiration {
        _ if ephemeral => EPHEMERAL,
        // Long past either way; smaller values mean something else.
        Some(end) => end.max(FIRST_EXPIRATION),
        None => 0,
    };
    let mut packed = Vec::with_capacity(HEAD + 64);
    packed.extend_from_slice(&event.id.0);
    packed.extend_from_slice(&event.pubkey.0);
    for number in [event.created_at, u64::from(event.kind), expiration] {
        packed.extend_from_slice(&number.to_le_bytes());
    }
    if is_replaceable(event) {
        pack_tag(b'd', b"", &mut packed);
    }
    for tag in event.tags() {
        let value = tag.get(1).map_or("", String::as_str);
        match tag.first().map(String::as_bytes) {
            // Nobody can ask for a reference that is none.
            Some(&[name @ (b'e' | b'p')]) => {
                if let Some(raw) = hex::decode::<32>(&value.to_ascii_lowercase()) {
                    pack_tag(name, &raw, &mut packed);
                }
            }
            Some(&[name]) => pack_tag(name, value.as_bytes(), &mut packed),
            Some(_) | None => {}
        }
    }
    if event.retention() == Retention::Addressable {
        pack_tag(b'd', b"", &mut packed);
    }
    packed
}

fn is_replaceable(event: &Event) -> bool {
    // strfry has kind 41 among them; it was so once.
    event.retention() == Retention::Replaceable || event.kind == kind::CHANNEL_METADATA
}

fn pack_tag(name: u8, value: &[u8], packed: &mut Vec<u8>) {
    if let Ok(length) = u8::try_from(value.len()) {
        packed.extend_from_slice(&[name, length]);
        packed.extend_from_slice(value);
    }
}

/// An event as `strfry import --fried` takes it, without the end of the line.
pub fn write(event: &Event) -> String {
    let packed = const_hex::encode(pack(event));
    let body = String::from_utf8_lossy(event.body());
    let members = body.strip_suffix('}').unwrap_or(&body);
    format!("{members}{MEMBER}{packed}\"}}")
}

/// Reads a line, without its end. The id is checked, and that both halves tell of the same event; the signature is not.
pub fn read(line: &str) -> Result<Event, FriedError> {
    let rest = line.trim_end().strip_suffix("\"}").ok_or(FriedError::Missing)?;
    let (members, packed) = rest.rsplit_once('"').ok_or(FriedError::Missing)?;
    let members = members.strip_suffix(&MEMBER[..MEMBER.len() - 1]).ok_or(FriedError::Missing)?;
    let packed = const_hex::decode(packed).map_err(|_| FriedError::Damaged)?;
    let packed = Packed::read(&packed).ok_or(FriedError::Damaged)?;
    let event = Event::parse(&format!("{members}}}"))?;
    if packed.tells_of(&event) { Ok(event) } else { Err(FriedError::Other) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secp256k1::Keypair;

    use super::*;

    fn sign(kind: u16, tags: &[&[&str]], content: &str) -> Event {
        let tags: Vec<Vec<String>> =
            tags.iter().map(|tag| tag.iter().map(|part| (*part).to_owned()).collect()).collect();
        Event::sign(&Keypair::from_secret_bytes([3; 32]).unwrap(), 1_700_000_000, kind, &tags, content)
    }

    fn tags(event: &Event) -> Vec<(u8, Vec<u8>)> {
        let packed = pack(event);
        let packed = Packed::read(&packed).unwrap();
        assert!(packed.tells_of(event));
        packed.tags.into_iter().map(|(name, value)| (name, value.to_vec())).collect()
    }

    #[test]
    fn tags_are_packed_as_strfry_packs_them() {
        let id = "0123456789abcdef".repeat(4);
        let long = "x".repeat(256);
        let event = sign(
            1,
            &[&["e", &id], &["p", "short"], &["t", "topic", "more"], &["-"], &["tt", "no"], &["x", &long], &[]],
            "",
        );
        let raw = const_hex::decode(&id).unwrap();
        assert_eq!(tags(&event), [(b'e', raw), (b't', b"topic".to_vec()), (b'-', Vec::new())]);
    }

    #[test]
    fn what_others_replace_has_an_empty_d() {
        assert_eq!(tags(&sign(0, &[&["d", "a"]], "")), [(b'd', vec![]), (b'd', b"a".to_vec())]);
        assert_eq!(tags(&sign(30_023, &[&["d", "a"]], "")), [(b'd', b"a".to_vec()), (b'd', vec![])]);
        assert_eq!(tags(&sign(41, &[], "")), [(b'd', vec![])]);
        assert_eq!(tags(&sign(1, &[], "")), []);
    }

    #[test]
    fn an_expiration_means_what_it_says() {
        let expiration = |event: &Event| Packed::read(&pack(event)).unwrap().expiration;
        assert_eq!(expiration(&sign(1, &[], "")), 0);
        assert_eq!(expiration(&sign(1, &[&["expiration", "1800000000"]], "")), 1_800_000_000);
        assert_eq!(expiration(&sign(1, &[&["expiration", "0"]], "")), 100, "0 would be for ever");
        assert_eq!(expiration(&sign(20_001, &[], "")), 1);
    }

    #[test]
    fn lines_that_do_not_hold_together_are_refused() {
        let (one, other) = (sign(1, &[], "\"}"), sign(1, &[], "other"));
        let line = write(&one);
        assert_eq!(read(&line), Ok(one.clone()));
        let swapped = line.replace(&const_hex::encode(pack(&one)), &const_hex::encode(pack(&other)));
        assert_eq!(read(&swapped), Err(FriedError::Other));
        assert_eq!(read(&line.replace("fried\":\"", "fried\":\"0")), Err(FriedError::Damaged));
        assert_eq!(read(&line.replace("\"}", "00\"}")).unwrap_err(), FriedError::Damaged);
        assert_eq!(read(std::str::from_utf8(one.body()).unwrap()), Err(FriedError::Missing));
        assert_eq!(read(&line.replace("1700000000,", "1700000001,")), Err(FriedError::Event(EventError::Id)));
        for bad in ["", "\"}", ",\"fried\":\"\"}", "{\"fried\":\"\"}"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_line_is_read_as_it_was_written(
            kind in any::<u16>(),
            content in ".*",
            tags in proptest::collection::vec(proptest::collection::vec("[a-zA-Z]|.{0,9}|[0-9a-f]{64}", 0..4), 0..6),
        ) {
            let key = Keypair::from_secret_bytes([3; 32]).unwrap();
            let event = Event::sign(&key, 1_700_000_000, kind, &tags, &content);
            let as_parsed = Event::parse(std::str::from_utf8(event.body()).unwrap());
            prop_assert_eq!(read(&write(&event)).ok(), as_parsed.ok());
        }

        #[test]
        fn nothing_makes_the_reader_panic(text in ".{0,80}", packed in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&text);
            let _ = read(&format!("{text}{MEMBER}{}\"}}", const_hex::encode(&packed)));
            let _ = Packed::read(&packed);
        }
    }
}
