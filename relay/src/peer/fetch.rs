//! Events that a peer says it has, asked for by their ids.

use std::collections::HashSet;

use super::error::LinkError;
use super::question::{Hearer, Questions};
use super::taker::{Found, Taker};
use crate::nostr::{Event, EventId, Filter};

/// Ids that one REQ may ask for: relays limit the length of a filter's lists, few to less than this.
pub const BATCH: usize = 100;

/// Hands over what comes, and returns how many did not: the peer may have lost them meanwhile, or keep them to itself.
pub async fn fetch(questions: &mut Questions<'_>, ids: &[EventId], taker: &mut impl Taker) -> Result<usize, LinkError> {
    let mut missing = 0;
    for batch in ids.chunks(BATCH) {
        let mut sought = Sought { asked: batch, awaited: batch.iter().copied().collect(), taker };
        while !sought.awaited.is_empty() {
            let awaited = sought.awaited.len();
            let ids = batch.iter().filter(|id| sought.awaited.contains(id)).copied().collect();
            questions.ask(&Filter { ids: Some(ids), ..Filter::default() }, &mut sought).await?;
            // A peer may show fewer at once than it is asked for; one that shows none of the rest has none.
            if sought.awaited.len() == awaited {
                break;
            }
        }
        missing += sought.awaited.len();
    }
    Ok(missing)
}

struct Sought<'a, T> {
    asked: &'a [EventId],
    awaited: HashSet<EventId>,
    taker: &'a mut T,
}

impl<T: Taker> Hearer for Sought<'_, T> {
    fn begin(&mut self) {}

    async fn hear(&mut self, event: &str) -> Result<(), LinkError> {
        match Event::parse(event) {
            Ok(event) if self.awaited.remove(&event.id) => self.taker.take(Found::Event(Box::new(event))).await,
            // A question that was put again brings them again.
            Ok(event) if self.asked.contains(&event.id) => Ok(()),
            Ok(_) | Err(_) => self.taker.take(Found::Bad).await,
        }
    }
}
