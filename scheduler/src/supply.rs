//! Which providers could take a job, by everything that a request may ask for: derived from the providers, never stored.
//!
//! A **pool** for each kind holds who is available for it, by price; another one those among them with few outcomes. **Postings**
//! for each attribute hold who is present, by value. Whether somebody has a free slot changes with every lease, so it is
//! looked up when a posting is drawn, and only the pools move then.

use crate::advert::{Advert, Value};
use crate::id::ProviderId;
use crate::provider::Provider;
use crate::ranked::Ranked;
use std::collections::BTreeMap;

/// By price in millisatoshi, none counting as 0, then by id.
pub(crate) type Pool = Ranked<(u64, ProviderId)>;

/// Who serves a kind and is available now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Servers {
    /// All of them.
    pub all: Pool,
    /// Those with few outcomes.
    pub newcomers: Pool,
}

/// Who is present and has an attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holders {
    /// With any value.
    pub all: Ranked<ProviderId>,
    /// By whole number; who has several stands here several times.
    pub numbers: Ranked<(i64, ProviderId)>,
    /// By text.
    pub texts: BTreeMap<String, Ranked<ProviderId>>,
}

/// Everybody who could take a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Supply {
    kinds: BTreeMap<u16, Servers>,
    /// How many are there who serve a kind, free or not.
    serving: BTreeMap<u16, usize>,
    attributes: BTreeMap<String, Holders>,
}

/// In which lists a provider stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    available: bool,
    newcomer: bool,
    present: bool,
    serving: bool,
}

impl Seat {
    pub fn of(row: &Provider) -> Self {
        let available = row.is_available();
        let serving = row.is_alive() && !row.is_bystander();
        Self { available, newcomer: available && row.is_newcomer(), present: row.is_present(), serving }
    }

    const NONE: Self = Self { available: false, newcomer: false, present: false, serving: false };
}

impl Supply {
    /// Who is available for a kind, if anybody is.
    pub fn servers(&self, kind: u16) -> Option<&Servers> {
        self.kinds.get(&kind)
    }

    /// Whether somebody is there who serves a kind, be it without a free slot.
    pub fn serves(&self, kind: u16) -> bool {
        self.serving.contains_key(&kind)
    }

    /// Who is present and has an attribute, if anybody has.
    pub fn holders(&self, attribute: &str) -> Option<&Holders> {
        self.attributes.get(attribute)
    }

    /// Moves a provider from where it stood to where it stands; both times with the same advert.
    pub fn seat(&mut self, id: ProviderId, advert: Option<&Advert>, before: Seat, after: Seat) {
        let Some(advert) = advert.filter(|_| before != after) else {
            return;
        };
        if (before.available, before.newcomer) != (after.available, after.newcomer) {
            self.seat_server(id, advert, before, after);
        }
        if before.serving != after.serving {
            advert.kinds.iter().for_each(|offer| self.count_serving(offer.kind, after.serving));
        }
        if before.present != after.present {
            advert.caps.iter().for_each(|(name, value)| self.seat_holder(id, name, value, after.present));
        }
    }

    /// Takes in a provider.
    pub fn add(&mut self, row: &Provider) {
        self.seat(row.id, row.advert.as_ref(), Seat::NONE, Seat::of(row));
    }

    /// Takes out a provider.
    pub fn remove(&mut self, row: &Provider) {
        self.seat(row.id, row.advert.as_ref(), Seat::of(row), Seat::NONE);
    }

    fn seat_server(&mut self, id: ProviderId, advert: &Advert, before: Seat, after: Seat) {
        for offer in &advert.kinds {
            let entry = (offer.price_msat.unwrap_or(0), id);
            let servers = self.kinds.entry(offer.kind).or_default();
            set(&mut servers.all, entry, before.available, after.available);
            set(&mut servers.newcomers, entry, before.newcomer, after.newcomer);
            if servers.all.is_empty() {
                self.kinds.remove(&offer.kind);
            }
        }
    }

    fn count_serving(&mut self, kind: u16, more: bool) {
        let serving = self.serving.entry(kind).or_default();
        *serving = if more { serving.saturating_add(1) } else { serving.saturating_sub(1) };
        if *serving == 0 {
            self.serving.remove(&kind);
        }
    }

    fn seat_holder(&mut self, id: ProviderId, name: &str, value: &Value, present: bool) {
        if !self.attributes.contains_key(name) {
            self.attributes.insert(name.to_owned(), Holders::default());
        }
        let Some(holders) = self.attributes.get_mut(name) else {
            return;
        };
        set(&mut holders.all, id, !present, present);
        match value {
            Value::Int(number) => set(&mut holders.numbers, (*number, id), !present, present),
            Value::Text(text) => {
                let named = holders.texts.entry(text.clone()).or_default();
                set(named, id, !present, present);
                if named.is_empty() {
                    holders.texts.remove(text);
                }
            }
        }
        if holders.all.is_empty() && holders.numbers.is_empty() && holders.texts.is_empty() {
            self.attributes.remove(name);
        }
    }
}

/// Puts a key in or takes it out, where that changes.
fn set<K: Ord>(ranked: &mut Ranked<K>, key: K, before: bool, after: bool) {
    match (before, after) {
        (false, true) => {
            ranked.insert(key);
        }
        (true, false) => {
            ranked.remove(&key);
        }
        (true, true) | (false, false) => {}
    }
}
