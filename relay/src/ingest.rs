//! The door: what an event must be before its signature is even looked at.

use crate::config::LimitsConfig;
use crate::nostr::kind::{self, Retention};
use crate::nostr::{Event, Pubkey, pow};

/// Refuses an event that the relay's limits do not allow; the text starts with a machine prefix.
///
/// `authenticated` are the keys that the client has proved to hold, `now` is in seconds.
pub fn check(event: &Event, limits: &LimitsConfig, authenticated: &[Pubkey], now: u64) -> Result<(), String> {
    if event.kind == kind::AUTH {
        return Err("invalid: an authentication event is sent by AUTH".to_owned());
    }
    check_size(event, limits)?;
    check_time(event, limits, now)?;
    check_work(event, limits)?;
    check_repost(event)?;
    if event.protected && !authenticated.contains(&event.pubkey) {
        return Err(match authenticated {
            [] => "auth-required: a protected event is taken from its author only",
            _ => "restricted: a protected event is taken from its author only",
        }
        .to_owned());
    }
    Ok(())
}

/// Refuses what not even an import may bring in: an event of the past may be as old as it likes, and have expired (it is
/// kept until a relay sweeps it), but not be larger than the relay serves. `url` is as in `check_vanish`.
pub fn check_import(event: &Event, limits: &LimitsConfig, url: &str) -> Result<(), String> {
    check_size(event, limits)?;
    check_vanish(event, url)
}

/// Refuses a request to vanish (NIP-62) from other relays only: to keep it without a deed would be to pretend.
///
/// `url` is the relay's public address as the operator wrote it; empty: only who vanishes from all relays does from here.
pub fn check_vanish(event: &Event, url: &str) -> Result<(), String> {
    if event.kind != kind::VANISH {
        return Ok(());
    }
    let names_this = |value: &String| value == "ALL_RELAYS" || (!url.is_empty() && plain(value) == plain(url));
    let is_meant =
        |tag: &Vec<String>| tag.first().is_some_and(|name| name == "relay") && tag.get(1).is_some_and(names_this);
    match event.tags().iter().any(is_meant) {
        true => Ok(()),
        false => Err("invalid: no relay tag names this relay or ALL_RELAYS".to_owned()),
    }
}

/// A relay's address without what may be written in several ways.
fn plain(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.trim_end_matches('/').to_ascii_lowercase()
}

/// Refuses what no other relay may hand us. What it has taken may be old by now; whatever cannot be history is checked
/// like an event of a client. `url` is as in `check_vanish`, `now` is in seconds.
pub fn check_linked(event: &Event, limits: &LimitsConfig, url: &str, now: u64) -> Result<(), String> {
    if event.kind == kind::AUTH {
        return Err("invalid: an authentication event is sent by AUTH".to_owned());
    }
    check_size(event, limits)?;
    let past = if event.retention() == Retention::Ephemeral { limits.ephemeral_past_s } else { 0 };
    check_age(event, limits, past, now)?;
    check_work(event, limits)?;
    check_repost(event)?;
    check_vanish(event, url)?;
    if event.protected {
        return Err("blocked: a protected event is taken from its author only".to_owned());
    }
    Ok(())
}

fn check_size(event: &Event, limits: &LimitsConfig) -> Result<(), String> {
    if event.body().len() > limits.max_event_bytes {
        return Err(format!("invalid: event too large: {}", event.body().len()));
    }
    if event.tag_count > limits.max_tags {
        return Err(format!("invalid: too many tags: {}", event.tag_count));
    }
    if event.longest_tag_value > limits.max_tag_value_bytes && !carries_request(event) {
        return Err(format!("invalid: tag value too large: {}", event.longest_tag_value));
    }
    Ok(())
}

/// NIP-90 has results and feedback carry their whole request in a tag.
fn carries_request(event: &Event) -> bool {
    kind::is_job_result(event.kind) || kind::is_job_request(event.kind) || event.kind == kind::JOB_FEEDBACK
}

fn check_time(event: &Event, limits: &LimitsConfig, now: u64) -> Result<(), String> {
    let past = match event.retention() {
        Retention::Ephemeral => limits.ephemeral_past_s,
        Retention::Regular | Retention::Replaceable | Retention::Addressable => limits.created_at_past_s,
    };
    check_age(event, limits, past, now)
}

/// `past` is how old the event may be, 0: any age.
fn check_age(event: &Event, limits: &LimitsConfig, past: u64, now: u64) -> Result<(), String> {
    if event.created_at > now.saturating_add(limits.created_at_future_s) {
        return Err("invalid: created_at too late".to_owned());
    }
    if past > 0 && event.created_at < now.saturating_sub(past) {
        return Err("invalid: created_at too early".to_owned());
    }
    if event.is_expired(now) {
        return Err("invalid: event expired".to_owned());
    }
    Ok(())
}

/// NIP-13. The work must have been aimed at, so that nobody gets by who tries often with less.
fn check_work(event: &Event, limits: &LimitsConfig) -> Result<(), String> {
    let is_excepted = event.kind == kind::VANISH || limits.min_pow_except.contains(&event.kind);
    let of_all = if is_excepted { 0 } else { limits.min_pow };
    let of_job = if kind::is_job_request(event.kind) { limits.job_min_pow } else { 0 };
    let least = u32::from(of_all.max(of_job));
    if least == 0 {
        return Ok(());
    }
    let difficulty = pow::difficulty(&event.id);
    if difficulty < least {
        return Err(format!("pow: difficulty {difficulty} is less than {least}"));
    }
    match pow::target(event) {
        Some(target) if target >= least => Ok(()),
        Some(target) => Err(format!("pow: the nonce tag commits to difficulty {target}, less than {least}")),
        None => Err(format!("pow: the nonce tag must commit to difficulty {least} or more")),
    }
}

/// NIP-70: who reposts a protected event may not bring it along.
fn check_repost(event: &Event) -> Result<(), String> {
    if matches!(event.kind, kind::REPOST | kind::GENERIC_REPOST) && embeds_protected(&event.content()) {
        return Err("blocked: reposts can't embed protected events".to_owned());
    }
    Ok(())
}

fn embeds_protected(content: &str) -> bool {
    let Ok(embedded) = serde_json::from_str::<serde_json::Value>(content) else { return false };
    let tags = embedded.get("tags").and_then(|tags| tags.as_array());
    tags.is_some_and(|tags| tags.iter().any(|tag| tag.get(0).is_some_and(|name| name == "-")))
}
