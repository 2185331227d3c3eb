//! A walk back through what a peer has stored, page by page, as NIP-01 allows it: newest first, each page up to where the
//! one before ended.
//!
//! Relays answer with fewer events than asked for, so a short page does not mean the end: only an empty one does. Many
//! events may share a second, so a page begins in the very second in which the last one ended, and what was seen of it is
//! passed over.

use std::collections::HashSet;
use std::time::Duration;

use super::error::LinkError;
use super::question::{Hearer, Questions};
use super::socket::Peer;
use super::taker::{Found, Taker};
use crate::nostr::{Event, EventId, Filter};

/// Events asked for at once.
const PAGE: u64 = 500;
/// Asked for where one second holds more than a page.
const LARGE_PAGE: u64 = 5_000;
/// How long a peer may say nothing within a page.
const PATIENCE: Duration = Duration::from_secs(60);
/// A page of fewer events was not cut short.
const SHORT: u64 = 20;

/// Where a walk stands, without I/O.
#[derive(Debug)]
pub struct Walk {
    filter: Filter,
    /// The second that the next page begins in; `None`: the newest.
    until: Option<u64>,
    /// What is known of that second.
    seen: HashSet<EventId>,
    /// Events still wanted.
    room: u64,
    large: bool,
    page: Page,
    longest_page: u64,
    finished: bool,
    /// Seconds of which the peer may have more events than it shows.
    pub crowded: Vec<u64>,
}

#[derive(Debug, Default)]
struct Page {
    count: u64,
    fresh: u64,
    oldest: Option<u64>,
    at_oldest: HashSet<EventId>,
}

impl Walk {
    /// `filter.limit` bounds the whole walk.
    pub fn new(filter: Filter) -> Self {
        Self {
            until: filter.until,
            room: filter.limit.unwrap_or(u64::MAX),
            finished: filter.is_never(),
            filter,
            seen: HashSet::new(),
            large: false,
            page: Page::default(),
            longest_page: 0,
            crowded: Vec::new(),
        }
    }

    /// What to ask next; `None` at the end.
    pub fn request(&self) -> Option<Filter> {
        let below = self.until.zip(self.filter.since).is_some_and(|(until, since)| until < since);
        if self.finished || below || self.room == 0 {
            return None;
        }
        let page = if self.large { LARGE_PAGE } else { PAGE };
        // What is seen of the first second comes again before anything else.
        let limit = page.min(self.room.saturating_add(self.seen.len() as u64));
        Some(Filter { until: self.until, limit: Some(limit), ..self.filter.clone() })
    }

    /// Notes an event of the page. `Some(true)`: it is new; `None`: it was not asked for.
    pub fn event(&mut self, event: &Event) -> Option<bool> {
        let (at, id) = (event.created_at, event.id);
        if self.until.is_some_and(|until| at > until) || !self.filter.matches(&event.view()) {
            return None;
        }
        self.page.count += 1;
        let known = self.until == Some(at) && self.seen.contains(&id)
            || self.page.oldest == Some(at) && self.page.at_oldest.contains(&id);
        if self.page.oldest.is_none_or(|oldest| at < oldest) {
            self.page.oldest = Some(at);
            self.page.at_oldest.clear();
        }
        if self.page.oldest == Some(at) {
            self.page.at_oldest.insert(id);
        }
        if known || self.room == 0 {
            return Some(false);
        }
        self.page.fresh += 1;
        self.room -= 1;
        Some(true)
    }

    pub fn page_ended(&mut self) {
        let page = std::mem::take(&mut self.page);
        let Some(oldest) = page.oldest else {
            self.finished = true;
            return;
        };
        self.longest_page = self.longest_page.max(page.count);
        if self.until != Some(oldest) {
            (self.until, self.seen, self.large) = (Some(oldest), page.at_oldest, false);
            return;
        }
        // The whole page lay in one second: ask for more of it, once, then step over it.
        let cut_short = page.count >= SHORT && page.count >= self.longest_page.min(PAGE);
        if cut_short && !self.large {
            self.seen.extend(page.at_oldest);
            self.large = true;
            return;
        }
        if cut_short && page.fresh == 0 {
            self.crowded.push(oldest);
        }
        self.step_over(oldest);
    }

    /// The peer does not answer so large a page: go on below.
    fn give_up_second(&mut self) -> bool {
        let Some(second) = self.until.filter(|_| self.large) else { return false };
        self.crowded.push(second);
        self.step_over(second);
        true
    }

    fn step_over(&mut self, second: u64) {
        self.seen.clear();
        self.large = false;
        match second.checked_sub(1) {
            Some(before) => self.until = Some(before),
            None => self.finished = true,
        }
    }
}

/// Walks to the end and hands everything to `taker`. After an error the same walk may go on over another connection;
/// events of the page that was broken off are then handed over again.
pub async fn walk(peer: &Peer, walk: &mut Walk, name: &str, taker: &mut impl Taker) -> Result<(), LinkError> {
    let mut questions = Questions::new(peer, name, Some(PATIENCE));
    while let Some(filter) = walk.request() {
        match questions.ask(&filter, &mut Turning { walk, taker }).await {
            Ok(()) => walk.page_ended(),
            Err(error @ LinkError::Unsubscribed(_)) if !walk.give_up_second() => return Err(error),
            Err(LinkError::Unsubscribed(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A page on its way to the taker.
struct Turning<'a, T> {
    walk: &'a mut Walk,
    taker: &'a mut T,
}

impl<T: Taker> Hearer for Turning<'_, T> {
    fn begin(&mut self) {
        self.walk.page = Page::default();
    }

    async fn hear(&mut self, event: &str) -> Result<(), LinkError> {
        let event = Event::parse(event).ok();
        match event.map(|event| (self.walk.event(&event), event)) {
            Some((Some(true), event)) => self.taker.take(Found::Event(Box::new(event))).await,
            Some((Some(false), _)) => Ok(()),
            Some((None, _)) | None => self.taker.take(Found::Bad).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use secp256k1::Keypair;

    use super::*;

    /// A peer as NIP-01 wants it, that never answers more than `max` events.
    fn answer(stored: &[Event], filter: &Filter, max: usize) -> Vec<Event> {
        let mut matching: Vec<Event> = stored.iter().filter(|event| filter.matches(&event.view())).cloned().collect();
        matching.sort_by_key(|event| (std::cmp::Reverse(event.created_at), event.id));
        matching.truncate(max.min(filter.limit.unwrap_or(u64::MAX) as usize));
        matching
    }

    /// What a walk finds, in order, and how many pages it took.
    fn run(stored: &[Event], filter: Filter, max: usize) -> (Walk, Vec<Event>, usize) {
        let (mut walk, mut found, mut pages) = (Walk::new(filter), Vec::new(), 0);
        while let Some(filter) = walk.request() {
            for event in answer(stored, &filter, max) {
                if walk.event(&event) == Some(true) {
                    found.push(event);
                }
            }
            walk.page_ended();
            pages += 1;
            assert!(pages <= 2 * stored.len() + 3, "the walk does not end");
        }
        (walk, found, pages)
    }

    fn events(times: &[u64]) -> Vec<Event> {
        let key = Keypair::from_secret_bytes([7; 32]).unwrap();
        times.iter().enumerate().map(|(n, at)| Event::sign(&key, *at, 1, &[], &n.to_string())).collect()
    }

    fn ids(events: &[Event]) -> BTreeSet<EventId> {
        events.iter().map(|event| event.id).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_event_comes_once_from_a_peer_that_truncates(
            times in prop::collection::vec(100_u64..130, 0..60),
            max in 21_usize..40,
            since in prop::option::of(95_u64..135),
            until in prop::option::of(95_u64..135),
        ) {
            let stored = events(&times);
            let filter = Filter { since, until, ..Filter::default() };
            let (walk, found, _) = run(&stored, filter.clone(), max);
            prop_assert_eq!(ids(&found).len(), found.len(), "an event came twice");
            let missed: Vec<&Event> =
                stored.iter().filter(|event| filter.matches(&event.view()) && !ids(&found).contains(&event.id)).collect();
            prop_assert!(missed.iter().all(|event| walk.crowded.contains(&event.created_at)), "missed and not told");
        }
    }

    #[test]
    fn a_second_with_more_events_than_a_page_is_asked_for_at_large() {
        let mut times = vec![100; 700];
        times.extend([90, 110]);
        let stored = events(&times);
        let (walk, found, _) = run(&stored, Filter::default(), 5_000);
        assert_eq!(found.len(), 702);
        assert!(walk.crowded.is_empty());
        let (walk, found, _) = run(&stored, Filter::default(), 500);
        assert_eq!(found.len(), 502);
        assert_eq!(walk.crowded, [100]);
    }

    #[test]
    fn a_walk_ends_with_its_limit_and_takes_no_event_that_was_not_asked_for() {
        let stored = events(&[1, 2, 3, 4, 5]);
        let (_, found, pages) = run(&stored, Filter { limit: Some(3), ..Filter::default() }, 500);
        assert_eq!(found.iter().map(|event| event.created_at).collect::<Vec<_>>(), [5, 4, 3]);
        assert_eq!(pages, 1);
        let mut walk = Walk::new(Filter { until: Some(3), since: Some(2), ..Filter::default() });
        let asked: Vec<Option<bool>> = stored.iter().map(|event| walk.event(event)).collect();
        assert_eq!(asked, [None, Some(true), Some(true), None, None]);
    }
}
