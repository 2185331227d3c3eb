//! A filter with several conditions is answered from its rarest, whichever that is.

use std::ops::ControlFlow;

use mercato::nostr::Event;
use mercato::store::rocks::{RocksOptions, RocksStore};
use mercato::store::{Progress, Scan, Store};

use crate::support::{event, filter, pubkey};

/// Entries looked at in one slice.
const SLICE: u32 = 16;

fn store(folder: &tempfile::TempDir, events: &[Event]) -> RocksStore {
    let options = RocksOptions { durable: false, ..RocksOptions::default() };
    let store = RocksStore::open(folder.path(), options).unwrap();
    let mut transaction = store.begin().unwrap();
    for event in events {
        transaction.insert(event).unwrap();
    }
    transaction.commit().unwrap();
    store
}

/// How many answers `json` has, and in how many slices they were found.
fn cost(store: &dyn Store, json: &str, ascending: bool) -> (usize, usize) {
    let mut scan = Scan { ascending, ..Scan::new(filter(json)) };
    let (mut answers, mut slices) = (0, 1);
    let mut found = |_: &mercato::store::Head<'_>| {
        answers += 1;
        ControlFlow::Continue(())
    };
    while store.scan_heads(&mut scan, SLICE, &mut found).unwrap() == Progress::More {
        slices += 1;
    }
    (answers, slices)
}

#[test]
fn the_rarest_condition_is_walked() {
    let folder = tempfile::tempdir().unwrap();
    let busy = (0..2_000).map(|at| event(0, at, 1, &["t often"], ""));
    let seldom = (0..3).map(|at| event(1, at * 700, 1, &["t often"], ""));
    let named = (0..3).map(|at| event(0, at * 600, 7, &["t often", "p star", "e seldom"], ""));
    let starry = (0..2_000).map(|at| event(2, at, 7, &["p star"], ""));
    let store = store(&folder, &busy.chain(seldom).chain(named).chain(starry).collect::<Vec<_>>());
    let many: Vec<String> = (0..20).map(|n| format!("\"{}\"", pubkey(n))).collect();
    let rare_kind = format!(r##"{{"authors":[{}],"kinds":[5]}}"##, many.join(","));
    let (busy, seldom) = (pubkey(0), pubkey(1));
    for (json, answers) in [
        (format!(r##"{{"authors":["{seldom}"],"#t":["often"]}}"##), 3),
        (format!(r##"{{"authors":["{busy}"],"#e":["seldom"]}}"##), 3),
        (format!(r##"{{"authors":["{busy}"],"#p":["star"],"kinds":[7]}}"##), 3),
        (r##"{"#t":["often"],"#e":["seldom"]}"##.to_owned(), 3),
        (r##"{"#t":["often"],"kinds":[7]}"##.to_owned(), 3),
        (rare_kind, 0),
    ] {
        for ascending in [false, true] {
            let (found, slices) = cost(&store, &json, ascending);
            assert_eq!(found, answers, "{json}");
            assert!(slices <= 2, "{slices} slices for {json}");
        }
    }
}

/// Which condition is the rarer one changes on the way.
#[test]
fn what_is_rare_is_judged_anew_as_the_scan_goes_back_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut events = vec![event(0, 5_000, 1, &["t word"], ""), event(0, 0, 1, &["t word"], "")];
    // First the author writes all the time and the word is rare, then the other way round.
    events.extend((2_600..4_600).map(|at| event(0, at, 1, &[], "")));
    events.extend((100..2_100).map(|at| event(1, at, 1, &["t word"], "")));
    let store = store(&folder, &events);
    let json = format!(r##"{{"authors":["{}"],"#t":["word"]}}"##, pubkey(0));
    for ascending in [false, true] {
        let (found, slices) = cost(&store, &json, ascending);
        assert_eq!(found, 2);
        // Either index alone has 2,000 entries, which is 125 slices.
        assert!(slices <= 8, "{slices} slices");
    }
}
