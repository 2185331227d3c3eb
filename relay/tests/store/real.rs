//! Events as they were found on public relays.

use std::path::PathBuf;

use mercato::nostr::Event;
use mercato::store::memory::MemoryStore;
use mercato::store::{Admission, Store};

use crate::support::{filter, run, scan};

/// Lines of a file of events; `None`, said aloud, when the data is not beside the project.
fn lines(name: &str) -> Option<Vec<String>> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "..", "shared", "data", name].iter().collect();
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text.lines().map(str::to_owned).collect()),
        Err(error) => {
            eprintln!("skipped: {}: {error}", path.display());
            None
        }
    }
}

/// The questions a client asks about `event`.
fn questions(event: &Event) -> Vec<String> {
    let Event { id, pubkey, kind, created_at, .. } = event;
    let mut questions = vec![
        format!(r#"{{"ids":["{id}"]}}"#),
        format!(r#"{{"authors":["{pubkey}"]}}"#),
        format!(r#"{{"kinds":[{kind}]}}"#),
        format!(r#"{{"authors":["{pubkey}"],"kinds":[{kind}],"until":{created_at}}}"#),
        format!(r#"{{"since":{created_at},"limit":20}}"#),
    ];
    for (name, value) in event.index_tags().take(5) {
        let name = format!("#{}", name as char);
        let value = String::from_utf8(value.to_vec()).unwrap();
        questions.push(serde_json::json!({ name.as_str(): [value] }).to_string());
        questions.push(serde_json::json!({ name: [value], "kinds": [kind], "limit": 3 }).to_string());
    }
    questions
}

fn check(store: &dyn Store, lines: &[String]) {
    let mut stored = 0;
    for group in lines.chunks(50) {
        let mut transaction = store.begin().unwrap();
        for line in group {
            let event = Event::parse(line).unwrap();
            match transaction.admit(&event).unwrap() {
                Admission::Fresh => stored += usize::from(transaction.insert(&event).unwrap() > 0),
                Admission::Duplicate | Admission::Replaced | Admission::Deleted => {}
            }
        }
        transaction.commit().unwrap();
    }
    let twin = MemoryStore::new();
    let events: Vec<Event> = lines.iter().map(|line| Event::parse(line).unwrap()).collect();
    for event in &events {
        crate::support::offer(&twin, event);
    }
    let all = run(store, scan(filter("{}")), 7);
    assert_eq!(all.len() as u64, twin.stats().unwrap().events, "{stored} were stored at first");
    for (event, line) in events.iter().zip(lines) {
        let found = store.get(&event.id).unwrap();
        assert_eq!(found.is_some(), twin.get(&event.id).unwrap().is_some());
        if let Some(record) = found {
            let read: serde_json::Value = serde_json::from_slice(&record.body()).unwrap();
            assert_eq!(read, serde_json::from_str::<serde_json::Value>(line).unwrap());
        }
        for json in questions(event) {
            let question = filter(&json);
            let expected: Vec<_> =
                all.iter().filter(|record| question.matches(&record.view())).map(|record| record.position).collect();
            let expected = &expected[..expected.len().min(question.limit.unwrap_or(u64::MAX) as usize)];
            let found: Vec<_> = run(store, scan(question), 64).iter().map(|record| record.position).collect();
            assert_eq!(found, expected, "{json}");
        }
    }
}

fn check_file(name: &str) {
    let Some(lines) = lines(name) else { return };
    check(&MemoryStore::new(), &lines);
    #[cfg(feature = "rocksdb")]
    {
        let folder = tempfile::tempdir().unwrap();
        check(&mercato::store::rocks::RocksStore::open(folder.path(), Default::default()).unwrap(), &lines);
    }
}

#[test]
fn real_events_are_stored_whole_and_found_by_every_condition() {
    check_file("real_events.jsonl");
}

#[test]
fn real_jobs_are_stored_whole_and_found_by_every_condition() {
    check_file("dvm_events.jsonl");
}
