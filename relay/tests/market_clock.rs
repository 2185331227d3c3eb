//! A wall clock that is set moves what is dated, and not what is due.

#[macro_use]
mod market_world;

use market_world::{START_S, pubkey, someone, value};
use mercato::config::MarketConfig;
use mercato::market::{Audiences, Market, MarketKeys, Moment, Output};
use mercato::nostr::Event;
use mercato::store::Store;
use mercato::store::memory::MemoryStore;
use proptest::prelude::*;
use std::sync::Arc;

const DAY_MS: i64 = 86_400_000;

/// A market whose two clocks go their own ways.
struct Stepped {
    store: Arc<MemoryStore>,
    market: Market,
    market_ms: u64,
    wall_ms: u64,
    journal: Vec<Vec<u8>>,
    told: Vec<Event>,
}

impl Stepped {
    fn start(keys: &MarketKeys) -> Self {
        let store = Arc::new(MemoryStore::new());
        // The tape is dated by the wall clock.
        let config = MarketConfig { liveness_s: 1_000_000, tape: false, ..MarketConfig::default() };
        let market_ms = START_S * 1_000;
        let restored = Market::restore(
            &config,
            keys.clone(),
            Arc::new(Audiences::default()),
            std::iter::empty(),
            market_ms,
            store.clone(),
        );
        let (market, output) = restored.unwrap();
        let mut this = Self { store, market, market_ms, wall_ms: market_ms, journal: Vec::new(), told: Vec::new() };
        this.take(None, output);
        this
    }

    fn now(&self) -> Moment {
        Moment { market_ms: self.market_ms, wall_ms: self.wall_ms }
    }

    fn take(&mut self, event: Option<&Event>, output: Output) {
        let events = self.market.sign(output.announcements);
        let mut txn = self.store.begin().unwrap();
        for event in event.into_iter().chain(&events) {
            txn.insert(event).unwrap();
        }
        txn.commit().unwrap();
        self.journal.extend(output.journal);
        self.told.extend(events);
    }

    /// By the wall clock of now.
    fn say(&mut self, author: u8, kind: u16, tags: Vec<Vec<String>>, content: &str) -> Option<String> {
        let event = Event::sign(&someone(author), self.wall_ms / 1_000, kind, &tags, content);
        let output = self.market.on_event(self.now(), &event).ok()?;
        self.take(Some(&event), output);
        Some(event.id.to_hex())
    }

    fn wait(&mut self, ms: u64) {
        let end_ms = self.market_ms + ms;
        while let Some(due_ms) = self.market.next_deadline_ms(self.now()).filter(|due_ms| *due_ms <= end_ms) {
            self.pass(due_ms.saturating_sub(self.market_ms));
            let output = self.market.on_tick(self.now());
            self.take(None, output);
        }
        self.pass(end_ms - self.market_ms);
    }

    fn pass(&mut self, ms: u64) {
        self.market_ms += ms;
        self.wall_ms += ms;
    }

    fn step(&mut self, ms: i64) {
        self.wall_ms = self.wall_ms.saturating_add_signed(ms);
        let output = self.market.on_clock_set(self.now()).unwrap();
        self.take(None, output);
    }

    /// Of every event that the relay said: kind, status, and how long its deadlines were off.
    fn story(&self) -> Vec<(u16, Option<String>)> {
        self.told.iter().map(|event| (event.kind, value(event, "status"))).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_job_lives_as_long_whatever_the_wall_clock_shows(
        steps in prop::collection::vec((0_u64..90_000, -40 * DAY_MS..40 * DAY_MS), 1..6),
    ) {
        let keys = MarketKeys::ephemeral().unwrap();
        let (mut plain, mut stepped) = (Stepped::start(&keys), Stepped::start(&keys));
        for market in [&mut plain, &mut stepped] {
            market.say(1, 31_990, tags!["d", ""; "k", 5050; "slots", 2], "").unwrap();
            for who in [2, 3, 4] {
                market.say(who, 5050, tags!["timeout", "accept", 20 * u64::from(who); "i", "x"], "").unwrap();
            }
        }
        for (wait_ms, step_ms) in steps {
            plain.wait(wait_ms);
            stepped.wait(wait_ms);
            stepped.step(step_ms);
        }
        plain.wait(8 * 86_400_000);
        stepped.wait(8 * 86_400_000);
        prop_assert_eq!(plain.story(), stepped.story());
        // Not a word of difference: what is due goes by the market's time, and no state has a date in it.
        prop_assert_eq!(plain.journal, stepped.journal);
    }
}

#[test]
fn deadlines_are_told_and_asked_for_by_the_wall_clock() {
    let keys = MarketKeys::ephemeral().unwrap();
    let mut market = Stepped::start(&keys);
    market.step(-30 * DAY_MS);
    market.say(1, 31_990, tags!["d", ""; "k", 5050], "").unwrap();
    let now_s = market.wall_ms / 1_000;
    let job = market.say(2, 5050, tags!["deadline", now_s + 100; "timeout", "accept", 30], "").unwrap();
    let of_job = |event: &&Event| value(event, "e").as_ref() == Some(&job);
    let told: Vec<(u16, String)> =
        market.told.iter().filter(of_job).map(|event| (event.kind, value(event, "deadline").unwrap())).collect();
    assert_eq!(told, [(7000, (now_s + 30).to_string()), (30_383, (now_s + 100).to_string())]);
    assert!(market.told.iter().filter(of_job).all(|event| event.created_at == now_s));
    let ended = |market: &Stepped| market.told.iter().any(|event| value(event, "end").as_deref() == Some("expired"));
    market.wait(99_000);
    assert!(!ended(&market));
    market.wait(2_000);
    assert!(ended(&market));
}

#[test]
fn an_advert_that_ended_by_a_mistaken_clock_counts_again_when_the_clock_is_right() {
    let keys = MarketKeys::ephemeral().unwrap();
    let mut market = Stepped::start(&keys);
    let end = (START_S + 3_600).to_string();
    market.say(1, 31_990, tags!["d", ""; "k", 5050; "expiration", end], "").unwrap();
    let offers = |market: &Stepped| {
        let provider = mercato_scheduler::ProviderId(pubkey(1).0);
        market.market.scheduler().state().providers().get(&provider).is_some_and(|row| row.advert.is_some())
    };
    assert!(offers(&market));
    market.step(DAY_MS);
    market.wait(1_000);
    assert!(!offers(&market));
    market.step(-DAY_MS);
    assert!(offers(&market));
}
