//! Claims about any store, each checked on both.

use std::ops::ControlFlow;

use mercato::nostr::EventId;
use mercato::store::memory::MemoryStore;
use mercato::store::{Admission, Store};

use crate::support::{author, contents, event, filter, offer, pubkey, run, scan};

/// Runs a check on every kind of store.
fn on_each(check: impl Fn(&dyn Store)) {
    check(&MemoryStore::new());
    #[cfg(feature = "rocksdb")]
    {
        let folder = tempfile::tempdir().unwrap();
        check(&mercato::store::rocks::RocksStore::open(folder.path(), Default::default()).unwrap());
    }
}

fn key(n: u8) -> mercato::nostr::Pubkey {
    mercato::nostr::Pubkey(author(n).x_only_public_key().0.to_byte_array())
}

#[test]
fn answers_are_newest_first_then_lower_id() {
    on_each(|store| {
        let mut events: Vec<_> =
            (0..20).map(|n| event(n % 3, 100 + u64::from(n / 4), 1, &[], &n.to_string())).collect();
        for event in &events {
            assert_eq!(offer(store, event), Admission::Fresh);
        }
        events.sort_by_key(|event| (std::cmp::Reverse(event.created_at), event.id));
        let expected: Vec<String> = events.iter().map(|event| event.content()).collect();
        assert_eq!(contents(store, "{}"), expected);
        assert_eq!(contents(store, r#"{"kinds":[1],"limit":7}"#), expected[..7]);
    });
}

#[test]
fn a_stored_event_is_a_duplicate() {
    on_each(|store| {
        let note = event(0, 1, 1, &[], "note");
        assert_eq!(offer(store, &note), Admission::Fresh);
        assert_eq!(offer(store, &note), Admission::Duplicate);
        assert_eq!(store.get(&note.id).unwrap().unwrap().body(), note.body());
        assert_eq!(store.stats().unwrap().events, 1);
    });
}

#[test]
fn the_newest_version_of_an_address_stays_and_ties_go_to_the_lower_id() {
    for (kind, tags) in [(0, vec![]), (10002, vec!["d ignored"]), (30023, vec!["d article"])] {
        on_each(|store| {
            let old = event(0, 10, kind, &tags, "old");
            let mut tied = [event(0, 20, kind, &tags, "a"), event(0, 20, kind, &tags, "b")];
            tied.sort_by_key(|event| event.id);
            let [lower, higher] = &tied;
            assert_eq!(offer(store, &old), Admission::Fresh);
            assert_eq!(offer(store, higher), Admission::Fresh);
            assert_eq!(offer(store, lower), Admission::Fresh);
            assert_eq!(offer(store, higher), Admission::Replaced);
            assert_eq!(offer(store, &old), Admission::Replaced);
            assert_eq!(contents(store, "{}"), [lower.content()]);
        });
    }
}

#[test]
fn addresses_differ_by_author_kind_and_identifier() {
    on_each(|store| {
        let (a, b) = (event(0, 1, 30000, &["d x"], "a"), event(0, 1, 30000, &["d y"], "b"));
        let (c, d) = (event(0, 1, 30001, &["d x"], "c"), event(1, 1, 30000, &["d x"], "d"));
        for event in [&a, &b, &c, &d, &event(0, 1, 30000, &[], "no identifier")] {
            assert_eq!(offer(store, event), Admission::Fresh);
        }
        assert_eq!(contents(store, "{}").len(), 5);
    });
}

#[test]
fn a_deletion_by_its_author_removes_an_event_and_keeps_it_away() {
    on_each(|store| {
        let note = event(0, 50, 1, &[], "note");
        offer(store, &note);
        // The request may be older than the event: an id names one event only.
        let deletion = event(0, 10, 5, &[&format!("e {}", note.id)], "deletion");
        assert_eq!(offer(store, &deletion), Admission::Fresh);
        assert_eq!(contents(store, "{}"), ["deletion"]);
        assert!(store.get(&note.id).unwrap().is_none());
        assert!(store.is_deleted(&note.id, &key(0)).unwrap());
        assert!(!store.is_deleted(&note.id, &key(1)).unwrap());
        assert_eq!(offer(store, &note), Admission::Deleted);
    });
}

#[test]
fn a_deletion_that_comes_first_keeps_the_event_away() {
    on_each(|store| {
        let note = event(0, 50, 1, &[], "note");
        offer(store, &event(0, 10, 5, &[&format!("e {}", note.id)], "deletion"));
        assert_eq!(offer(store, &note), Admission::Deleted);
    });
}

#[test]
fn nobody_deletes_what_another_wrote() {
    on_each(|store| {
        let (note, article) = (event(0, 50, 1, &[], "note"), event(0, 50, 30023, &["d x"], "article"));
        offer(store, &note);
        let tags = [format!("e {}", note.id), format!("e {}", article.id), format!("a 30023:{}:x", pubkey(0))];
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        assert_eq!(offer(store, &event(1, 60, 5, &tags, "deletion")), Admission::Fresh);
        assert_eq!(offer(store, &article), Admission::Fresh);
        assert_eq!(contents(store, r#"{"kinds":[1,30023]}"#).len(), 2);
    });
}

#[test]
fn a_deletion_of_an_address_takes_versions_up_to_its_own_time() {
    on_each(|store| {
        offer(store, &event(0, 50, 30023, &["d x"], "old"));
        offer(store, &event(0, 50, 30023, &["d y"], "other"));
        offer(store, &event(0, 60, 5, &[&format!("a 30023:{}:x", pubkey(0))], "deletion"));
        assert_eq!(contents(store, r#"{"kinds":[30023]}"#), ["other"]);
        assert_eq!(offer(store, &event(0, 60, 30023, &["d x"], "as old")), Admission::Deleted);
        assert_eq!(offer(store, &event(0, 61, 30023, &["d x"], "newer")), Admission::Fresh);
        // An older request does not take back what a newer one said.
        offer(store, &event(0, 40, 5, &[&format!("a 30023:{}:x", pubkey(0))], "older deletion"));
        assert_eq!(contents(store, r#"{"kinds":[30023]}"#), ["newer", "other"]);
        assert_eq!(offer(store, &event(0, 55, 30023, &["d x"], "late")), Admission::Deleted);
    });
}

#[test]
fn a_deletion_cannot_be_deleted() {
    on_each(|store| {
        let note = event(0, 1, 1, &[], "note");
        let deletion = event(0, 2, 5, &[&format!("e {}", note.id)], "deletion");
        let against = event(0, 3, 5, &[&format!("e {}", deletion.id)], "against it");
        assert_eq!(offer(store, &against), Admission::Fresh);
        assert_eq!(offer(store, &deletion), Admission::Fresh);
        assert_eq!(offer(store, &event(0, 4, 5, &[&format!("e {}", deletion.id)], "again")), Admission::Fresh);
        assert_eq!(contents(store, r#"{"kinds":[5]}"#), ["again", "against it", "deletion"]);
        assert_eq!(offer(store, &note), Admission::Deleted);
    });
}

#[test]
fn a_gift_wrap_is_deleted_by_its_recipient_too() {
    on_each(|store| {
        let first = event(0, 1, 1059, &[&format!("p {}", pubkey(1))], "first");
        let second = event(0, 1, 1059, &[&format!("p {}", pubkey(1))], "second");
        let note = event(0, 1, 1, &[&format!("p {}", pubkey(1))], "note");
        offer(store, &first);
        offer(store, &note);
        let tags = [&first, &second, &note].map(|event| format!("e {}", event.id));
        let tags = [&tags[0], &tags[1], &tags[2]].map(String::as_str);
        offer(store, &event(2, 5, 5, &tags, "of a stranger"));
        assert_eq!(contents(store, r#"{"kinds":[1059]}"#), ["first"]);
        offer(store, &event(1, 5, 5, &tags, "of the recipient"));
        assert_eq!(contents(store, r#"{"kinds":[1,1059]}"#), ["note"]);
        assert_eq!(offer(store, &second), Admission::Deleted);
    });
}

#[test]
fn removal_leaves_no_deletion_on_record() {
    on_each(|store| {
        let profile = event(0, 20, 0, &["t x"], "profile");
        offer(store, &profile);
        let mut transaction = store.begin().unwrap();
        assert!(transaction.remove(&profile.id).unwrap());
        assert!(!transaction.remove(&profile.id).unwrap());
        transaction.commit().unwrap();
        for json in ["{}", r##"{"#t":["x"]}"##, r#"{"kinds":[0]}"#] {
            assert!(contents(store, json).is_empty());
        }
        assert_eq!(offer(store, &event(0, 10, 0, &[], "an older profile")), Admission::Fresh);
        assert_eq!(offer(store, &profile), Admission::Fresh);
    });
}

#[test]
fn expired_events_are_passed_over_and_listed_for_removal() {
    on_each(|store| {
        let ends: Vec<_> = (1..=5).map(|n| event(0, 1, 1, &[&format!("expiration {}", n * 10)], "")).collect();
        ends.iter().rev().for_each(|event| assert_eq!(offer(store, event), Admission::Fresh));
        offer(store, &event(0, 1, 1, &["expiration 0"], "never was"));
        let mut question = scan(filter("{}"));
        question.now = 30;
        let found: Vec<EventId> = run(store, question, 1).iter().map(|record| record.position.id).collect();
        assert_eq!(found.len(), 2, "an event has ended at the second it names");
        assert!(found.contains(&ends[3].id) && found.contains(&ends[4].id));
        let expired = store.expired(30, 10).unwrap();
        assert_eq!(expired[1..], [ends[0].id, ends[1].id, ends[2].id]);
        assert_eq!(store.expired(30, 1).unwrap(), expired[..1]);
    });
}

#[test]
fn a_transaction_sees_its_own_writes() {
    on_each(|store| {
        let (old, new) = (event(0, 1, 0, &["t x"], "old"), event(0, 2, 0, &["t x"], "new"));
        let note = event(0, 3, 1, &[], "note");
        let mut transaction = store.begin().unwrap();
        assert_eq!(transaction.insert(&old).unwrap(), 1);
        assert_eq!(transaction.admit(&old).unwrap(), Admission::Duplicate);
        assert_eq!(transaction.insert(&new).unwrap(), 2);
        assert_eq!(transaction.admit(&old).unwrap(), Admission::Replaced);
        assert_eq!(transaction.next_sequence(), 3);
        assert_eq!(transaction.insert(&note).unwrap(), 4);
        transaction.insert(&event(0, 3, 5, &[&format!("e {}", note.id)], "deletion")).unwrap();
        assert_eq!(transaction.admit(&note).unwrap(), Admission::Deleted);
        assert!(contents(store, "{}").is_empty(), "nothing is visible before commit");
        assert_eq!(store.last_sequence(), 0);
        transaction.commit().unwrap();
        assert_eq!(contents(store, "{}"), ["deletion", "new"]);
        assert_eq!(contents(store, r##"{"#t":["x"]}"##), ["new"]);
        assert_eq!(store.last_sequence(), 5);
        assert_eq!(store.stats().unwrap().events, 2);
    });
}

#[test]
fn a_transaction_that_is_dropped_leaves_nothing() {
    on_each(|store| {
        offer(store, &event(0, 1, 0, &[], "profile"));
        let mut transaction = store.begin().unwrap();
        let note = event(0, 2, 1, &[], "note");
        let dropped = transaction.insert(&note).unwrap();
        transaction.insert(&event(0, 2, 0, &[], "newer profile")).unwrap();
        transaction.append_journal(b"entry").unwrap();
        drop(transaction);
        assert_eq!(contents(store, "{}"), ["profile"]);
        assert!(store.get(&note.id).unwrap().is_none());
        assert!(store.journal().unwrap().is_empty());
        let mut transaction = store.begin().unwrap();
        assert!(transaction.insert(&note).unwrap() > dropped, "a sequence is not given twice");
        transaction.commit().unwrap();
    });
}

#[test]
fn events_above_the_sequence_bound_are_left_to_live_delivery() {
    on_each(|store| {
        offer(store, &event(0, 5, 1, &[], "before"));
        let mut question = scan(filter("{}"));
        question.max_sequence = store.last_sequence();
        offer(store, &event(0, 4, 1, &[], "after"));
        assert_eq!(run(store, question, 10).len(), 1);
    });
}

#[test]
fn a_receiver_that_breaks_off_gets_no_more() {
    on_each(|store| {
        for n in 0..5 {
            offer(store, &event(0, n, 1, &[], &n.to_string()));
        }
        let mut question = scan(filter(r#"{"kinds":[1]}"#));
        let mut found = 0;
        let mut once = |_| {
            found += 1;
            ControlFlow::Break(())
        };
        assert_eq!(store.scan(&mut question, 100, &mut once).unwrap(), mercato::store::Progress::Done);
        assert_eq!(found, 1);
        assert_eq!(run(store, question, 100).len(), 4, "the scan goes on behind it");
    });
}

#[test]
fn the_journal_keeps_entries_in_order_until_it_is_cleared() {
    on_each(|store| {
        let write = |clear: bool, entries: &[&str]| {
            let mut transaction = store.begin().unwrap();
            if clear {
                transaction.append_journal(b"dropped with the rest").unwrap();
                transaction.clear_journal().unwrap();
            }
            entries.iter().for_each(|entry| transaction.append_journal(entry.as_bytes()).unwrap());
            transaction.commit().unwrap();
        };
        write(false, &["a", "b"]);
        write(false, &["c"]);
        assert_eq!(store.journal().unwrap(), [b"a", b"b", b"c"]);
        write(true, &["d"]);
        write(false, &["e"]);
        assert_eq!(store.journal().unwrap(), [b"d", b"e"]);
    });
}

#[test]
fn who_vanishes_is_kept_away_up_to_then_and_so_are_gift_wraps_for_him() {
    on_each(|store| {
        let wrap = |created_at| event(9, created_at, 1059, &[&format!("p {}", pubkey(0))], "wrap");
        offer(store, &event(0, 10, 1, &[], "old"));
        assert_eq!(store.vanishing().unwrap(), None);
        let mut transaction = store.begin().unwrap();
        transaction.vanish(&key(0), 20).unwrap();
        assert_eq!(transaction.admit(&event(0, 20, 1, &[], "at once")).unwrap(), Admission::Deleted);
        // An older request takes nothing back.
        transaction.vanish(&key(0), 5).unwrap();
        transaction.commit().unwrap();
        assert_eq!(store.vanishing().unwrap(), Some((key(0), 20)));
        for late in [event(0, 20, 1, &[], "late"), event(0, 3, 5, &[], "deletion"), wrap(20)] {
            assert_eq!(offer(store, &late), Admission::Deleted);
        }
        for other in [event(0, 21, 1, &[], "a new life"), wrap(21), event(1, 3, 1, &[&format!("p {}", pubkey(0))], "")]
        {
            assert_eq!(offer(store, &other), Admission::Fresh);
        }
        // The requests themselves stay welcome, and nobody deletes them.
        let request = event(0, 20, 62, &["relay ALL_RELAYS"], "request");
        assert_eq!(offer(store, &request), Admission::Fresh);
        offer(store, &event(0, 30, 5, &[&format!("e {}", request.id)], "regret"));
        assert_eq!(contents(store, r#"{"kinds":[62]}"#), ["request"]);
        let mut transaction = store.begin().unwrap();
        transaction.vanished(&key(0)).unwrap();
        transaction.commit().unwrap();
        assert_eq!(store.vanishing().unwrap(), None);
        assert_eq!(offer(store, &event(0, 19, 1, &[], "late")), Admission::Deleted, "the mark stays");
    });
}
