//! A store of format 1, made by the program of July 2026 (before any release) and kept as it was: every later program
//! must read it, or say that it wants it migrated.

use std::path::{Path, PathBuf};

use mercato::nostr::Event;
use mercato::store::rocks::{Checking, RocksOptions, RocksStore};
use mercato::store::{Admission, Store};

use crate::support::{contents, event, offer, pubkey};

fn place() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1")
}

/// What was offered to it, in this order, up to `sorted` before its log was sorted into files.
fn offered() -> Vec<Event> {
    let mut events: Vec<Event> = (0..60)
        .map(|n| event((n % 4) as u8, 1_000 + n, 1, &[&format!("t topic{}", n % 3)], &format!("note {n}")))
        .collect();
    events.push(event(0, 2_000, 0, &[], "old profile"));
    events.push(event(0, 2_001, 0, &[], "profile"));
    events.push(event(1, 2_002, 30023, &["d article"], "article"));
    events.push(event(2, 2_003, 1, &["expiration 9999999999"], "ends"));
    events.push(event(3, 2_004, 1059, &[&format!("p {}", pubkey(0))], "wrapped"));
    events.push(event(0, 2_005, 5, &[&format!("e {}", events[0].id)], "deletion"));
    events.push(event(1, 2_006, 5, &[&format!("a 30023:{}:other", pubkey(1))], "deletion of an address"));
    events.push(event(2, 2_007, 7, &[&format!("e {}", events[4].id)], "\u{1f919} \"quoted\"\n"));
    events
}

const SORTED: usize = 40;

fn fill(path: &Path) {
    let store = RocksStore::open(path, RocksOptions::default()).unwrap();
    for (at, event) in offered().iter().enumerate() {
        if at == SORTED {
            store.flush().unwrap();
        }
        assert_eq!(offer(&store, event), Admission::Fresh);
    }
    let mut transaction = store.begin().unwrap();
    transaction.append_journal(b"first entry").unwrap();
    transaction.append_journal(b"second entry").unwrap();
    transaction.commit().unwrap();
}

/// Not a test: makes the fixture anew, for a format that has none yet.
#[test]
#[ignore = "writes into the source tree"]
fn make() {
    std::fs::create_dir_all(place()).unwrap();
    fill(&place());
    for entry in std::fs::read_dir(place()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        // The rest is not needed to open it.
        if !(name == "CURRENT" || name.starts_with("MANIFEST") || name.ends_with(".sst")) {
            std::fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn a_store_of_format_1_is_read_and_written_on() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(place()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let store = RocksStore::open(folder.path(), RocksOptions::default()).unwrap();
    let mut faults = Vec::new();
    let mut checking = Checking { signatures: true, progress: &mut || {}, found: &mut |fault| faults.push(fault) };
    store.check(&mut checking).unwrap();
    assert_eq!(faults, []);
    let offered = offered();
    let gone = [offered[0].id, offered[60].id];
    for event in &offered {
        let stored = store.get(&event.id).unwrap();
        assert_eq!(stored.is_none(), gone.contains(&event.id));
        assert!(stored.is_none_or(|record| record.event().unwrap().content() == event.content()));
    }
    let stats = store.stats().unwrap();
    assert_eq!((stats.events, stats.last_sequence, stats.format), (66, 68, 1));
    assert_eq!(store.journal().unwrap(), [&b"first entry"[..], b"second entry"]);
    assert_eq!(contents(&store, r##"{"#t":["topic1"],"limit":2}"##), ["note 58", "note 55"]);
    assert_eq!(offer(&store, &offered[0]), Admission::Deleted);
    assert_eq!(offer(&store, &offered[60]), Admission::Replaced);
    assert_eq!(offer(&store, &event(0, 3_000, 0, &[], "newer profile")), Admission::Fresh);
    assert_eq!(contents(&store, r#"{"kinds":[0]}"#), ["newer profile"]);
}
