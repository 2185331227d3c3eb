//! Every kind of damage is found, and nothing else.

use std::path::Path;

use mercato::nostr::Event;
use mercato::store::rocks::{Checking, Fault, RocksOptions, RocksStore};
use mercato::store::{Position, Store};

use crate::disk::rewrite;
use crate::support::{author, event, offer};

fn faults(path: &Path) -> Vec<Fault> {
    let store = RocksStore::open(path, RocksOptions::default()).unwrap();
    let (mut faults, mut read) = (Vec::new(), 0);
    let mut checking =
        Checking { signatures: true, progress: &mut || read += 1, found: &mut |fault| faults.push(fault) };
    store.check(&mut checking).unwrap();
    faults
}

/// A store with something of everything.
fn events() -> Vec<Event> {
    let note = event(0, 10, 1, &["t x", "t x", "t y", "expiration 9999999999"], "note");
    let unwanted = event(0, 11, 1, &[], "unwanted");
    let (old, new) = (event(1, 5, 30000, &["d a"], "old"), event(1, 6, 30000, &["d a"], "new"));
    let gone = event(1, 7, 30000, &["d b"], "gone");
    let address = format!("a 30000:{}:b", const_hex::encode(author(1).x_only_public_key().0.to_byte_array()));
    let deletion = event(0, 20, 5, &[&format!("e {}", unwanted.id)], "");
    let of_address = event(1, 20, 5, &[&address], "");
    vec![note, unwanted, old, new, gone, deletion, of_address]
}

fn store(path: &Path) -> Vec<Event> {
    let store = RocksStore::open(path, RocksOptions::default()).unwrap();
    let events = events();
    for event in &events {
        offer(&store, event);
    }
    assert_eq!(store.stats().unwrap().events, 4);
    events
}

/// What is found after a change beneath the store.
fn damaged(change: impl FnOnce(&rocksdb::DB, &[Event])) -> Vec<Fault> {
    let folder = tempfile::tempdir().unwrap();
    let events = store(folder.path());
    rewrite(folder.path(), |db| change(db, &events));
    faults(folder.path())
}

fn key(event: &Event) -> [u8; 40] {
    Position::new(event.created_at, event.id).to_bytes()
}

#[test]
fn a_sound_store_has_no_faults() {
    assert_eq!(damaged(|_, _| {}), []);
    let folder = tempfile::tempdir().unwrap();
    drop(RocksStore::open(folder.path(), RocksOptions::default()).unwrap());
    assert_eq!(faults(folder.path()), []);
}

#[test]
fn a_missing_entry_is_found_in_every_family() {
    for family in ["ids", "author", "author_kind", "kind", "tag", "tag_kind", "expiry", "address"] {
        let found = damaged(|db, events| {
            let family = db.cf_handle(family).unwrap();
            // The newest version is in `address`, the note in all others.
            let key = key(&events[0]);
            let entries = db.iterator_cf(family, rocksdb::IteratorMode::Start).map(Result::unwrap);
            let all: Vec<_> = entries.collect();
            let (entry, _) = all.iter().find(|(k, _)| k.ends_with(&key) || **k == events[0].id.0).unwrap_or(&all[0]);
            db.delete_cf(family, entry).unwrap();
        });
        let id = if family == "address" { events()[3].id } else { events()[0].id };
        assert_eq!(found, [Fault::Missing { id, family }]);
    }
}

#[test]
fn an_entry_that_leads_nowhere_is_found() {
    let id = event(2, 1, 1, &[], "never stored").id;
    let found = damaged(|db, _| {
        let position = Position::new(1, id).to_bytes();
        db.put_cf(db.cf_handle("kind").unwrap(), [&[0, 1], &position[..]].concat(), []).unwrap();
    });
    assert_eq!(found, [Fault::Stray { id, family: "kind" }]);
    let note = events()[0].id;
    let found = damaged(|db, events| {
        db.put_cf(db.cf_handle("kind").unwrap(), [&[0, 2], &key(&events[0])[..]].concat(), []).unwrap();
    });
    assert_eq!(found, [Fault::Stray { id: note, family: "kind" }], "it is of another kind");
    let found = damaged(|db, _| db.put_cf(db.cf_handle("author").unwrap(), b"short", []).unwrap());
    assert_eq!(found, [Fault::Malformed { family: "author" }]);
}

#[test]
fn an_older_version_in_the_place_of_the_newest_is_found() {
    let found = damaged(|db, events| {
        let address = db.cf_handle("address").unwrap();
        let (place, _) = db.iterator_cf(address, rocksdb::IteratorMode::Start).next().unwrap().unwrap();
        db.put_cf(address, place, key(&events[2])).unwrap();
    });
    let [old, new] = [events()[2].id, events()[3].id];
    assert_eq!(found, [Fault::Missing { id: new, family: "address" }, Fault::Stray { id: old, family: "address" }]);
}

#[test]
fn a_body_that_is_gone_or_spoilt_is_found() {
    let found = damaged(|db, events| db.delete_cf(db.cf_handle("events").unwrap(), key(&events[0])).unwrap());
    assert_eq!(found[0], Fault::Count { counted: 4, stored: 3 });
    assert!(found[1..].iter().all(|fault| matches!(fault, Fault::Stray { .. })), "{found:?}");
    let note = events()[0].id;
    for at in [0, 10, 60, 400] {
        let found = damaged(|db, events| {
            let family = db.cf_handle("events").unwrap();
            let mut value = db.get_cf(family, key(&events[0])).unwrap().unwrap();
            let at = at.min(value.len() - 20);
            value[at] ^= 1;
            db.put_cf(family, key(&events[0]), value).unwrap();
        });
        let told = found.iter().any(|fault| match fault {
            Fault::Event { id, .. } | Fault::Sequence { id, .. } => *id == note,
            _ => false,
        });
        assert!(told, "byte {at}: {found:?}");
    }
}

#[test]
fn a_deletion_that_is_not_heeded_or_forgotten_is_found() {
    let [note, deletion] = [events()[0].id, events()[5].id];
    let found = damaged(|db, events| {
        let mark = [&[1], &events[0].id.0[..], &events[0].pubkey.0[..]].concat();
        db.put_cf(db.cf_handle("deleted").unwrap(), mark, 1u64.to_be_bytes()).unwrap();
    });
    assert_eq!(found, [Fault::Undeleted(note)]);
    let found = damaged(|db, events| {
        let mark = [&[1], &events[1].id.0[..], &events[1].pubkey.0[..]].concat();
        db.delete_cf(db.cf_handle("deleted").unwrap(), mark).unwrap();
    });
    assert_eq!(found, [Fault::Unrecorded(deletion)]);
}

#[test]
fn counters_that_do_not_count_right_are_found() {
    let found = damaged(|db, _| {
        let counters = [7u64.to_be_bytes(), 9u64.to_be_bytes()].concat();
        db.put_cf(db.cf_handle("meta").unwrap(), "counters", counters).unwrap();
    });
    assert_eq!(found, [Fault::Count { counted: 9, stored: 4 }]);
    let last = events()[6].id;
    let found = damaged(|db, _| {
        let counters = [6u64.to_be_bytes(), 4u64.to_be_bytes()].concat();
        db.put_cf(db.cf_handle("meta").unwrap(), "counters", counters).unwrap();
    });
    assert_eq!(found, [Fault::Sequence { counted: 6, id: last, found: 7 }]);
}
