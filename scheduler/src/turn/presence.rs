//! Providers come and go.

use super::Turn;
use crate::advert::{Advert, WALK_IN_KINDS_MAX};
use crate::id::ProviderId;
use crate::provider::Presence;
use crate::record::Fact;
use crate::refusal::Refusal;

impl Turn<'_> {
    pub(super) fn advertise(&mut self, provider: ProviderId, mut advert: Advert) -> Result<(), Refusal> {
        if let Some(flaw) = advert.flaw() {
            return Err(Refusal::InvalidAdvert(flaw));
        }
        advert.drop_double_offers();
        self.make_room_for(provider)?;
        let slots = advert.slots.unwrap_or(self.config.default_slots).min(self.config.slots_max);
        let row = self.state.providers.get(&provider);
        if row.is_none_or(|row| row.advert.as_ref() != Some(&advert) || row.slots != slots || row.walk_in) {
            self.record(Fact::Advertised { provider, advert, slots });
            self.wake_for(provider);
        }
        Ok(())
    }

    pub(super) fn unadvertise(&mut self, provider: ProviderId) {
        if self.state.providers.get(&provider).is_some_and(|row| row.advert.is_some() && !row.walk_in) {
            self.record(Fact::Unadvertised { provider });
            self.forget_if_blank(provider);
        }
    }

    /// Renews the liveness of a provider without a connection.
    pub(super) fn see(&mut self, provider: ProviderId) {
        let Some(row) = self.state.providers.get(&provider) else {
            return;
        };
        let until_ms = self.now_ms.saturating_add(self.config.liveness_window_ms);
        let counts = match row.presence {
            Presence::Online => false,
            Presence::Seen { until_ms: known_ms } => {
                until_ms.saturating_sub(known_ms) >= self.config.seen_resolution_ms.max(1)
            }
            Presence::Offline { grace_until_ms, .. } => self.now_ms >= grace_until_ms,
        };
        if counts {
            self.gaining(provider, |turn| turn.record(Fact::Seen { provider, until_ms }));
        }
    }

    pub(super) fn come_online(&mut self, provider: ProviderId) -> Result<(), Refusal> {
        if self.state.providers.get(&provider).is_some_and(|row| row.is_online()) {
            return Ok(());
        }
        self.make_room_for(provider)?;
        self.gaining(provider, |turn| turn.record(Fact::CameOnline { provider }));
        self.touch_leases_of(provider);
        Ok(())
    }

    /// A connected provider offers what it listens for, unless it advertises.
    pub(super) fn listen(&mut self, provider: ProviderId, mut kinds: Vec<u16>) -> Result<(), Refusal> {
        kinds.sort_unstable();
        kinds.dedup();
        if kinds.len() > WALK_IN_KINDS_MAX {
            kinds.clear();
        }
        let row = self.state.providers.get(&provider);
        let own = row.and_then(|row| row.advert.as_ref());
        let known = own.into_iter().flat_map(|advert| &advert.kinds).map(|offer| offer.kind);
        if row.is_some_and(|row| row.advert.is_some() && !row.walk_in) || known.eq(kinds.iter().copied()) {
            return Ok(());
        }
        self.come_online(provider)?;
        let slots = self.config.default_slots;
        self.record(Fact::Listened { provider, kinds, slots });
        self.wake_for(provider);
        Ok(())
    }

    pub(super) fn go_offline(&mut self, provider: ProviderId) {
        if self.state.providers.get(&provider).is_some_and(|row| row.is_online()) {
            let grace_until_ms = self.now_ms.saturating_add(self.config.disconnect_grace_ms);
            self.record(Fact::WentOffline { provider, grace_until_ms });
            self.touch_leases_of(provider);
            self.forget_if_blank(provider);
        }
    }

    pub(super) fn restart(&mut self) {
        let grace_until_ms = self.now_ms.saturating_add(self.config.restart_grace_ms);
        self.record(Fact::Restarted { grace_until_ms });
        let leased = self.state.jobs.values().filter(|job| !job.leases.is_empty());
        self.touched.extend(leased.map(|job| job.id));
    }

    /// Runs a change that frees a slot of the provider or brings it to life; queued jobs get a look if it had nothing to give before.
    pub(super) fn gaining(&mut self, provider: ProviderId, change: impl FnOnce(&mut Self)) {
        let was_available = self.state.providers.get(&provider).is_some_and(|row| row.is_available());
        change(self);
        if !was_available {
            self.wake_for(provider);
        }
    }

    pub(super) fn forget_if_blank(&mut self, provider: ProviderId) {
        if self.state.providers.get(&provider).is_some_and(|row| row.is_blank()) {
            self.record(Fact::ProviderForgotten { provider });
        }
    }

    fn wake_for(&mut self, provider: ProviderId) {
        let Some(row) = self.state.providers.get(&provider).filter(|row| row.is_available()) else {
            return;
        };
        for offer in row.advert.iter().flat_map(|advert| &advert.kinds) {
            if self.state.index.queues.contains_key(&offer.kind) {
                self.wakes.kind(offer.kind, provider);
            }
        }
    }

    fn touch_leases_of(&mut self, provider: ProviderId) {
        if let Some(row) = self.state.providers.get(&provider) {
            self.touched.extend(&row.leases);
        }
    }

    /// Finds a place for a provider that is not known: the one away for longest goes.
    fn make_room_for(&mut self, provider: ProviderId) -> Result<(), Refusal> {
        let max = self.config.providers_max;
        if self.state.providers.contains_key(&provider) || self.state.providers.len() < max {
            return Ok(());
        }
        let idle = self.state.index.idle.first().copied();
        match idle.filter(|(grace_until_ms, _)| *grace_until_ms <= self.now_ms) {
            Some((_, provider)) => {
                self.record(Fact::ProviderForgotten { provider });
                Ok(())
            }
            None => Err(Refusal::TooManyProviders { max, provider }),
        }
    }
}
