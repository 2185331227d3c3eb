//! The writer when the disk lets it down: nothing is acknowledged, and the market forgets what never happened.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mercato::clock::now_s;
use mercato::config::MarketConfig;
use mercato::connection::Connection;
use mercato::live::Live;
use mercato::market::{Audiences, Market, MarketKeys, Moment};
use mercato::nostr::{Event, EventId, Filter, Pubkey};
use mercato::outbox::Frame;
use mercato::policy::Readers;
use mercato::store::memory::MemoryStore;
use mercato::store::{Admission, Changes, Progress, Record, Scan, Store, StoreError, StoreStats, Transaction};
use mercato::sweep::Sweeper;
use mercato::writer::{self, Command, MarketSeat, Reply, Upkeep, WriterHandle};
use secp256k1::Keypair;
use tokio::sync::oneshot;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store whose disk fills up and is cleared again.
#[derive(Debug, Default)]
struct Full {
    inner: MemoryStore,
    is_full: AtomicBool,
    /// Not even a transaction can be opened.
    is_shut: AtomicBool,
    /// The journal cannot be read.
    is_unreadable: AtomicBool,
}

struct FullTransaction<'a> {
    inner: Box<dyn Transaction + 'a>,
    is_full: &'a AtomicBool,
}

impl Store for Full {
    fn get(&self, id: &EventId) -> Result<Option<Record>, StoreError> {
        self.inner.get(id)
    }

    fn is_deleted(&self, id: &EventId, author: &Pubkey) -> Result<bool, StoreError> {
        self.inner.is_deleted(id, author)
    }

    fn scan(
        &self,
        scan: &mut Scan,
        budget: u32,
        found: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<Progress, StoreError> {
        self.inner.scan(scan, budget, found)
    }

    fn vanishing(&self) -> Result<Option<(Pubkey, u64)>, StoreError> {
        self.inner.vanishing()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        if self.is_shut.load(Ordering::SeqCst) {
            return Err(std::io::Error::from(std::io::ErrorKind::ReadOnlyFilesystem).into());
        }
        Ok(Box::new(FullTransaction { inner: self.inner.begin()?, is_full: &self.is_full }))
    }

    fn journal(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        match self.is_unreadable.load(Ordering::SeqCst) {
            true => Err(StoreError::Damaged("journal")),
            false => self.inner.journal(),
        }
    }

    fn expired(&self, now: u64, max: usize) -> Result<Vec<EventId>, StoreError> {
        self.inner.expired(now, max)
    }

    fn last_sequence(&self) -> u64 {
        self.inner.last_sequence()
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.inner.stats()
    }
}

impl Transaction for FullTransaction<'_> {
    fn admit(&self, event: &Event) -> Result<Admission, StoreError> {
        self.inner.admit(event)
    }

    fn insert(&mut self, event: &Event) -> Result<u64, StoreError> {
        self.inner.insert(event)
    }

    fn next_sequence(&mut self) -> u64 {
        self.inner.next_sequence()
    }

    fn vanish(&mut self, author: &Pubkey, until: u64) -> Result<(), StoreError> {
        self.inner.vanish(author, until)
    }

    fn vanished(&mut self, author: &Pubkey) -> Result<(), StoreError> {
        self.inner.vanished(author)
    }

    fn remove(&mut self, id: &EventId) -> Result<bool, StoreError> {
        self.inner.remove(id)
    }

    fn append_journal(&mut self, entry: &[u8]) -> Result<(), StoreError> {
        self.inner.append_journal(entry)
    }

    fn clear_journal(&mut self) -> Result<(), StoreError> {
        self.inner.clear_journal()
    }

    fn commit(self: Box<Self>) -> Result<Changes, StoreError> {
        match self.is_full.load(Ordering::SeqCst) {
            true => Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into()),
            false => self.inner.commit(),
        }
    }
}

struct Running {
    store: Arc<Full>,
    live: Arc<Live>,
    writer: WriterHandle,
    thread: JoinHandle<()>,
}

fn start() -> Running {
    let store = Arc::new(Full::default());
    let (keys, audiences) = (MarketKeys::ephemeral().expect("a key"), Arc::new(Audiences::default()));
    let restore = {
        let (store, audiences) = (store.clone(), audiences.clone());
        move |now: Moment| {
            let (config, journal) = (MarketConfig::default(), store.journal()?.into_iter());
            let (keys, audiences) = (keys.clone(), audiences.clone());
            Ok(Market::restore(&config, keys, audiences, journal, now, store.clone())?)
        }
    };
    let seat = MarketSeat::new(Box::new(restore)).expect("an empty market");
    let live = Arc::new(Live::new(0));
    let upkeep = Upkeep { max_pending: 100, sweeper: Some(Sweeper::new(Vec::new())), followers: Vec::new() };
    let readers = Arc::new(Readers::new(audiences));
    let started = writer::start(store.clone(), Some(seat), readers, live.clone(), upkeep);
    let (writer, thread) = started.expect("threads");
    Running { store, live, writer, thread }
}

impl Running {
    async fn publish(&self, event: &Event) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        self.writer.send(Command::Publish { event: Box::new(event.clone()), reply: Reply::Call(reply) }).await;
        answer.await.expect("every event is answered")
    }

    /// Publishes until the store takes writes again: it is tried now and then only.
    async fn publish_at_last(&self, event: &Event) {
        let begun = Instant::now();
        while let Err(text) = self.publish(event).await {
            assert!(text.starts_with("error: ") && begun.elapsed() < PATIENCE, "{text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How many stored events have this kind.
    fn count(&self, kind: u16) -> usize {
        let filter = Filter { kinds: Some(vec![kind]), ..Filter::default() };
        let mut scan = Scan { room: 100, ..Scan::new(filter) };
        let mut count = 0;
        let mut found = |_| {
            count += 1;
            ControlFlow::Continue(())
        };
        self.store.scan(&mut scan, 10_000, &mut found).expect("the store reads");
        count
    }

    /// What a lease says of its holder's being online.
    fn online(&self) -> String {
        let lease = Filter { kinds: Some(vec![7000]), ..Filter::default() };
        let mut scan = Scan { room: 1, ..Scan::new(lease) };
        let mut why = Vec::new();
        let mut found = |record: Record| {
            let tags = record.event().expect("an event").tags();
            why = tags.into_iter().find(|tag| tag[0] == "why").expect("a lease says why");
            ControlFlow::Break(())
        };
        self.store.scan(&mut scan, 10_000, &mut found).expect("the store reads");
        let online = why.iter().position(|term| term == "online").expect("a term of the score");
        why[online + 1].clone()
    }

    async fn stop(self) {
        self.writer.stop().await;
        self.thread.join().expect("the writer ends well");
    }
}

fn event(who: u8, kind: u16, tags: &[[&str; 2]]) -> Event {
    let tags: Vec<_> = tags.iter().map(|tag| tag.iter().map(|part| (*part).to_owned()).collect()).collect();
    Event::sign(&Keypair::from_secret_bytes([who; 32]).expect("a key"), now_s(), kind, &tags, "")
}

#[tokio::test]
async fn a_commit_that_fails_acknowledges_nothing_and_leaves_no_job_behind() {
    let running = start();
    let (advert, request) = (event(1, 31990, &[["d", ""], ["k", "5050"]]), event(2, 5050, &[["i", "x"]]));
    running.publish(&advert).await.expect("stored");
    running.store.is_full.store(true, Ordering::SeqCst);
    let told = running.publish(&request).await.expect_err("the disk is full");
    assert!(told.starts_with("error: "), "{told}");
    assert_eq!((running.count(5050), running.count(7000), running.count(30383)), (0, 0, 0));

    running.store.is_full.store(false, Ordering::SeqCst);
    // A market that still knew the job would refuse it as known already.
    running.publish_at_last(&request).await;
    assert_eq!((running.count(5050), running.count(7000), running.count(30383)), (1, 1, 1));
    running.stop().await;
}

#[tokio::test]
async fn a_provider_that_connected_before_a_failed_commit_still_counts_as_online() {
    check_online_after(|store| &store.is_full).await;
}

#[tokio::test]
async fn a_provider_that_connected_while_no_transaction_could_be_opened_counts_as_online() {
    check_online_after(|store| &store.is_shut).await;
}

async fn check_online_after(fault: fn(&Full) -> &AtomicBool) {
    let running = start();
    let (advert, request) = (event(1, 31990, &[["d", ""], ["k", "5050"]]), event(2, 5050, &[]));
    running.publish(&advert).await.expect("stored");
    fault(&running.store).store(true, Ordering::SeqCst);
    running.writer.send(Command::Connected(advert.pubkey)).await;
    running.publish(&event(3, 1, &[])).await.expect_err("the disk is at fault");
    fault(&running.store).store(false, Ordering::SeqCst);
    running.publish_at_last(&request).await;
    assert_eq!(running.online(), "1000");
    running.stop().await;
}

#[tokio::test]
async fn who_came_and_went_while_the_store_took_no_writes_counts_as_what_he_is_afterwards() {
    let running = start();
    let advert = event(1, 31990, &[["d", ""], ["k", "5050"]]);
    running.publish(&advert).await.expect("stored");
    running.store.is_full.store(true, Ordering::SeqCst);
    running.publish(&event(3, 1, &[])).await.expect_err("the disk is full");
    // Within the pause after the failure, or after it: it is the same.
    running.writer.send(Command::Connected(advert.pubkey)).await;
    running.publish(&event(3, 1, &[])).await.expect_err("the disk is full");
    running.writer.send(Command::Disconnected(advert.pubkey)).await;
    running.writer.send(Command::Connected(advert.pubkey)).await;
    running.store.is_full.store(false, Ordering::SeqCst);
    running.publish_at_last(&event(2, 5050, &[])).await;
    assert_eq!((running.count(7000), running.online()), (1, "1000".to_owned()));
    running.stop().await;
}

#[tokio::test]
async fn ephemeral_events_are_delivered_while_the_store_takes_no_writes() {
    let running = start();
    let client = Arc::new(Connection::new(0, SocketAddr::from(([127, 0, 0, 1], 1)), 1 << 20));
    let all: Arc<[Filter]> = Arc::from([Filter { kinds: Some(vec![20_001]), ..Filter::default() }]);
    running.live.subscribe(&client, "s".into(), all);
    running.store.is_full.store(true, Ordering::SeqCst);
    running.publish(&event(1, 1, &[])).await.expect_err("the disk is full");
    // What comes just when the store is tried is refused with the rest.
    running.publish_at_last(&event(2, 20_001, &[])).await;
    let mut frames = Vec::new();
    let taken = tokio::time::timeout(PATIENCE, client.outbox.take(&mut frames, 1 << 20));
    taken.await.expect("the event is delivered");
    assert!(matches!(frames[..], [Frame::Event { .. }]));
    running.stop().await;
}

#[tokio::test]
async fn a_writer_whose_store_is_well_again_says_so_without_being_asked_to_write() {
    let running = start();
    running.store.is_full.store(true, Ordering::SeqCst);
    running.publish(&event(1, 1, &[])).await.expect_err("the disk is full");
    assert!(running.writer.meters().is_store_failing());
    running.store.is_full.store(false, Ordering::SeqCst);
    let begun = Instant::now();
    while running.writer.meters().is_store_failing() {
        assert!(begun.elapsed() < PATIENCE, "nobody tried");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn a_writer_that_cannot_go_on_answers_and_ends() {
    let running = start();
    running.publish(&event(1, 1, &[])).await.expect("stored");
    running.store.is_full.store(true, Ordering::SeqCst);
    running.store.is_unreadable.store(true, Ordering::SeqCst);
    running.publish(&event(2, 1, &[])).await.expect_err("the disk is full");
    let ended = tokio::time::timeout(Duration::from_secs(5), running.writer.ended());
    ended.await.expect("whoever watches the writer hears of it");
    assert!(running.thread.join().is_err(), "it did not end well");
}

#[tokio::test]
async fn what_was_accepted_is_stored_and_delivered_before_the_writer_ends() {
    let running = start();
    let client = Arc::new(Connection::new(0, SocketAddr::from(([127, 0, 0, 1], 1)), 1 << 20));
    let all: Arc<[Filter]> = Arc::from([Filter { kinds: Some(vec![1]), ..Filter::default() }]);
    running.live.subscribe(&client, "s".into(), all);
    let notes: Vec<Event> = (1..=50).map(|who| event(who, 1, &[])).collect();
    for note in &notes {
        let reply = Reply::Connection(client.clone());
        running.writer.send(Command::Publish { event: Box::new(note.clone()), reply }).await;
    }
    let count = running.store.clone();
    running.stop().await;
    assert_eq!(count.last_sequence(), 50);
    let mut frames = Vec::new();
    while frames.len() < 100 {
        let taken = tokio::time::timeout(Duration::from_secs(5), client.outbox.take(&mut frames, 1 << 20));
        taken.await.expect("50 answers and 50 events");
    }
    let bodies = frames.iter().filter(|frame| matches!(frame, Frame::Event { .. })).count();
    assert_eq!(bodies, 50);
}
