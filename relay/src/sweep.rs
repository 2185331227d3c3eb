//! Which stored events are to go: what has expired (NIP-40), and what the operator's retention rules keep no longer.
//!
//! It only names them, a bounded number at a time; the writer removes them in its next group, body, indexes and counter
//! together. RocksDB's compaction filters would drop them for nothing, but a family at a time and behind the writer's
//! back: indexes, addresses and the counter would contradict the bodies until all were compacted.

use std::ops::ControlFlow;

use crate::config::RetentionRule;
use crate::nostr::{EventId, Filter};
use crate::store::{Head, Progress, Scan, Store, StoreError};

/// Events named at once: what the writer removes in one group.
const BATCH: usize = 500;
/// Events looked at for the rules at once.
const LOOK: u32 = 2_000;
/// How often what has expired is looked for, when the last look found all.
const PERIOD_MS: u64 = 10_000;
/// How soon the next look is when there is more: clients' events come in between.
const BUSY_PERIOD_MS: u64 = 250;
/// How long the rules rest after all that they name has been looked at.
const RULES_PERIOD_MS: u64 = 600_000;

/// How long nothing is removed after the wall clock was set forward: what a wrong clock takes for old would be gone for
/// good, and a right one can wait.
const HOLD_MS: u64 = 3_600_000;

/// Goes over the store again and again. It is told two times: the wall clock's, in seconds, by which events end, and the
/// steady clock's, in milliseconds, by which it works.
#[derive(Debug)]
pub struct Sweeper {
    rules: Vec<RetentionRule>,
    next_ms: u64,
    next_walk_ms: u64,
    walk: Option<Walk>,
}

/// The way through what the rules name.
#[derive(Debug)]
struct Walk {
    /// Place of the rule whose events are being looked at.
    rule: usize,
    /// `None`: they have not been begun yet.
    scan: Option<Scan>,
}

impl Sweeper {
    /// Begins with the first call of `due`.
    pub fn new(rules: Vec<RetentionRule>) -> Self {
        Self { rules, next_ms: 0, next_walk_ms: 0, walk: None }
    }

    /// When to call `due`, by the steady clock.
    pub fn next_ms(&self) -> u64 {
        self.next_ms
    }

    /// The wall clock was set forward: what it has made old may be so by mistake.
    pub fn hold(&mut self, steady_ms: u64) {
        self.next_ms = steady_ms.saturating_add(HOLD_MS);
        // A way that was begun would go on by the time of its beginning.
        self.walk = None;
    }

    /// Events to be removed now.
    pub fn due(&mut self, store: &dyn Store, now_s: u64, steady_ms: u64) -> Result<Vec<EventId>, StoreError> {
        // Also after a fault: the disk that caused it will not be better at once.
        self.next_ms = steady_ms.saturating_add(PERIOD_MS);
        let mut ids = store.expired(now_s, BATCH)?;
        if self.walk.is_none() && steady_ms >= self.next_walk_ms {
            self.walk = Some(Walk { rule: 0, scan: None });
        }
        if ids.len() < BATCH {
            self.walk_on(store, now_s, steady_ms, &mut ids)?;
        }
        if ids.len() >= BATCH || self.walk.is_some() {
            self.next_ms = steady_ms.saturating_add(BUSY_PERIOD_MS);
        }
        Ok(ids)
    }

    /// Looks at the next of what the rules name.
    fn walk_on(
        &mut self,
        store: &dyn Store,
        now_s: u64,
        steady_ms: u64,
        ids: &mut Vec<EventId>,
    ) -> Result<(), StoreError> {
        let Some(walk) = &mut self.walk else { return Ok(()) };
        let (Some(rule), number) = (self.rules.get(walk.rule), walk.rule) else {
            self.walk = None;
            self.next_walk_ms = steady_ms.saturating_add(RULES_PERIOD_MS);
            return Ok(());
        };
        let Some(max_age_s) = rule.max_age_s else {
            walk.rule += 1;
            return Ok(());
        };
        let scan = walk.scan.get_or_insert_with(|| old(rule, now_s.saturating_sub(max_age_s)));
        let rules = &self.rules;
        let mut full = false;
        let mut found = |head: &Head<'_>| {
            // An earlier rule may say otherwise.
            if rules.iter().position(|rule| rule.names(head.kind, &head.pubkey)) == Some(number) {
                ids.push(head.position.id);
            }
            full = ids.len() >= BATCH;
            if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        if store.scan_heads(scan, LOOK, &mut found)? == Progress::Done && !full {
            *walk = Walk { rule: number + 1, scan: None };
        }
        Ok(())
    }
}

/// What `rule` names and is older than `before` (seconds), oldest first.
fn old(rule: &RetentionRule, before: u64) -> Scan {
    let filter = match before.checked_sub(1) {
        Some(until) => Filter { kinds: rule.kinds(), authors: rule.authors(), until: Some(until), ..Filter::default() },
        None => Filter { kinds: Some(Vec::new()), ..Filter::default() },
    };
    Scan { ascending: true, ..Scan::new(filter) }
}

#[cfg(test)]
mod tests {
    use secp256k1::{Keypair, SecretKey};

    use super::*;
    use crate::nostr::Event;
    use crate::store::memory::MemoryStore;

    const NOW_S: u64 = 100_000;

    fn author(n: u8) -> Keypair {
        Keypair::from_secret_key(&SecretKey::from_secret_bytes([n; 32]).unwrap())
    }

    fn rules(text: &str) -> Vec<RetentionRule> {
        #[derive(serde::Deserialize)]
        struct File {
            retention: Vec<RetentionRule>,
        }
        toml::from_str::<File>(text).unwrap().retention
    }

    /// Sweeps until nothing is due for a while; how many calls that took.
    fn sweep(store: &MemoryStore, rules: Vec<RetentionRule>) -> usize {
        let (mut sweeper, mut calls, mut steady_ms) = (Sweeper::new(rules), 0, 5_000);
        loop {
            let ids = sweeper.due(store, NOW_S, steady_ms).unwrap();
            assert!(ids.len() <= BATCH, "{} at once", ids.len());
            let mut transaction = store.begin().unwrap();
            for id in ids {
                transaction.remove(&id).unwrap();
            }
            transaction.commit().unwrap();
            calls += 1;
            if sweeper.next_ms() >= steady_ms + PERIOD_MS {
                return calls;
            }
            steady_ms = sweeper.next_ms();
        }
    }

    fn stored(events: &[Event]) -> MemoryStore {
        let store = MemoryStore::new();
        let mut transaction = store.begin().unwrap();
        for event in events {
            transaction.insert(event).unwrap();
        }
        transaction.commit().unwrap();
        store
    }

    #[test]
    fn all_that_has_expired_goes_in_batches_one_soon_after_the_other() {
        let event = |n: u64| {
            let end = if n.is_multiple_of(10) { NOW_S + 1 } else { NOW_S - n % 7 };
            Event::sign(&author(1), n, 1, &[vec!["expiration".to_owned(), end.to_string()]], "")
        };
        let store = stored(&(0..1_300).map(event).collect::<Vec<_>>());
        assert!(sweep(&store, Vec::new()) >= 3);
        assert_eq!(store.stats().unwrap().events, 130);
    }

    #[test]
    fn the_first_rule_that_names_an_event_decides() {
        let text = format!(
            "[[retention]]\npubkeys = [\"{}\"]\nkeep = true\n\
             [[retention]]\nkinds = [8]\nkeep = true\n\
             [[retention]]\nkinds = [1, \"5-7\"]\nmax_age_s = 50\n\
             [[retention]]\nmax_age_s = 500\n",
            author(1).x_only_public_key().0
        );
        let rules = rules(&text);
        let ages = [0, 49, 50, 51, 499, 500, 501, 5_000];
        let events: Vec<Event> = (1..4)
            .flat_map(|n| [1, 6, 8, 9].map(|kind| (n, kind)))
            .flat_map(|(n, kind)| ages.map(|age| Event::sign(&author(n), NOW_S - age, kind, &[], "")))
            .collect();
        let store = stored(&events);
        sweep(&store, rules.clone());
        for event in &events {
            // By reading the rules one by one.
            let decides = rules.iter().find(|rule| rule.names(event.kind, &event.pubkey));
            let kept = decides.and_then(|rule| rule.max_age_s).is_none_or(|max| NOW_S - event.created_at <= max);
            assert_eq!(store.get(&event.id).unwrap().is_some(), kept, "{event:?}");
        }
    }

    #[test]
    fn nothing_goes_for_an_hour_after_the_clock_was_set_forward() {
        let event = Event::sign(&author(1), 1, 1, &[vec!["expiration".to_owned(), NOW_S.to_string()]], "");
        let store = stored(&[event]);
        let mut sweeper = Sweeper::new(rules("[[retention]]\nmax_age_s = 5\n"));
        sweeper.hold(7_000);
        assert_eq!(sweeper.next_ms(), 7_000 + 3_600_000);
        assert!(!sweeper.due(&store, NOW_S, sweeper.next_ms()).unwrap().is_empty());
    }
}
