//! Kept trees follow the writer: whatever it does, they hold what one built afterwards holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mercato::clock::now_s;
use mercato::live::Live;
use mercato::negentropy::trees::TreeInfo;
use mercato::negentropy::{Item, Tree, Trees};
use mercato::nostr::{Event, Filter, FilterLimits};
use mercato::store::Store;
use mercato::store::rocks::{RocksOptions, RocksStore};
use mercato::sweep::Sweeper;
use mercato::writer::{self, Command, Upkeep, WriterHandle};
use secp256k1::Keypair;
use tokio::sync::oneshot;

use crate::support::Random;

const FILTERS: [&str; 4] = ["{}", r#"{"kinds":[0,10002]}"#, r##"{"kinds":[1],"#t":["x"]}"##, r#"{"kinds":[1059]}"#];
const MEMORY: usize = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

fn filter(json: &str) -> Filter {
    Filter::parse(json, FilterLimits { max_elements: 100, max_tags: 3 }).unwrap()
}

fn trees(max_bytes: usize) -> Arc<Trees> {
    Arc::new(Trees::new(FILTERS.map(filter).to_vec(), max_bytes))
}

/// What the trees hold once none is being built.
fn settled(trees: &Trees) -> Vec<TreeInfo> {
    let begun = Instant::now();
    while trees.list().iter().any(|tree| tree.state == "building") {
        assert!(begun.elapsed() < PATIENCE, "a tree is never ready");
        std::thread::sleep(Duration::from_millis(5));
    }
    trees.list()
}

fn rebuilt(store: &Arc<RocksStore>) -> Vec<TreeInfo> {
    let trees = trees(MEMORY);
    trees.build(store.clone()).unwrap();
    settled(&trees)
}

fn event(random: &mut Random, known: &[Event]) -> Event {
    let now = now_s();
    let kind = [0, 1, 1, 1, 5, 1059, 10002, 30000][random.below(8) as usize];
    let mut tags = vec![vec!["t".to_owned(), ["x", "y"][random.below(2) as usize].to_owned()]];
    if kind == 5 {
        for _ in 0..3 {
            if let Some(event) = known.get(random.below(known.len().max(1) as u64) as usize) {
                tags.push(vec!["e".to_owned(), event.id.to_hex()]);
            }
        }
    } else if random.below(5) == 0 {
        tags.push(vec!["expiration".to_owned(), (now - 10 + random.below(13)).to_string()]);
    }
    let key = Keypair::from_secret_bytes([1 + random.below(3) as u8; 32]).unwrap();
    Event::sign(&key, now - random.below(50), kind, &tags, &random.next().to_string())
}

async fn import(writer: &WriterHandle, event: &Event) -> oneshot::Receiver<writer::Imported> {
    let (reply, outcome) = oneshot::channel();
    writer.send(Command::Import { event: Box::new(event.clone()), reply }).await;
    outcome
}

async fn churn(writer: &WriterHandle, random: &mut Random, events: usize) {
    let mut known: Vec<Event> = Vec::new();
    let mut outcomes = Vec::new();
    for _ in 0..events {
        if random.below(60) == 0 {
            let (reply, outcome) = oneshot::channel();
            let since = now_s() - random.below(50);
            let filter = Filter { since: Some(since), until: Some(since + 1), ..Filter::default() };
            writer.send(Command::Delete { filter, reply }).await;
            outcome.await.unwrap().unwrap();
        }
        // Some come again, after they were replaced, deleted or swept.
        let event = match random.below(4) {
            0 if !known.is_empty() => known[random.below(known.len() as u64) as usize].clone(),
            _ => event(random, &known),
        };
        outcomes.push(import(writer, &event).await);
        known.push(event);
    }
    for outcome in outcomes {
        outcome.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_followed_the_writer_is_one_built_afterwards() {
    for seed in 0..6 {
        let (folder, mut random) = (tempfile::tempdir().unwrap(), Random::new(seed));
        let store = Arc::new(RocksStore::open(folder.path(), RocksOptions::default()).unwrap());
        let trees = trees(MEMORY);
        let upkeep =
            Upkeep { max_pending: 1_000, sweeper: Some(Sweeper::new(Vec::new())), followers: vec![trees.clone()] };
        let live = Arc::new(Live::new(0));
        let (writer, thread) = writer::start(store.clone(), None, Arc::default(), live, upkeep).unwrap();
        // Some are there before the trees are built, some come meanwhile, some afterwards.
        churn(&writer, &mut random, 400).await;
        trees.build(store.clone()).unwrap();
        churn(&writer, &mut random, 400).await;
        settled(&trees);
        churn(&writer, &mut random, 400).await;
        writer.stop().await;
        thread.join().unwrap();
        let kept = trees.list();
        assert_eq!(kept, rebuilt(&store), "seed {seed}");
        assert!(kept[0].events > 50 && kept[1].events > 0, "{kept:?}");
        assert_eq!(kept[3].events, 0, "private events are in no tree");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_without_memory_is_dropped_and_can_be_built_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(RocksStore::open(folder.path(), RocksOptions::default()).unwrap());
    let trees = trees(100 * 64);
    let upkeep = Upkeep { max_pending: 1_000, sweeper: None, followers: vec![trees.clone()] };
    let (writer, thread) = writer::start(store.clone(), None, Arc::default(), Arc::new(Live::new(0)), upkeep).unwrap();
    trees.build(store.clone()).unwrap();
    settled(&trees);
    churn(&writer, &mut Random::new(1), 300).await;
    assert_eq!(trees.list()[0].state, "too large");
    assert!(trees.find(&filter("{}")).is_none());
    let (reply, outcome) = oneshot::channel();
    writer.send(Command::Delete { filter: filter(r#"{"kinds":[1,5,30000]}"#), reply }).await;
    outcome.await.unwrap().unwrap();
    assert!(trees.reset(&filter("{}")) && !trees.reset(&filter(r#"{"kinds":[7]}"#)));
    trees.build(store.clone()).unwrap();
    assert_eq!(settled(&trees)[0].state, "ready");
    writer.stop().await;
    thread.join().unwrap();
    assert_eq!(trees.list()[0], rebuilt(&store)[0]);
}

#[test]
fn a_tree_is_found_whatever_the_times_asked_for_but_not_with_a_limit() {
    let trees = Arc::new(Trees::new(vec![filter("{}")], MEMORY));
    let store: Arc<dyn Store> = Arc::new(mercato::store::memory::MemoryStore::new());
    assert!(trees.find(&filter("{}")).is_none(), "not before it is built");
    trees.build(store).unwrap();
    settled(&trees);
    assert!(trees.find(&filter(r#"{"since":1,"until":2}"#)).is_some());
    assert!(trees.find(&filter(r#"{"limit":5}"#)).is_none());
    assert!(trees.find(&filter(r#"{"kinds":[1]}"#)).is_none());
    assert!(!trees.add(filter("{}")) && trees.add(filter(r#"{"kinds":[1]}"#)));
}

/// What a tree takes per million events, and how fast it grows; run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn measure_a_million() {
    let mut random = Random::new(1);
    let items: Vec<Item> = (0..1_000_000).map(|n| Item { created_at: n, id: random.id() }).collect();
    for (name, order) in [("in order", false), ("at random", true)] {
        let mut items = items.clone();
        if order {
            items.sort_unstable_by_key(|item| item.id);
        }
        let (before, begun) = (resident_kib(), Instant::now());
        let tree: Tree = items.iter().copied().collect();
        let took = begun.elapsed();
        let begun = Instant::now();
        let mut walks = 0;
        for from in (0..1_000_000).step_by(1_000) {
            walks += tree.fingerprint(from..1_000_000)[0] as usize;
        }
        let fingerprints = begun.elapsed() / 1_000;
        eprintln!("{name}: {took:?}, {} KiB, {fingerprints:?} a fingerprint ({walks})", resident_kib() - before);
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
