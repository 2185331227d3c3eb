//! Job feedback, kind 7000 (NIP-90): what a provider says about its work.

use mercato_scheduler::{Feedback, ResultId};

use super::payment::quote;
use super::tag::{Malformed, Tags};
use crate::nostr::Event;

/// Reads what `event` says by its `status` tag.
pub fn parse(event: &Event, tags: &Tags) -> Result<Feedback, Malformed> {
    let status = tags.only("status")?.unwrap_or_default();
    match status.first().map_or("", String::as_str) {
        "processing" => Ok(Feedback::Processing),
        "partial" => Ok(Feedback::Partial),
        "success" => Ok(Feedback::Success),
        "error" => Ok(Feedback::Error { reason: reason(status, event) }),
        "payment-required" => Ok(Feedback::PaymentRequired { amount_msat: quote::read(tags)? }),
        "offer" => Ok(Feedback::Offer { offer: ResultId(event.id.0), amount_msat: offered_msat(tags)? }),
        own @ ("assigned" | "withdrawn" | "cancelled") => {
            Err(Malformed::new("status", format!("{own} is not a provider's word on a job")))
        }
        // Providers have words of their own (`chain-scheduled`, `payment-rejected`), or none: it is alive.
        _ => Ok(Feedback::Success),
    }
}

/// An offer names its price.
fn offered_msat(tags: &Tags) -> Result<u64, Malformed> {
    quote::read(tags)?.ok_or_else(|| Malformed::new("amount", "an offer names its price in millisatoshi"))
}

/// The lease number that the sender names, if any.
pub fn lease(tags: &Tags) -> Result<Option<u64>, Malformed> {
    tags.only_whole("lease")
}

/// NIP-90 puts the details behind the status; many clients put them in the content.
fn reason(status: &[String], event: &Event) -> String {
    match status.get(1).filter(|words| !words.is_empty()) {
        Some(words) => words.clone(),
        None => event.content(),
    }
}
