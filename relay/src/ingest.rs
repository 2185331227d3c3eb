//! The door: what an event must be before its signature is even looked at.

use crate::config::LimitsConfig;
use crate::nostr::kind::{self, Retention};
use crate::nostr::{Event, Pubkey};

/// Refuses an event that the relay's limits do not allow; the text starts with a machine prefix.
///
/// `authenticated` are the keys that the client has proved to hold, `now` is in seconds.
pub fn check(event: &Event, limits: &LimitsConfig, authenticated: &[Pubkey], now: u64) -> Result<(), String> {
    if event.kind == kind::AUTH {
        return Err("invalid: an authentication event is sent by AUTH".to_owned());
    }
    check_size(event, limits)?;
    check_time(event, limits, now)?;
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
/// kept until a relay sweeps it), but not be larger than the relay serves.
pub fn check_import(event: &Event, limits: &LimitsConfig) -> Result<(), String> {
    check_size(event, limits)
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
    if event.created_at > now.saturating_add(limits.created_at_future_s) {
        return Err("invalid: created_at too late".to_owned());
    }
    let past = match event.retention() {
        Retention::Ephemeral => limits.ephemeral_past_s,
        Retention::Regular | Retention::Replaceable | Retention::Addressable => limits.created_at_past_s,
    };
    if past > 0 && event.created_at < now.saturating_sub(past) {
        return Err("invalid: created_at too early".to_owned());
    }
    if event.is_expired(now) {
        return Err("invalid: event expired".to_owned());
    }
    Ok(())
}
