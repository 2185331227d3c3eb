//! Events to store, and the questions every test asks.

use std::ops::ControlFlow;

use mercato::nostr::{Event, Filter, FilterLimits};
use mercato::store::{Admission, Head, Position, Progress, Record, Scan, Store};
use secp256k1::{Keypair, SecretKey};

/// The key pair of author number `n`.
pub fn author(n: u8) -> Keypair {
    Keypair::from_secret_key(&SecretKey::from_secret_bytes([n + 1; 32]).unwrap())
}

pub fn pubkey(n: u8) -> String {
    const_hex::encode(author(n).x_only_public_key().0.to_byte_array())
}

/// An event of author `n`; a tag is written `name value`.
pub fn event(n: u8, created_at: u64, kind: u16, tags: &[&str], content: &str) -> Event {
    let tags: Vec<Vec<String>> = tags.iter().map(|tag| tag.splitn(2, ' ').map(str::to_owned).collect()).collect();
    Event::sign(&author(n), created_at, kind, &tags, content)
}

pub fn filter(json: &str) -> Filter {
    Filter::parse(json, FilterLimits { max_elements: 100_000, max_tags: 100 }).unwrap()
}

/// A scan for all that `filter` matches, by its limit.
pub fn scan(filter: Filter) -> Scan {
    Scan::new(filter)
}

/// Runs `scan` to its end in slices of `budget`.
pub fn run(store: &dyn Store, mut scan: Scan, budget: u32) -> Vec<Record> {
    let mut records = Vec::new();
    loop {
        let before = scan.after;
        let progress = store.scan(&mut scan, budget, &mut |record| {
            records.push(record);
            ControlFlow::Continue(())
        });
        match progress.unwrap() {
            Progress::Done => return records,
            Progress::More => assert_ne!(scan.after, before, "a slice makes progress"),
        }
    }
}

/// Where what `scan` finds stands, by its heads in slices of `budget`.
pub fn run_heads(store: &dyn Store, mut scan: Scan, budget: u32) -> Vec<Position> {
    let mut positions = Vec::new();
    let mut found = |head: &Head<'_>| {
        let record = store.get(&head.position.id).unwrap().unwrap();
        assert_eq!(format!("{:?}", record.view()), format!("{:?}", head.view()));
        positions.push(head.position);
        ControlFlow::Continue(())
    };
    while store.scan_heads(&mut scan, budget, &mut found).unwrap() == Progress::More {}
    positions
}

/// The same from the indexes alone; `None` where they cannot tell.
pub fn run_positions(store: &dyn Store, mut scan: Scan, budget: u32) -> Option<Vec<Position>> {
    let mut positions = Vec::new();
    loop {
        let mut found = |position| {
            positions.push(position);
            ControlFlow::Continue(())
        };
        match store.scan_positions(&mut scan, budget, &mut found).unwrap() {
            Some(Progress::More) => {}
            Some(Progress::Done) => return Some(positions),
            None => {
                assert!(positions.is_empty(), "it changed its mind");
                return None;
            }
        }
    }
}

/// Contents of what `json` finds, in order.
pub fn contents(store: &dyn Store, json: &str) -> Vec<String> {
    run(store, scan(filter(json)), 100).iter().map(|record| record.event().unwrap().content()).collect()
}

/// Admits `event`, and keeps it when it is fresh, in a transaction of its own.
pub fn offer(store: &dyn Store, event: &Event) -> Admission {
    let mut transaction = store.begin().unwrap();
    let admission = transaction.admit(event).unwrap();
    if admission == Admission::Fresh {
        transaction.insert(event).unwrap();
    }
    transaction.commit().unwrap();
    admission
}
