//! The store behind the `nostr_database` trait, so that tools written for it run on ours.
//!
//! It is for tests, oracles and tools, not for the relay's own path: every call converts through JSON
//! and works on the calling thread.

use std::ops::ControlFlow;
use std::sync::Arc;

use nostr::filter::MatchEventOptions;
use nostr::util::{BoxedFuture, JsonUtil};
use nostr_database::{
    Backend, DatabaseError, DatabaseEventStatus, Events, NostrDatabase, RejectedReason, SaveEventStatus,
};

use super::{Admission, Progress, Record, Scan, Store, StoreError};
use crate::nostr::kind::{DELETION, Retention};
use crate::nostr::{Event, EventId, Filter, Pubkey};

/// Index entries per slice; between slices nothing is held.
const SLICE: u32 = 1024;

/// Any store as a `NostrDatabase`.
///
/// `wipe` removes the events; deletions on record and the journal stay, because a store never forgets
/// either on request.
#[derive(Debug, Clone)]
pub struct Database(pub Arc<dyn Store>);

impl Database {
    fn save(&self, event: &nostr::Event) -> Result<SaveEventStatus, DatabaseError> {
        // Our own reading checks the id again; a body that is not what its id says is never kept.
        let Ok(event) = Event::parse(&event.as_json()) else { return Ok(rejected(RejectedReason::Other)) };
        if event.retention() == Retention::Ephemeral {
            return Ok(rejected(RejectedReason::Ephemeral));
        }
        if event.is_expired(now()) {
            return Ok(rejected(RejectedReason::Expired));
        }
        if event.kind == DELETION && self.is_deletion_of_others(&event)? {
            return Ok(rejected(RejectedReason::InvalidDelete));
        }
        let mut transaction = self.0.begin().map_err(DatabaseError::backend)?;
        let reason = match transaction.admit(&event).map_err(DatabaseError::backend)? {
            Admission::Fresh => {
                transaction.insert(&event).map_err(DatabaseError::backend)?;
                transaction.commit().map_err(DatabaseError::backend)?;
                return Ok(SaveEventStatus::Success);
            }
            Admission::Duplicate => RejectedReason::Duplicate,
            Admission::Replaced => RejectedReason::Replaced,
            Admission::Deleted => RejectedReason::Deleted,
        };
        Ok(rejected(reason))
    }

    /// Whether a deletion names what is known to be another's. The relay keeps such a deletion, without
    /// effect, as NIP-09 allows; this trait's contract wants it refused.
    fn is_deletion_of_others(&self, deletion: &Event) -> Result<bool, DatabaseError> {
        let author = deletion.pubkey.to_hex();
        let is_foreign = |address: &[u8]| address.split(|byte| *byte == b':').nth(1) != Some(author.as_bytes());
        if deletion.index_tags().named(b'a').any(is_foreign) {
            return Ok(true);
        }
        for value in deletion.index_tags().named(b'e') {
            let id = std::str::from_utf8(value).ok().and_then(EventId::from_hex);
            let Some(record) = id.map_or(Ok(None), |id| self.0.get(&id)).map_err(DatabaseError::backend)? else {
                continue;
            };
            let is_recipient = record.index_tags().named(b'p').any(|value| value == author.as_bytes());
            if record.pubkey != deletion.pubkey && !is_recipient {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// An event that is not here counts as deleted when anyone's deletion of it is: who wrote it is not known.
    fn status(&self, id: &EventId) -> Result<DatabaseEventStatus, DatabaseError> {
        if self.0.get(id).map_err(DatabaseError::backend)?.is_some() {
            return Ok(DatabaseEventStatus::Saved);
        }
        let mut filter = Filter { kinds: Some(vec![DELETION]), ..Filter::default() };
        filter.tags.insert(b'e', vec![id.to_hex().into_bytes().into()]);
        let mut authors: Vec<Pubkey> = Vec::new();
        self.each(filter, &mut |record| {
            authors.push(record.pubkey);
            ControlFlow::Continue(())
        })?;
        for author in authors {
            if self.0.is_deleted(id, &author).map_err(DatabaseError::backend)? {
                return Ok(DatabaseEventStatus::Deleted);
            }
        }
        Ok(DatabaseEventStatus::NotExistent)
    }

    /// Hands every event that matches to `found`, in order.
    fn each(&self, filter: Filter, found: &mut dyn FnMut(Record) -> ControlFlow<()>) -> Result<(), DatabaseError> {
        let mut scan = Scan { now: now(), ..Scan::new(filter) };
        while self.0.scan(&mut scan, SLICE, found).map_err(DatabaseError::backend)? == Progress::More {}
        Ok(())
    }

    fn find(&self, filter: &nostr::Filter) -> Result<Vec<nostr::Event>, DatabaseError> {
        let room = filter.limit.unwrap_or(usize::MAX);
        if room == 0 {
            return Ok(Vec::new());
        }
        let only_search = MatchEventOptions::unmatch().nip50(true);
        let (mut events, mut fault) = (Vec::new(), None);
        self.each(from_nostr(filter), &mut |record| {
            match to_nostr(&record) {
                Ok(event) if filter.match_event(&event, only_search) => events.push(event),
                Ok(_) => {}
                Err(error) => fault = Some(error),
            }
            if events.len() < room && fault.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        match fault {
            None => Ok(events),
            Some(error) => Err(DatabaseError::backend(error)),
        }
    }

    fn remove(&self, filter: &nostr::Filter) -> Result<(), DatabaseError> {
        let events = self.find(filter)?;
        let mut transaction = self.0.begin().map_err(DatabaseError::backend)?;
        for event in events {
            transaction.remove(&EventId(event.id.to_bytes())).map_err(DatabaseError::backend)?;
        }
        transaction.commit().map(drop).map_err(DatabaseError::backend)
    }
}

impl NostrDatabase for Database {
    fn backend(&self) -> Backend {
        Backend::Custom("mercato".to_owned())
    }

    fn save_event<'a>(&'a self, event: &'a nostr::Event) -> BoxedFuture<'a, Result<SaveEventStatus, DatabaseError>> {
        Box::pin(async move { self.save(event) })
    }

    fn check_id<'a>(
        &'a self,
        event_id: &'a nostr::EventId,
    ) -> BoxedFuture<'a, Result<DatabaseEventStatus, DatabaseError>> {
        Box::pin(async move { self.status(&EventId(event_id.to_bytes())) })
    }

    fn event_by_id<'a>(
        &'a self,
        event_id: &'a nostr::EventId,
    ) -> BoxedFuture<'a, Result<Option<nostr::Event>, DatabaseError>> {
        Box::pin(async move {
            let record = self.0.get(&EventId(event_id.to_bytes())).map_err(DatabaseError::backend)?;
            record.as_ref().map(to_nostr).transpose().map_err(DatabaseError::backend)
        })
    }

    fn count(&self, filter: nostr::Filter) -> BoxedFuture<'_, Result<usize, DatabaseError>> {
        Box::pin(async move { Ok(self.find(&filter)?.len()) })
    }

    fn query(&self, filter: nostr::Filter) -> BoxedFuture<'_, Result<Events, DatabaseError>> {
        Box::pin(async move {
            let mut events = Events::new(&filter);
            events.extend(self.find(&filter)?);
            Ok(events)
        })
    }

    fn delete(&self, filter: nostr::Filter) -> BoxedFuture<'_, Result<(), DatabaseError>> {
        Box::pin(async move { self.remove(&filter) })
    }

    fn wipe(&self) -> BoxedFuture<'_, Result<(), DatabaseError>> {
        Box::pin(async move { self.remove(&nostr::Filter::new()) })
    }
}

fn rejected(reason: RejectedReason) -> SaveEventStatus {
    SaveEventStatus::Rejected(reason)
}

fn now() -> u64 {
    nostr::Timestamp::now().as_secs()
}

fn to_nostr(record: &Record) -> Result<nostr::Event, StoreError> {
    nostr::Event::from_json(record.body()).map_err(|_| StoreError::Damaged("event body"))
}

/// Their empty list asks nothing, where ours matches nothing. `limit` and `search` are left to the caller.
fn from_nostr(filter: &nostr::Filter) -> Filter {
    fn list<A, B: Ord>(set: Option<impl IntoIterator<Item = A>>, convert: impl Fn(A) -> B) -> Option<Vec<B>> {
        let mut values: Vec<B> = set?.into_iter().map(convert).collect();
        values.sort_unstable();
        (!values.is_empty()).then_some(values)
    }
    Filter {
        ids: list(filter.ids.as_ref(), |id| EventId(id.to_bytes())),
        authors: list(filter.authors.as_ref(), |key| Pubkey(key.to_bytes())),
        kinds: list(filter.kinds.as_ref(), |kind| kind.as_u16()),
        tags: filter
            .generic_tags
            .iter()
            .map(|(name, values)| {
                let values = values.iter().map(|value| value.as_bytes().into()).collect();
                (name.as_char() as u8, values)
            })
            .collect(),
        since: filter.since.map(|time| time.as_secs()),
        until: filter.until.map(|time| time.as_secs()),
        limit: None,
        search: None,
    }
}
