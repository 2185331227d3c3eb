//! What only a store on disk can promise.

use std::path::Path;

use mercato::nostr::{EventId, Filter};
use mercato::store::Admission::Fresh;
use mercato::store::rocks::{RocksOptions, RocksStore};
use mercato::store::{Scan, Store, StoreError};

use crate::support::{contents, event, offer, run, scan};

fn open(path: &Path) -> RocksStore {
    RocksStore::open(path, RocksOptions::default()).unwrap()
}

#[test]
fn a_store_that_is_opened_again_holds_what_it_held() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    offer(&store, &event(0, 1, 1, &["t x"], "note"));
    let mut transaction = store.begin().unwrap();
    transaction.append_journal(b"entry").unwrap();
    transaction.commit().unwrap();
    drop(store);
    let store = open(folder.path());
    assert_eq!(contents(&store, r##"{"#t":["x"]}"##), ["note"]);
    assert_eq!(store.journal().unwrap(), [b"entry"]);
    let stats = store.stats().unwrap();
    assert_eq!((stats.events, stats.last_sequence, stats.format), (1, 1, 1));
    assert!(stats.bytes_on_disk > 0);
}

#[test]
fn a_sequence_is_never_given_again_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..3 {
        let store = open(folder.path());
        let note = event(0, round, 1, &[], "note");
        offer(&store, &note);
        assert!(store.last_sequence() > last);
        last = store.last_sequence();
        // Removing the newest does not free its number.
        let mut transaction = store.begin().unwrap();
        transaction.remove(&note.id).unwrap();
        transaction.commit().unwrap();
    }
}

#[test]
fn a_journal_that_was_cleared_stays_clear_and_goes_on_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let write = |entry: &[u8], clear: bool| {
        let store = open(folder.path());
        let mut transaction = store.begin().unwrap();
        if clear {
            transaction.clear_journal().unwrap();
        }
        transaction.append_journal(entry).unwrap();
        transaction.commit().unwrap();
        store.journal().unwrap()
    };
    write(b"a", false);
    assert_eq!(write(b"b", true), [b"b"]);
    assert_eq!(write(b"c", false), [b"b", b"c"]);
}

#[test]
fn another_process_reads_beside_the_one_that_writes() {
    let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(folder.path());
    offer(&store, &event(0, 1, 1, &["t x"], "in a file"));
    store.flush().unwrap();
    offer(&store, &event(0, 2, 1, &["t x"], "in the log"));
    let reader = RocksStore::open_secondary(folder.path(), scratch.path(), RocksOptions::default()).unwrap();
    assert_eq!(contents(&reader, r##"{"#t":["x"]}"##), ["in the log", "in a file"]);
    assert_eq!(reader.last_sequence(), 2);
    assert!(matches!(reader.begin().map(drop), Err(StoreError::Io(_))));
    assert!(RocksStore::open(folder.path(), RocksOptions::default()).is_err(), "only one process writes");
}

#[test]
fn reading_beside_a_store_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let opened = RocksStore::open_secondary(&missing, folder.path(), RocksOptions::default());
    assert!(matches!(opened, Err(StoreError::Io(_))));
}

/// Writes as another version of this program would, beneath the store.
pub fn rewrite(path: &Path, change: impl FnOnce(&mut rocksdb::DB)) {
    let families = rocksdb::DB::list_cf(&rocksdb::Options::default(), path).unwrap();
    let mut db = rocksdb::DB::open_cf(&rocksdb::Options::default(), path, families).unwrap();
    change(&mut db);
}

#[test]
fn a_store_of_an_unknown_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    rewrite(folder.path(), |db| db.put_cf(db.cf_handle("meta").unwrap(), "format", 7u32.to_be_bytes()).unwrap());
    let refused = |opened: Result<RocksStore, StoreError>| {
        assert!(matches!(opened, Err(StoreError::Format { found: 7, known: 1 })), "{opened:?}");
    };
    refused(RocksStore::open(folder.path(), RocksOptions::default()));
    rewrite(folder.path(), |db| db.create_cf("from_the_future", &rocksdb::Options::default()).unwrap());
    refused(RocksStore::open(folder.path(), RocksOptions::default()));
    let scratch = tempfile::tempdir().unwrap();
    refused(RocksStore::open_secondary(folder.path(), scratch.path(), RocksOptions::default()));
}

#[test]
fn a_database_of_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    let mut db = rocksdb::DB::open(&options, folder.path()).unwrap();
    db.create_cf("theirs", &options).unwrap();
    drop(db);
    let opened = RocksStore::open(folder.path(), RocksOptions::default());
    assert!(matches!(opened, Err(StoreError::Damaged(_))), "{opened:?}");
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn log_of(path: &Path) -> std::path::PathBuf {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|e| e == "log")).max().unwrap()
}

/// Whatever length the log has when the power goes, whole groups from the first on are there.
#[test]
fn a_torn_log_keeps_whole_groups_up_to_the_tear() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for group in 0..8u64 {
        let mut transaction = store.begin().unwrap();
        for member in 0..3 {
            let content = format!("{group}");
            transaction.insert(&event(member, group, 1, &["t x"], &content)).unwrap();
        }
        transaction.append_journal(group.to_string().as_bytes()).unwrap();
        transaction.commit().unwrap();
    }
    let whole = std::fs::metadata(log_of(folder.path())).unwrap().len();
    for torn in [0, 1, 50, 900, 2500, 5000, whole - 1] {
        let image = tempfile::tempdir().unwrap();
        copy(folder.path(), image.path());
        let log = std::fs::OpenOptions::new().write(true).open(log_of(image.path())).unwrap();
        log.set_len(whole - torn).unwrap();
        let store = open(image.path());
        let records = run(&store, scan(Filter::default()), 100);
        let groups = store.journal().unwrap().len();
        assert_eq!(records.len(), 3 * groups, "{torn} bytes are missing");
        assert_eq!(contents(&store, r##"{"#t":["x"]}"##).len(), records.len());
        assert!(records.iter().all(|record| record.position.created_at() < groups as u64));
        assert_eq!(store.stats().unwrap().events, records.len() as u64);
        assert_eq!(groups == 8, torn == 0, "{torn} bytes are missing");
    }
}

#[test]
fn a_scan_of_thousands_of_ranges_finds_what_stands_in_few() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for n in 0..50 {
        offer(&store, &event(0, n, 1, &[&format!("t {}", n * 37)], ""));
    }
    let values: Vec<String> = (0..4000).map(|value| format!("\"{value}\"")).collect();
    for json in
        [format!(r##"{{"#t":[{}]}}"##, values.join(",")), format!(r##"{{"#t":[{}],"kinds":[1]}}"##, values.join(","))]
    {
        for ascending in [false, true] {
            let mut question = scan(crate::support::filter(&json));
            question.ascending = ascending;
            assert_eq!(run(&store, question, 10).len(), 50);
        }
    }
}

#[test]
fn a_reader_always_finds_one_version_while_it_is_being_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let store = RocksStore::open(folder.path(), RocksOptions { durable: false, ..RocksOptions::default() }).unwrap();
    let versions: Vec<_> = (0..500).map(|n| event(0, n, 30000, &["d x"], "")).collect();
    offer(&store, &versions[0]);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| versions[1..].iter().for_each(|version| assert_eq!(offer(&store, version), Fresh)));
        while !writer.is_finished() {
            for json in [r##"{"#d":["x"]}"##, r#"{"kinds":[30000]}"#, "{}"] {
                assert_eq!(run(&store, scan(crate::support::filter(json)), 10).len(), 1);
            }
        }
    });
}

/// Every event, oldest first, by id.
fn ids(store: &RocksStore) -> Vec<EventId> {
    let every = Scan { ascending: true, room: u64::MAX, ..scan(Filter::default()) };
    run(store, every, 1_000).into_iter().map(|record| record.position.id).collect()
}

/// Files as a crash would leave them at this moment.
fn crash_image(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// RocksDB's secondary reads for ever in a log that is written over a longer one, so no log may be.
#[test]
fn a_reader_opens_beside_a_writer_that_has_just_begun_another_log() {
    let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = RocksOptions { durable: false, ..RocksOptions::default() };
    let store = RocksStore::open(folder.path(), options).unwrap();
    let prose = "x".repeat(3_000);
    for round in 0..6_u64 {
        let mut transaction = store.begin().unwrap();
        for nth in 0..200 {
            transaction.insert(&event(0, 1_000 * round + nth, 1, &[], &prose)).unwrap();
        }
        transaction.commit().unwrap();
        store.flush().unwrap();
        offer(&store, &event(0, 1_000 * round + 500, 1, &[], "the first in its log"));
        let (path, notes) = (folder.path().to_owned(), scratch.path().join(round.to_string()));
        let (opened, waiting) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let reader = RocksStore::open_secondary(&path, &notes, options).unwrap();
            // Nobody waits any more when it took too long.
            let _ = opened.send(ids(&reader).len());
        });
        let found = waiting.recv_timeout(std::time::Duration::from_secs(120)).expect("it opens");
        assert_eq!(found as u64, 201 * (round + 1));
    }
}

#[test]
fn logs_that_are_given_up_lose_nothing_for_readers_beside_or_after_a_crash() {
    let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Small buffers, so that a log is given up every few hundred events.
    let options = RocksOptions { write_buffer_bytes: 1 << 20, durable: false, ..RocksOptions::default() };
    let store = RocksStore::open(folder.path(), options).unwrap();
    let reader = RocksStore::open_secondary(folder.path(), scratch.path(), options).unwrap();
    let prose = "x".repeat(3_000);
    let mut written = Vec::new();
    for round in 0..12_u64 {
        let mut transaction = store.begin().unwrap();
        for nth in 0..200 {
            let event = event(0, 1_000 * round + nth, 1, &["t x"], &format!("{round} {nth} {prose}"));
            transaction.insert(&event).unwrap();
            written.push(event.id);
        }
        transaction.commit().unwrap();
        if round % 3 == 0 {
            // Events are the first to fill their buffer; this gives up the log for all families.
            store.flush().unwrap();
        }
        reader.catch_up().unwrap();
        assert_eq!(ids(&reader), written, "beside the writer, round {round}");
        store.sync().unwrap();
        let image = tempfile::tempdir().unwrap();
        crash_image(folder.path(), image.path());
        let restarted = RocksStore::open(image.path(), options).unwrap();
        assert_eq!(ids(&restarted), written, "after a crash, round {round}");
        assert_eq!(restarted.last_sequence(), store.last_sequence());
    }
}

#[test]
fn a_bulk_load_leaves_what_the_same_events_leave_one_by_one() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bulk = RocksOptions { bulk: true, durable: false, write_buffer_bytes: 1 << 20, ..RocksOptions::default() };
    let stores = [RocksStore::open(folder.path(), bulk).unwrap(), open(other.path())];
    for nth in 0..3_000_u64 {
        let note = match nth % 5 {
            // Replaced again and again, deleted, and not.
            0 => event(0, nth, 0, &[], &format!("profile {nth}")),
            1 => event(1, nth / 7, 30_000, &["d x", "t x"], &format!("list {nth}")),
            2 if nth > 10 => event(2, nth, 5, &[&format!("e {}", event(2, nth - 9, 1, &["t x"], "gone").id)], ""),
            3 => event(2, nth, 1, &["t x"], "gone"),
            _ => event(3, nth % 50, 1, &["t x", "p y"], &format!("note {nth}")),
        };
        let [admitted, expected] = [&stores[0], &stores[1]].map(|store| offer(store, &note));
        assert_eq!(admitted, expected, "event {nth}");
    }
    let filters = [r##"{"#t":["x"]}"##, r#"{"kinds":[0,1]}"#, r##"{"#p":["y"],"kinds":[1],"limit":7}"##, "{}"];
    let compare = |first: &RocksStore, second: &RocksStore| {
        for filter in filters {
            assert_eq!(contents(first, filter), contents(second, filter), "{filter}");
        }
    };
    compare(&stores[0], &stores[1]);
    // A load that is over is read with the ordinary options.
    let [loaded, plain] = stores;
    loaded.sync().unwrap();
    drop(loaded);
    compare(&open(folder.path()), &plain);
}
