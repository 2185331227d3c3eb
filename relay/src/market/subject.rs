//! Which job an event is about.

use std::collections::HashSet;

use super::tag::{Malformed, Tags};
use crate::nostr::EventId;

/// Ids that are looked up in the store for one event.
pub const NAMED_MAX: usize = 8;

/// Every event that `e` tags name, once each, in order.
pub fn named(tags: &Tags) -> Vec<EventId> {
    let mut seen = HashSet::new();
    tags.values("e").filter_map(EventId::from_hex).filter(|id| seen.insert(*id)).collect()
}

/// The one job among `ids`. An answer to two jobs would be judged by one of them and seen by the customers of both.
pub fn only_job(ids: &[EventId], is_job: impl Fn(&EventId) -> bool) -> Result<Option<EventId>, Malformed> {
    let mut jobs = ids.iter().filter(|id| is_job(id));
    match (jobs.next(), jobs.next()) {
        (first, None) => Ok(first.copied()),
        (_, Some(_)) => Err(Malformed::new("e", "names more than one job; answer each apart")),
    }
}
