//! AUTH (NIP-42): which keys the client proves to hold.

use super::{Action, Session};
use crate::nostr::{Event, kind, message};

/// How far the clock of an authenticating client may be off, in seconds (NIP-42 suggests ten minutes).
const AUTH_WINDOW_S: u64 = 600;
/// Keys that one connection may prove to hold.
const MAX_KEYS: usize = 64;

impl Session {
    pub(super) fn on_auth(&mut self, event: &Event, now: u64, actions: &mut Vec<Action>) {
        let verdict = self.check_auth(event, now);
        let text = verdict.as_ref().err().map_or("", String::as_str);
        actions.push(Action::Send(message::ok(&event.id, verdict.is_ok(), text)));
        if verdict.is_ok() && !self.keys.contains(&event.pubkey) {
            self.keys.push(event.pubkey);
            actions.push(Action::Authenticate(event.pubkey));
        }
    }

    /// NIP-42's conditions, cheapest first.
    fn check_auth(&self, event: &Event, now: u64) -> Result<(), String> {
        if !self.rules.rates.auth_from(self.ip) {
            return Err("rate-limited: too many AUTHs from your address, slow down".to_owned());
        }
        if event.kind != kind::AUTH {
            return Err(format!("invalid: an AUTH event has kind {}", kind::AUTH));
        }
        if event.created_at.abs_diff(now) > AUTH_WINDOW_S {
            return Err("invalid: the AUTH event is too old or from the future".to_owned());
        }
        if self.keys.len() >= MAX_KEYS && !self.keys.contains(&event.pubkey) {
            return Err(format!("restricted: {MAX_KEYS} keys may authenticate on one connection, open another"));
        }
        let tags = event.tags();
        if tag(&tags, "challenge") != Some(self.challenge.as_str()) {
            return Err("invalid: the challenge is not the one this connection was given".to_owned());
        }
        let host = if self.rules.url.is_empty() { &self.host } else { &self.rules.url };
        if tag(&tags, "relay").is_none_or(|url| host_of(url) != host_of(host)) {
            return Err(format!("invalid: the relay tag does not name this relay, {host}"));
        }
        event.verify_signature().map_err(|error| format!("invalid: {error}"))
    }
}

fn tag<'a>(tags: &'a [Vec<String>], name: &str) -> Option<&'a str> {
    tags.iter().find(|tag| tag.first().is_some_and(|first| first == name))?.get(1).map(String::as_str)
}

/// The host of a URL or authority, without port, in lower case: NIP-42 lets a relay be content with it.
fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => authority.split(':').next().unwrap_or(""),
    };
    host.to_ascii_lowercase()
}
