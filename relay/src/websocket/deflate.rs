//! permessage-deflate (RFC 7692) for what the relay sends: agreed upon once, and compressed once for all recipients.
//!
//! The relay answers every offer with `server_no_context_takeover`, so that no connection keeps a compressor's window.
//! An event is compressed by itself, with the `]` that ends every message; what differs between recipients, the
//! `["EVENT","<subscription>",` before it, goes in front as a stored block. Both are aligned to bytes and no back
//! reference leaves the body, so together they are one valid deflate stream.

use std::cell::RefCell;
use std::sync::OnceLock;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};

use super::inflate::TAIL;

/// The fastest level with codes made for the data: hexadecimal digits then take four bits and a half instead of eight.
const LEVEL: Compression = Compression::new(2);
/// Less than this is not worth compressing.
const LEAST_BYTES: usize = 256;
/// Head of a stored block.
pub const STORED_HEAD: usize = 5;
/// Window of a client that did not ask for a smaller one: 32 KiB.
const MAX_WINDOW_BITS: u8 = 15;
/// Offers looked at before the client is served without compression.
const MAX_OFFERS: usize = 16;

thread_local! {
    /// Its window and tables are some 256 KiB, made when the thread first compresses.
    static DEFLATER: RefCell<Option<Compress>> = const { RefCell::new(None) };
}

/// What was agreed upon with one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The window that the client has for what it gets, as a power of two.
    window_bits: u8,
    /// Whether the client named that window, so that the answer has to.
    named: bool,
}

impl Agreed {
    /// Accepts the first acceptable offer in the values of `Sec-WebSocket-Extensions`.
    pub fn to_offers<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        headers.flat_map(|header| header.split(',')).take(MAX_OFFERS).find_map(Self::to_offer)
    }

    fn to_offer(offer: &str) -> Option<Self> {
        let mut parts = offer.split(';').map(str::trim);
        if parts.next() != Some("permessage-deflate") {
            return None;
        }
        let (mut server_bits, mut seen) = (None, Vec::new());
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim(), Some(unquoted(value.trim())?)),
                None => (part, None),
            };
            if seen.contains(&name) {
                return None;
            }
            seen.push(name);
            match (name, value) {
                ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => {}
                ("client_max_window_bits", Some(bits)) => drop(window_bits(bits)?),
                ("server_max_window_bits", Some(bits)) => server_bits = Some(window_bits(bits)?),
                _ => return None,
            }
        }
        Some(Self { window_bits: server_bits.unwrap_or(MAX_WINDOW_BITS), named: server_bits.is_some() })
    }

    /// The value of `Sec-WebSocket-Extensions` in the answer.
    pub fn answer(self) -> String {
        let answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        match self.named {
            true => format!("{answer}; server_max_window_bits={}", self.window_bits),
            false => answer.to_owned(),
        }
    }

    /// Whether so many bytes may be compressed for this client. Longer ones might refer further back than it remembers.
    pub fn suits(self, bytes: usize) -> bool {
        bytes >= LEAST_BYTES && (self.window_bits == MAX_WINDOW_BITS || bytes < 1 << self.window_bits)
    }
}

fn unquoted(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"'),
        None => Some(value),
    }
}

/// 8 to 15, as digits without a zero before them.
fn window_bits(value: &str) -> Option<u8> {
    let bits: u8 = value.parse().ok()?;
    ((8..=MAX_WINDOW_BITS).contains(&bits) && !value.starts_with(['0', '+'])).then_some(bits)
}

/// An event's body as it goes to clients that take compressed messages. Made by the first that needs it.
#[derive(Debug, Default)]
pub struct Deflated(OnceLock<Option<Bytes>>);

impl Deflated {
    /// The end of a compressed message, `body` and a `]`; `None` when that saves nothing.
    pub fn of(&self, body: &Bytes) -> Option<Bytes> {
        self.0.get_or_init(|| deflate_end(body)).clone()
    }
}

/// The end of a compressed message with an event, its body and a `]`.
pub fn deflate_end(body: &[u8]) -> Option<Bytes> {
    deflate(&[body, b"]"])
}

/// Compresses the parts of a message, or of its end, without the tail that every message leaves out.
/// `None` when the result is no shorter.
pub fn deflate(parts: &[&[u8]]) -> Option<Bytes> {
    let plain: usize = parts.iter().map(|part| part.len()).sum();
    DEFLATER.with_borrow_mut(|deflater| {
        let deflater = deflater.get_or_insert_with(|| Compress::new(LEVEL, false));
        deflater.reset();
        // Room for no more than would be worth sending.
        let mut out = Vec::with_capacity(plain);
        for (at, part) in parts.iter().enumerate() {
            let flush = match at + 1 == parts.len() {
                true => FlushCompress::Sync,
                false => FlushCompress::None,
            };
            let before = deflater.total_in();
            let status = deflater.compress_vec(part, &mut out, flush).ok()?;
            let taken = deflater.total_in() - before;
            if status != Status::Ok || taken != part.len() as u64 {
                return None;
            }
        }
        // A full buffer may hold only a part of it.
        if out.len() == out.capacity() || !out.ends_with(&TAIL) {
            return None;
        }
        out.truncate(out.len() - TAIL.len());
        out.shrink_to_fit();
        Some(out.into())
    })
}

/// Writes the head of a stored block of so many bytes, which must be fewer than 65,536.
pub fn write_stored_head(out: &mut Vec<u8>, length: u16) {
    out.push(0);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&(!length).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(offer: &str) -> Option<String> {
        Agreed::to_offers(std::iter::once(offer)).map(Agreed::answer)
    }

    #[test]
    fn good_offers_are_taken_and_bad_ones_passed_over() {
        let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=15; client_no_context_takeover",
            "permessage-deflate;server_no_context_takeover",
            "x-webkit-deflate-frame, permessage-deflate",
            "permessage-deflate; server_max_window_bits=7, permessage-deflate",
            "permessage-deflate; unknown, permessage-deflate; client_max_window_bits",
        ] {
            assert_eq!(agreed(offer).as_deref(), Some(plain), "{offer}");
        }
        let narrow = format!("{plain}; server_max_window_bits=12");
        for offer in [
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
            "permessage-deflate; server_max_window_bits=\"12\"",
        ] {
            assert_eq!(agreed(offer).as_deref(), Some(narrow.as_str()), "{offer}");
        }
        for offer in [
            "",
            "permessage-bzip2",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=08",
            "permessage-deflate; server_max_window_bits=\"12",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate;",
        ] {
            assert_eq!(agreed(offer), None, "{offer}");
        }
    }

    #[test]
    fn a_narrow_window_takes_only_what_fits_into_it() {
        let narrow = Agreed { window_bits: 9, named: true };
        assert!(!narrow.suits(255) && narrow.suits(256) && narrow.suits(511) && !narrow.suits(512));
        let wide = Agreed { window_bits: 15, named: false };
        assert!(wide.suits(1 << 20));
    }
}
