//! Events that somebody reported (NIP-56) and the operator has not judged yet.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::access::Lists;
use crate::nostr::{Event, EventId, Filter, kind};
use crate::store::{Progress, Record, Scan, Store, StoreError};

/// Reports looked at, newest first.
const MAX_REPORTS: u64 = 5_000;
/// Events listed in one answer.
const MAX_LISTED: usize = 1_000;
/// Index entries looked at in one slice.
const SLICE: u32 = 1_024;

/// Reported events that are stored, with what the newest report says.
pub fn waiting(store: &dyn Store, lists: &Lists) -> Result<BTreeMap<EventId, String>, StoreError> {
    let mut scan = Scan::new(Filter { kinds: Some(vec![kind::REPORT]), ..Filter::default() });
    scan.room = MAX_REPORTS;
    let mut reported: BTreeMap<EventId, String> = BTreeMap::new();
    let mut found = |record: Record| {
        let body = record.body();
        if let Some(report) = std::str::from_utf8(&body).ok().and_then(|text| Event::parse(text).ok()) {
            for (id, reason) in read(&report) {
                let judged = lists.allowed_events.contains_key(&id) || lists.banned_events.contains_key(&id);
                if !judged && reported.len() < MAX_LISTED {
                    reported.entry(id).or_insert(reason);
                }
            }
        }
        ControlFlow::Continue(())
    };
    while store.scan(&mut scan, SLICE, &mut found)? == Progress::More {}
    let mut waiting = BTreeMap::new();
    for (id, reason) in reported {
        if store.get(&id)?.is_some() {
            waiting.insert(id, reason);
        }
    }
    Ok(waiting)
}

/// The events that a report names: `["e", id, type]`, the type of old reports in the content.
fn read(report: &Event) -> Vec<(EventId, String)> {
    let named = |tag: &Vec<String>| match tag.as_slice() {
        [name, id, rest @ ..] if name == "e" => {
            Some((EventId::from_hex(id)?, rest.first().cloned().unwrap_or_default()))
        }
        _ => None,
    };
    let content = report.content();
    let say = |reason: String| match content.is_empty() {
        true => reason,
        false => format!("{reason}: {content}"),
    };
    report.tags().iter().filter_map(named).map(|(id, reason)| (id, say(reason))).collect()
}
