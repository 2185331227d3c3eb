//! Who sends an HTTP request, by the signed event in its Authorization header (NIP-98).
//!
//! It holds for this request for a minute, as often as it is sent: calls are such that once more changes nothing, and two
//! equal ones of the same second are signed alike.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::nostr::{Event, Pubkey, kind};

/// How far the clock of who signs may be off, in seconds (NIP-98 suggests a minute).
const WINDOW_S: u64 = 60;

/// What must be signed.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Absolute address of the request; http and ws count as one, and a slash at the end as none.
    pub url: &'a str,
    pub method: &'a str,
    pub body: &'a [u8],
    /// Seconds.
    pub now: u64,
}

/// The key that signed `header` for exactly this request; what is wrong otherwise.
pub fn authorize(header: Option<&str>, wanted: Wanted<'_>) -> Result<Pubkey, String> {
    let header = header.ok_or("an Authorization header is needed (NIP-98)")?;
    let encoded = header.strip_prefix("Nostr ").ok_or("the Authorization must be of the scheme Nostr")?;
    let bytes = STANDARD.decode(encoded.trim()).map_err(|_| "the Authorization is not base64")?;
    let text = std::str::from_utf8(&bytes).map_err(|_| "the Authorization is not UTF-8")?;
    let event = Event::parse(text).map_err(|error| format!("the Authorization is no event: {error}"))?;
    check(&event, wanted)?;
    event.verify_signature().map_err(|error| format!("the Authorization: {error}"))?;
    Ok(event.pubkey)
}

fn check(event: &Event, wanted: Wanted<'_>) -> Result<(), String> {
    if event.kind != kind::HTTP_AUTH {
        return Err(format!("the Authorization must have kind {}", kind::HTTP_AUTH));
    }
    if event.created_at.abs_diff(wanted.now) > WINDOW_S {
        return Err("the Authorization is too old or from the future".to_owned());
    }
    let tags = event.tags();
    let value = |name: &str| tags.iter().find(|tag| tag.first().is_some_and(|n| n == name))?.get(1).map(String::as_str);
    if value("u").map(without_scheme) != Some(without_scheme(wanted.url)) {
        return Err(format!("the Authorization's u tag must name {}", wanted.url));
    }
    if value("method") != Some(wanted.method) {
        return Err(format!("the Authorization's method tag must name {}", wanted.method));
    }
    if value("payload") != Some(const_hex::encode(Sha256::digest(wanted.body)).as_str()) {
        return Err("the Authorization's payload tag must hold the sha256 of the body".to_owned());
    }
    Ok(())
}

/// Clients sign wss:// or https:// as it happens; which one, says nothing of where the request went.
fn without_scheme(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.strip_suffix('/').unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn key() -> secp256k1::Keypair {
        secp256k1::Keypair::from_secret_bytes([7; 32]).unwrap()
    }

    fn header(created_at: u64, url: &str, method: &str, body: &[u8]) -> String {
        let payload = const_hex::encode(Sha256::digest(body));
        let tags = [["u", url], ["method", method], ["payload", &payload]].map(|tag| tag.map(str::to_owned).to_vec());
        let event = Event::sign(&key(), created_at, kind::HTTP_AUTH, &tags, "");
        format!("Nostr {}", STANDARD.encode(event.body()))
    }

    fn wanted(body: &[u8]) -> Wanted<'_> {
        Wanted { url: "https://relay.example.com/", method: "POST", body, now: NOW }
    }

    #[test]
    fn a_request_is_its_signers_whatever_the_scheme() {
        let own = Pubkey(key().x_only_public_key().0.to_byte_array());
        for url in ["https://relay.example.com/", "wss://relay.example.com", "https://relay.example.com"] {
            assert_eq!(authorize(Some(&header(NOW, url, "POST", b"x")), wanted(b"x")), Ok(own), "{url}");
        }
    }

    #[test]
    fn what_was_not_signed_for_this_request_is_refused() {
        let url = "https://relay.example.com/";
        let refused = |header: Option<&str>, why: &str| {
            let error = authorize(header, wanted(b"x")).unwrap_err();
            assert!(error.contains(why), "{error}");
        };
        refused(None, "is needed");
        refused(Some("Bearer x"), "scheme");
        refused(Some("Nostr !!"), "base64");
        refused(Some("Nostr e30="), "no event");
        refused(Some(&header(NOW - 61, url, "POST", b"x")), "too old");
        refused(Some(&header(NOW + 61, url, "POST", b"x")), "future");
        refused(Some(&header(NOW, "https://other.example.com/", "POST", b"x")), "u tag");
        refused(Some(&header(NOW, url, "GET", b"x")), "method tag");
        refused(Some(&header(NOW, url, "POST", b"y")), "payload tag");
        let forged = header(NOW, url, "POST", b"x");
        let text = String::from_utf8(STANDARD.decode(&forged[6..]).unwrap()).unwrap();
        let at = text.find("\"sig\":\"").unwrap() + 7;
        let digit = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
        let text = format!("{}{digit}{}", &text[..at], &text[at + 1..]);
        refused(Some(&format!("Nostr {}", STANDARD.encode(text))), "signature");
    }
}
