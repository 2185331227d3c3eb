//! A relay of one market and one store, without sockets: what the writer does with them, in a few lines.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::Arc;

use mercato::config::MarketConfig;
use mercato::market::{Audiences, Delivery, Inquiry, Market, MarketKeys, Output, Release};
use mercato::nostr::{Event, EventId, Filter, Pubkey};
use mercato::store::memory::MemoryStore;
use mercato::store::{Admission, Progress, Scan, Store, Transaction};
use mercato_scheduler::{JobId, JobView};
use secp256k1::Keypair;

/// When every test begins, in seconds.
pub const START_S: u64 = 1_800_000_000;

pub struct World {
    pub now_ms: u64,
    pub config: MarketConfig,
    pub keys: MarketKeys,
    pub store: Arc<MemoryStore>,
    pub audiences: Arc<Audiences>,
    pub market: Market,
    /// What the last call asked for.
    pub events: Vec<Event>,
    pub deliveries: Vec<Delivery>,
    pub releases: Vec<Release>,
    pub inquiries: Vec<Inquiry>,
}

/// The key pair of somebody; 0 is nobody.
pub fn someone(number: u8) -> Keypair {
    Keypair::from_secret_bytes([number; 32]).unwrap()
}

pub fn pubkey(number: u8) -> Pubkey {
    Pubkey(someone(number).x_only_public_key().0.to_byte_array())
}

/// `tags!["status", "processing"; "e", id]`: tags as owned strings.
#[macro_export]
macro_rules! tags {
    ($($($value:expr),+);* $(;)?) => {
        Vec::from([$(Vec::from([$($value.to_string()),+])),*])
    };
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    pub fn with(configure: impl FnOnce(&mut MarketConfig)) -> Self {
        Self::at(START_S, configure)
    }

    pub fn at(now_s: u64, configure: impl FnOnce(&mut MarketConfig)) -> Self {
        // Tests count events: those of the tape have tests of their own.
        let mut config = MarketConfig { tape: false, ..MarketConfig::default() };
        configure(&mut config);
        Self::of(now_s, config, MarketKeys::ephemeral().unwrap())
    }

    /// Signs with these keys.
    pub fn signing(keys: MarketKeys) -> Self {
        Self::of(START_S, MarketConfig::default(), keys)
    }

    fn of(now_s: u64, config: MarketConfig, keys: MarketKeys) -> Self {
        let store = Arc::new(MemoryStore::new());
        let audiences = Arc::new(Audiences::default());
        let now_ms = now_s * 1_000;
        let journal = std::iter::empty();
        let (market, output) =
            Market::restore(&config, keys.clone(), audiences.clone(), journal, now_ms, store.clone()).unwrap();
        let (events, deliveries, releases, inquiries) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut world =
            Self { now_ms, config, keys, store, audiences, market, events, deliveries, releases, inquiries };
        world.commit(None, output);
        world
    }

    pub fn now_s(&self) -> u64 {
        self.now_ms / 1_000
    }

    pub fn sign(&self, author: u8, kind: u16, tags: Vec<Vec<String>>) -> Event {
        Event::sign(&someone(author), self.now_s(), kind, &tags, "")
    }

    /// Signs and publishes; the id on success.
    pub fn say(&mut self, author: u8, kind: u16, tags: Vec<Vec<String>>) -> Result<EventId, String> {
        let event = self.sign(author, kind, tags);
        self.publish(&event).map(|()| event.id)
    }

    pub fn publish(&mut self, event: &Event) -> Result<(), String> {
        let admission = self.store.begin().unwrap().admit(event).unwrap();
        assert_eq!(admission, Admission::Fresh, "{event:?}");
        let output = self.market.on_event(self.now_ms, event)?;
        self.commit(Some(event), output);
        Ok(())
    }

    pub fn import(&mut self, event: &Event) {
        let output = self.market.on_import(self.now_ms, event);
        self.commit(Some(event), output);
    }

    pub fn connect(&mut self, who: u8) {
        let output = self.market.on_connected(self.now_ms, &pubkey(who));
        self.commit(None, output);
    }

    pub fn disconnect(&mut self, who: u8) {
        let output = self.market.on_disconnected(self.now_ms, &pubkey(who));
        self.commit(None, output);
    }

    /// Lets time pass, with a tick whenever one is due.
    pub fn wait_ms(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        let (mut events, mut deliveries) = (Vec::new(), Vec::new());
        while let Some(due_ms) = self.market.next_deadline_ms(self.now_ms).filter(|due_ms| *due_ms <= end_ms) {
            self.now_ms = self.now_ms.max(due_ms);
            let output = self.market.on_tick(self.now_ms);
            self.commit(None, output);
            events.append(&mut self.events);
            deliveries.append(&mut self.deliveries);
        }
        self.now_ms = end_ms;
        (self.events, self.deliveries) = (events, deliveries);
    }

    /// Throws the market away and restores it from the store; time stands still.
    pub fn restart(&mut self) {
        let output = self.rebuild();
        self.commit(None, output);
    }

    /// As `restart`, with what the restart causes still to be committed.
    pub fn rebuild(&mut self) -> Output {
        self.audiences = Arc::new(Audiences::default());
        let journal = self.store.journal().unwrap().into_iter();
        let (market, output) = Market::restore(
            &self.config,
            self.keys.clone(),
            self.audiences.clone(),
            journal,
            self.now_ms,
            self.store.clone(),
        )
        .unwrap();
        self.market = market;
        output
    }

    pub fn commit(&mut self, event: Option<&Event>, output: Output) {
        let mut txn = self.store.begin().unwrap();
        if let Some(event) = event {
            txn.insert(event).unwrap();
        }
        let events = self.market.sign(output.announcements.clone());
        keep(&mut *txn, &output, &events);
        if let Some(entries) = self.market.compaction() {
            txn.clear_journal().unwrap();
            entries.iter().for_each(|entry| txn.append_journal(entry).unwrap());
        }
        txn.commit().unwrap();
        self.events = events;
        self.deliveries = output.deliveries;
        self.releases = output.releases;
        self.inquiries = output.inquiries;
    }

    /// Advertises these kinds under an empty `d`, and connects.
    pub fn provider(&mut self, who: u8, kinds: &[u16]) {
        let tags = kinds.iter().map(|kind| vec!["k".to_owned(), kind.to_string()]).collect();
        self.say(who, 31990, tags).unwrap();
        self.connect(who);
    }

    pub fn feedback(&mut self, who: u8, job: EventId, status: &str) -> Result<EventId, String> {
        self.say(who, 7000, tags!["status", status; "e", job])
    }

    pub fn view(&self, job: EventId) -> Option<JobView> {
        self.market.scheduler().view(JobId(job.0))
    }

    /// Status and leaseholder of a job, by the state event in the store; "" when there is none.
    pub fn state(&self, job: EventId) -> (String, Option<Pubkey>) {
        let state = self.stored_state(job);
        let value = |name: &str| state.as_ref().and_then(|state| value(state, name));
        (value("status").unwrap_or_default(), value("provider").and_then(|key| Pubkey::from_hex(&key)))
    }

    pub fn stored_state(&self, job: EventId) -> Option<Event> {
        let filter = Filter {
            kinds: Some(vec![30383]),
            authors: Some(vec![self.keys.public()]),
            tags: [(b'd', vec![job.to_hex().into_bytes().into()])].into(),
            ..Filter::default()
        };
        self.find(filter).into_iter().next()
    }

    pub fn find(&self, filter: Filter) -> Vec<Event> {
        let mut found = Vec::new();
        let mut scan = Scan { room: 100_000, ..Scan::new(filter) };
        let mut keep = |record: mercato::store::Record| {
            found.push(record.event().unwrap());
            std::ops::ControlFlow::Continue(())
        };
        while self.store.scan(&mut scan, 1_000, &mut keep).unwrap() == Progress::More {}
        found
    }

    /// The first event of the last call with this status.
    pub fn told(&self, status: &str) -> Option<&Event> {
        let is_it = |event: &&Event| event.kind == 7000 && value(event, "status").as_deref() == Some(status);
        self.events.iter().find(is_it)
    }

    pub fn may_see(&self, job: EventId, who: u8) -> bool {
        let record = self.store.get(&job).unwrap().unwrap();
        self.audiences.may_see(&record.view(), &[pubkey(who)])
    }
}

pub fn keep(txn: &mut dyn Transaction, output: &Output, events: &[Event]) {
    output.journal.iter().for_each(|entry| txn.append_journal(entry).unwrap());
    for event in events {
        event.verify_signature().unwrap();
        assert_eq!(txn.admit(event).unwrap(), Admission::Fresh, "an event of the market is not kept: {event:?}");
        txn.insert(event).unwrap();
    }
}

/// The first value of a tag.
pub fn value(event: &Event, name: &str) -> Option<String> {
    tag(event, name).and_then(|tag| tag.into_iter().nth(1))
}

/// A tag, name included.
pub fn tag(event: &Event, name: &str) -> Option<Vec<String>> {
    event.tags().into_iter().find(|tag| tag.first().is_some_and(|first| first == name))
}
