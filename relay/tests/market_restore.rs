//! A crash at any moment loses nothing and leases nothing twice: what is committed is what is restored.

#[macro_use]
mod market_world;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use market_world::{START_S, World, pubkey, someone, value};
use mercato::config::MarketConfig;
use mercato::market::{
    Market, MarketKeys,
    journal::{self, Entry},
};
use mercato::nostr::{Event, EventId, Filter, Pubkey};
use mercato::store::memory::MemoryStore;
use mercato::store::{Progress, Record, Scan, Store, StoreError, StoreStats, Transaction};
use mercato_scheduler::{Scheduler, State};
use proptest::prelude::*;

const CUSTOMERS: [u8; 2] = [1, 2];
const PROVIDERS: [u8; 3] = [3, 4, 5];

#[derive(Debug, Clone)]
enum Move {
    Advertise {
        who: usize,
        d: u8,
        kinds: u8,
        slots: u8,
    },
    Unadvertise {
        who: usize,
        d: u8,
    },
    Connect(usize),
    Disconnect(usize),
    Ask {
        who: usize,
        tags: u8,
    },
    Say {
        who: usize,
        job: usize,
        status: usize,
    },
    Deliver {
        who: usize,
        job: usize,
    },
    Cancel {
        who: usize,
        job: usize,
    },
    Wait(u64),
    Restart,
    /// The process dies after the market has judged a message and before the commit.
    LostCommit {
        who: usize,
        job: usize,
    },
}

fn moves() -> impl Strategy<Value = Move> {
    let who = 0..PROVIDERS.len();
    let customer = 0..CUSTOMERS.len();
    let job = 0..6usize;
    prop_oneof![
        3 => (who.clone(), 0..2u8, 1..4u8, 0..3u8).prop_map(|(who, d, kinds, slots)| Move::Advertise { who, d, kinds, slots }),
        1 => (who.clone(), 0..2u8).prop_map(|(who, d)| Move::Unadvertise { who, d }),
        2 => who.clone().prop_map(Move::Connect),
        1 => who.clone().prop_map(Move::Disconnect),
        5 => (customer.clone(), 0..6u8).prop_map(|(who, tags)| Move::Ask { who, tags }),
        6 => (who.clone(), job.clone(), 0..5usize).prop_map(|(who, job, status)| Move::Say { who, job, status }),
        4 => (who.clone(), job.clone()).prop_map(|(who, job)| Move::Deliver { who, job }),
        1 => (customer, job.clone()).prop_map(|(who, job)| Move::Cancel { who, job }),
        4 => prop_oneof![0..50u64, 1_000..20_000u64, 500_000..4_000_000u64].prop_map(Move::Wait),
        1 => Just(Move::Restart),
        1 => (who, job).prop_map(|(who, job)| Move::LostCommit { who, job }),
    ]
}

/// Plays a move; refusals are part of the game.
fn play(world: &mut World, jobs: &mut Vec<EventId>, serial: u64, next: Move) {
    // Makes every event one of its kind.
    let nonce = vec!["nonce".to_owned(), serial.to_string()];
    let job_of = |job: usize| jobs.get(jobs.len().wrapping_sub(1 + job)).copied().unwrap_or(EventId([9; 32]));
    match next {
        Move::Advertise { who, d, kinds, slots } => {
            world.now_ms += 1_000;
            let mut tags = tags!["d", d; "slots", slots];
            tags.extend(
                (0..2).filter(|bit| kinds & (1 << bit) != 0).map(|bit| vec!["k".into(), (5000 + bit).to_string()]),
            );
            world.say(PROVIDERS[who], 31990, [tags, vec![nonce]].concat()).unwrap();
        }
        Move::Unadvertise { who, d } => {
            let address = format!("31990:{}:{d}", pubkey(PROVIDERS[who]));
            world.say(PROVIDERS[who], 5, [tags!["a", address], vec![nonce]].concat()).unwrap();
        }
        Move::Connect(who) => world.connect(PROVIDERS[who]),
        Move::Disconnect(who) => world.disconnect(PROVIDERS[who]),
        Move::Ask { who, tags } => {
            let extra = match tags {
                0 => tags!["dispatch", "open"],
                1 => tags!["p", pubkey(PROVIDERS[0])],
                2 => tags!["attempts", 1; "timeout", "run", 5],
                3 => tags!["timeout", "heartbeat", 2],
                _ => vec![],
            };
            let kind = 5000 + u16::from(tags % 2);
            jobs.push(world.say(CUSTOMERS[who], kind, [extra, vec![nonce]].concat()).unwrap());
        }
        Move::Say { who, job, status } => {
            let status = ["processing", "partial", "success", "error", "payment-required"][status];
            let tags = [tags!["status", status; "e", job_of(job)], vec![nonce]].concat();
            let _ = world.say(PROVIDERS[who], 7000, tags);
        }
        Move::Deliver { who, job } => {
            let _ = world.publish(&result(world, who, job_of(job), nonce));
        }
        Move::Cancel { who, job } => {
            world.say(CUSTOMERS[who], 5, [tags!["e", job_of(job)], vec![nonce]].concat()).unwrap();
        }
        Move::Wait(ms) => world.wait_ms(ms),
        Move::Restart => world.restart(),
        Move::LostCommit { who, job } => {
            let lost = result(world, who, job_of(job), nonce);
            let _ = world.market.on_event(world.now_ms, &lost);
            world.restart();
        }
    }
}

fn result(world: &World, who: usize, job: EventId, nonce: Vec<String>) -> Event {
    let kind = world.store.get(&job).unwrap().map_or(6000, |request| request.kind + 1_000);
    world.sign(PROVIDERS[who], kind, [tags!["e", job], vec![nonce]].concat())
}

/// What an entry says about the state; `None`: it is about the tape.
fn record(entry: &[u8]) -> Option<mercato_scheduler::Record> {
    match journal::decode(entry).unwrap() {
        Entry::Record(record) => Some(record),
        Entry::Tape(_) => None,
    }
}

/// The state that the stored journal alone adds up to.
fn folded(world: &World) -> State {
    let journal = world.store.journal().unwrap();
    let records = journal.iter().filter_map(|entry| record(entry));
    let config = world.market.scheduler().config().clone();
    Scheduler::restore(config, records).unwrap().state().clone()
}

/// Who may see which job.
fn visibility(world: &World, jobs: &[EventId]) -> Vec<bool> {
    let all = CUSTOMERS.iter().chain(&PROVIDERS);
    let known = jobs.iter().filter(|job| world.store.get(job).unwrap().is_some());
    known.flat_map(|job| all.clone().map(|who| world.may_see(*job, *who))).collect()
}

/// No lease number was ever signed twice, and no job has two leases that overlap.
fn check_leases(world: &World) {
    let filter = Filter { kinds: Some(vec![7000]), authors: Some(vec![world.keys.public()]), ..Filter::default() };
    let told = world.find(filter);
    let mut leases = BTreeSet::new();
    let mut open: BTreeMap<String, i64> = BTreeMap::new();
    for event in &told {
        let job = value(event, "e").unwrap();
        match value(event, "status").unwrap().as_str() {
            "assigned" => {
                assert!(leases.insert(value(event, "lease").unwrap()), "a lease number stands twice");
                *open.entry(job).or_default() += 1;
            }
            "withdrawn" => *open.entry(job).or_default() -= 1,
            _ => {}
        }
    }
    assert!(open.values().all(|count| (0..=1).contains(count)), "{open:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_restored_market_is_the_live_one(script in prop::collection::vec(moves(), 1..60)) {
        let mut world = World::with(|config| config.max_open_jobs_per_customer = 1_000);
        let mut jobs = Vec::new();
        for (serial, next) in (0..).zip(script) {
            play(&mut world, &mut jobs, serial, next);
            prop_assert_eq!(&folded(&world), world.market.scheduler().state());
        }
        let visible = visibility(&world, &jobs);
        let offers = |world: &World| -> Vec<_> {
            world.market.scheduler().state().providers().values().map(|row| (row.id, row.advert.clone())).collect()
        };
        let offered = offers(&world);
        // Everything told of the restart may itself be lost: it is then told by the next one.
        let unfinished = world.rebuild();
        drop(unfinished);
        world.restart();
        prop_assert_eq!(visibility(&world, &jobs), visible);
        prop_assert_eq!(offers(&world), offered);
        check_leases(&world);
        // The public states are what the scheduler knows.
        for job in &jobs {
            if let Some(view) = world.view(*job) {
                prop_assert_eq!(world.state(*job).0, view.status.as_str());
            }
        }
    }
}

#[test]
fn a_commit_that_fails_leaves_no_trace() {
    let mut world = World::new();
    world.provider(PROVIDERS[0], &[5050]);
    let job = world.say(CUSTOMERS[0], 5050, vec![]).unwrap();
    let before = folded(&world);
    let result = world.sign(PROVIDERS[0], 6050, tags!["e", job]);
    let output = world.market.on_event(world.now_ms, &result).unwrap();
    assert!(!output.announcements.is_empty());
    drop(output);
    assert_eq!(folded(&world), before);
    world.restart();
    assert_eq!(world.state(job).0, "leased");
    assert!(!world.may_see(job, PROVIDERS[1]));
    world.connect(PROVIDERS[0]);
    world.publish(&result).unwrap();
    assert_eq!(world.state(job).0, "succeeded");
}

#[test]
fn after_a_restart_leaseholders_have_their_grace_and_then_lose_their_leases() {
    for comes_back in [true, false] {
        let mut world = World::new();
        world.provider(PROVIDERS[0], &[5050]);
        let job = world.say(CUSTOMERS[0], 5050, vec![]).unwrap();
        world.feedback(PROVIDERS[0], job, "processing").unwrap();
        world.restart();
        world.wait_ms(14_000);
        if comes_back {
            world.connect(PROVIDERS[0]);
        }
        world.wait_ms(5_000);
        let expected = if comes_back { "running" } else { "queued" };
        assert_eq!(world.state(job).0, expected);
    }
}

#[test]
fn a_long_journal_is_replaced_by_the_state_it_adds_up_to() {
    let mut world = World::new();
    world.provider(PROVIDERS[0], &[5050]);
    world.say(CUSTOMERS[0], 5050, vec![]).unwrap();
    let mut journal = world.store.journal().unwrap();
    let mut replaced = 0;
    for _ in 0..10_000 {
        world.now_ms += 1;
        for output in [
            world.market.on_disconnected(world.now_ms, &pubkey(PROVIDERS[0])),
            world.market.on_connected(world.now_ms, &pubkey(PROVIDERS[0])),
        ] {
            journal.extend(output.journal);
        }
        if let Some(entries) = world.market.compaction() {
            assert!(journal.len() > 10_000 && entries.len() < 10, "{} by {}", journal.len(), entries.len());
            journal = entries;
            replaced += 1;
        }
    }
    assert_eq!(replaced, 2, "of 20000 entries");
    let records = journal.iter().filter_map(|entry| record(entry));
    let config = world.market.scheduler().config().clone();
    let restored = Scheduler::restore(config, records).unwrap();
    assert_eq!(restored.state(), world.market.scheduler().state());
}

/// A store that counts how often it is read.
#[derive(Debug, Default)]
struct Counting {
    store: MemoryStore,
    scans: AtomicUsize,
}

impl Store for Counting {
    fn get(&self, id: &EventId) -> Result<Option<Record>, StoreError> {
        self.store.get(id)
    }

    fn is_deleted(&self, id: &EventId, author: &Pubkey) -> Result<bool, StoreError> {
        self.store.is_deleted(id, author)
    }

    fn scan(
        &self,
        scan: &mut Scan,
        budget: u32,
        found: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<Progress, StoreError> {
        self.scans.fetch_add(1, Ordering::Relaxed);
        self.store.scan(scan, budget, found)
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        self.store.begin()
    }

    fn journal(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        self.store.journal()
    }

    fn expired(&self, now: u64, max: usize) -> Result<Vec<EventId>, StoreError> {
        self.store.expired(now, max)
    }

    fn vanishing(&self) -> Result<Option<(Pubkey, u64)>, StoreError> {
        self.store.vanishing()
    }

    fn last_sequence(&self) -> u64 {
        self.store.last_sequence()
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.store.stats()
    }
}

#[test]
fn a_restart_reads_all_adverts_in_one_pass() {
    const PROVIDERS: u8 = 200;
    let store = Arc::new(Counting::default());
    let mut txn = store.begin().unwrap();
    for who in 1..=PROVIDERS {
        let tags = tags!["d", "x"; "k", "5050"];
        txn.insert(&Event::sign(&someone(who), START_S, 31_990, &tags, "")).unwrap();
    }
    txn.commit().unwrap();
    let (keys, audiences) = (MarketKeys::ephemeral().unwrap(), Arc::default());
    let config = MarketConfig::default();
    let restored =
        Market::restore(&config, keys, audiences, std::iter::empty(), START_S * 1_000, store.clone()).unwrap().0;
    let offering = restored.scheduler().state().providers().values().filter(|provider| provider.advert.is_some());
    assert_eq!(offering.count(), usize::from(PROVIDERS));
    let scans = store.scans.load(Ordering::Relaxed);
    assert!(scans <= 2, "{scans} scans for {PROVIDERS} providers");
}
