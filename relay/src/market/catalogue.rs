//! The adverts of every provider, one for each `d` tag, and what they add up to.
//!
//! The scheduler knows one offer for each provider: the union of its adverts. The events in the store are the truth;
//! this is what they say, so nothing of it is journalled.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use mercato_scheduler::{ACCEPTS_MAX, Advert, CAPS_MAX, OFFERS_MAX};

use super::advert;
use crate::nostr::{Event, EventId, Filter, Pubkey, kind};
use crate::store::{Progress, Record, Scan, Store, StoreError};

/// Adverts that count for one provider.
pub const ADVERTS_MAX: usize = 64;

/// Value of an advert's `d` tag.
type Identifier = Vec<u8>;

/// Adverts by provider and identifier.
#[derive(Debug, Default)]
pub struct Catalogue {
    providers: HashMap<Pubkey, BTreeMap<Identifier, Row>>,
    /// When adverts with a NIP-40 expiration end, in seconds.
    expiries: BTreeSet<(u64, Pubkey, Identifier)>,
}

/// One advert.
#[derive(Debug, Clone)]
pub struct Row {
    id: EventId,
    created_at: u64,
    expires_s: Option<u64>,
    advert: Advert,
}

impl Row {
    /// The row for an advert event that reads as `advert`.
    pub fn new(event: &Event, advert: Advert) -> Self {
        Self { id: event.id, created_at: event.created_at, expires_s: event.expiration, advert }
    }
}

impl Catalogue {
    /// Whether the adverts of this provider are here.
    pub fn knows(&self, provider: &Pubkey) -> bool {
        self.providers.contains_key(provider)
    }

    /// Takes the adverts of a provider from the store, instead of what was here.
    pub fn load(&mut self, store: &dyn Store, provider: &Pubkey, now_s: u64) -> Result<(), StoreError> {
        let events = stored_adverts(store, provider, now_s)?;
        self.forget(provider);
        events.iter().for_each(|event| self.take(event));
        Ok(())
    }

    /// Takes the adverts of everybody from the store, in one pass. `providers` are those who count already; the authors
    /// of the newest adverts join them until there are `max`.
    pub fn load_all(
        &mut self,
        store: &dyn Store,
        now_s: u64,
        max: usize,
        providers: &mut BTreeSet<Pubkey>,
    ) -> Result<(), StoreError> {
        let filter = Filter { kinds: Some(vec![kind::PROVIDER_ADVERT]), ..Filter::default() };
        let mut read: HashMap<Pubkey, usize> = HashMap::new();
        let mut fault = None;
        each(store, filter, u64::MAX, now_s, |record| {
            if !providers.contains(&record.pubkey) && (providers.len() >= max || !providers.insert(record.pubkey)) {
                return ControlFlow::Continue(());
            }
            // Newest first: what comes after so many would not be read by `load` either.
            let count = read.entry(record.pubkey).or_default();
            *count += 1;
            if *count > ADVERTS_MAX {
                return ControlFlow::Continue(());
            }
            match record.event() {
                Ok(event) => self.take(&event),
                Err(damage) => {
                    fault = Some(damage);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        fault.map_or(Ok(()), Err)
    }

    fn take(&mut self, event: &Event) {
        // Refused at the door, or imported: it counts for nothing either way.
        if let Ok(Some(advert)) = advert::parse(event) {
            self.put(&event.pubkey, event.identifier().to_vec(), Some(Row::new(event, advert)));
        }
    }

    /// Puts an advert in the place of the one with its identifier, or takes that away. Beyond `ADVERTS_MAX` the oldest
    /// goes.
    pub fn put(&mut self, provider: &Pubkey, identifier: Identifier, row: Option<Row>) {
        self.replace(provider, identifier, row);
        let Some(rows) = self.providers.get(provider).filter(|rows| rows.len() > ADVERTS_MAX) else { return };
        let oldest = rows.iter().min_by_key(|(_, row)| (row.created_at, std::cmp::Reverse(row.id)));
        if let Some(identifier) = oldest.map(|(identifier, _)| identifier.clone()) {
            self.replace(provider, identifier, None);
        }
    }

    fn replace(&mut self, provider: &Pubkey, identifier: Identifier, row: Option<Row>) {
        if let Some(expires_s) = row.as_ref().and_then(|row| row.expires_s) {
            self.expiries.insert((expires_s, *provider, identifier.clone()));
        }
        let expires_s = row.as_ref().and_then(|row| row.expires_s);
        let rows = self.providers.entry(*provider).or_default();
        let before = match row {
            Some(row) => rows.insert(identifier.clone(), row),
            None => rows.remove(&identifier),
        };
        if rows.is_empty() {
            self.providers.remove(provider);
        }
        if let Some(old_s) = before.as_ref().and_then(|row| row.expires_s).filter(|old_s| Some(*old_s) != expires_s) {
            self.expiries.remove(&(old_s, *provider, identifier));
        }
    }

    /// Drops all adverts of a provider.
    pub fn forget(&mut self, provider: &Pubkey) {
        for (identifier, row) in self.providers.remove(provider).unwrap_or_default() {
            if let Some(expires_s) = row.expires_s {
                self.expiries.remove(&(expires_s, *provider, identifier));
            }
        }
    }

    /// Takes away the advert that is this event. Whether there was one.
    pub fn delete_event(&mut self, provider: &Pubkey, id: &EventId) -> bool {
        self.delete(provider, |_, row| row.id == *id)
    }

    /// Takes away the advert of this identifier unless it is newer than the deletion. Whether there was one.
    pub fn delete_address(&mut self, provider: &Pubkey, identifier: &[u8], deleted_at: u64) -> bool {
        self.delete(provider, |own, row| own == identifier && row.created_at <= deleted_at)
    }

    /// Takes away the adverts that are not newer. Whether there were any.
    pub fn delete_up_to(&mut self, provider: &Pubkey, created_at: u64) -> bool {
        let mut deleted = false;
        while self.delete(provider, |_, row| row.created_at <= created_at) {
            deleted = true;
        }
        deleted
    }

    fn delete(&mut self, provider: &Pubkey, is_meant: impl Fn(&[u8], &Row) -> bool) -> bool {
        let rows = self.providers.get(provider);
        let meant = rows.and_then(|rows| rows.iter().find(|(own, row)| is_meant(own, row)));
        let Some(identifier) = meant.map(|(identifier, _)| identifier.clone()) else { return false };
        self.replace(provider, identifier, None);
        true
    }

    /// When the next advert ends, in seconds.
    pub fn next_expiry_s(&self) -> Option<u64> {
        self.expiries.first().map(|(at_s, _, _)| *at_s)
    }

    /// Takes away the next advert that had ended by then; its provider.
    pub fn pop_expired(&mut self, now_s: u64) -> Option<Pubkey> {
        let (_, provider, identifier) = self.expiries.first().filter(|(at_s, _, _)| *at_s <= now_s)?.clone();
        self.replace(&provider, identifier, None);
        Some(provider)
    }

    /// What the adverts of a provider offer together; `None`: nothing. Of two offers for one kind the newer advert's
    /// counts; all capabilities and conditions hold; the highest number of slots counts, because it is one provider that serves all. What
    /// goes beyond the scheduler's bounds is left out, of the oldest first.
    pub fn union(&self, provider: &Pubkey) -> Option<Advert> {
        let rows = self.providers.get(provider).filter(|rows| !rows.is_empty())?;
        let mut newest_first: Vec<&Row> = rows.values().collect();
        newest_first.sort_by_key(|row| (std::cmp::Reverse(row.created_at), row.id));
        let mut union = Advert::default();
        for advert in newest_first.into_iter().map(|row| &row.advert) {
            let offers = advert.kinds.iter().filter(|offer| union.offer(offer.kind).is_none());
            let offers: Vec<_> = offers.cloned().collect();
            union.kinds.extend(offers);
            let caps: Vec<_> = advert.caps.iter().filter(|cap| !union.caps.contains(cap)).cloned().collect();
            union.caps.extend(caps);
            let accept: Vec<_> = advert.accept.iter().filter(|one| !union.accept.contains(one)).cloned().collect();
            union.accept.extend(accept);
            union.slots = union.slots.max(advert.slots);
        }
        union.kinds.truncate(OFFERS_MAX);
        union.caps.truncate(CAPS_MAX);
        union.accept.truncate(ACCEPTS_MAX);
        Some(union)
    }
}

/// The newest adverts of a provider that have not ended.
fn stored_adverts(store: &dyn Store, provider: &Pubkey, now_s: u64) -> Result<Vec<Event>, StoreError> {
    let filter =
        Filter { authors: Some(vec![*provider]), kinds: Some(vec![kind::PROVIDER_ADVERT]), ..Filter::default() };
    find(store, filter, ADVERTS_MAX as u64, now_s)
}

/// Every stored event that a filter finds, up to `room`.
pub fn find(store: &dyn Store, filter: Filter, room: u64, now_s: u64) -> Result<Vec<Event>, StoreError> {
    let mut records = Vec::new();
    each(store, filter, room, now_s, |record| {
        records.push(record);
        ControlFlow::Continue(())
    })?;
    records.iter().map(Record::event).collect()
}

fn each(
    store: &dyn Store,
    filter: Filter,
    room: u64,
    now_s: u64,
    mut found: impl FnMut(Record) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    const BUDGET: u32 = 1_024;
    let mut scan = Scan { room, now: now_s, ..Scan::new(filter) };
    while store.scan(&mut scan, BUDGET, &mut found)? == Progress::More {}
    Ok(())
}
