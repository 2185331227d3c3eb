//! Providers that never advertise: what their connections listen for is what they offer.
//!
//! A client that only looks for a moment opens the same subscription as a framework that works. So a kind counts once it
//! has been listened for a while.

use mercato_scheduler::Input;

use super::clock::Moment;
use super::{Market, Output, provider_id};
use crate::nostr::{Filter, Pubkey, kind};

/// How long somebody listens before that counts.
const SETTLED_MS: u64 = 1_000;

/// The job kinds whose new requests these filters are for: all of them, whoever asks. Whatever else a filter names, it looks
/// for something.
pub fn job_kinds(filters: &[Filter]) -> Vec<u16> {
    let is_plain = |filter: &&Filter| {
        let Filter { ids, authors, tags, until, search, .. } = filter;
        ids.is_none() && authors.is_none() && tags.is_empty() && until.is_none() && search.is_none()
    };
    let kinds = filters.iter().filter(is_plain).flat_map(|filter| filter.kinds.iter().flatten());
    kinds.copied().filter(|kind| kind::is_job_request(*kind)).collect()
}

impl Market {
    /// A connection of this key listens for these job kinds from now on, in place of those before.
    pub fn on_listening(
        &mut self,
        now: impl Into<Moment>,
        pubkey: &Pubkey,
        connection: u64,
        kinds: Vec<u16>,
    ) -> Output {
        let (now, mut output) = (self.moment(now.into()), Output::default());
        self.presence.listen(pubkey, connection, kinds);
        self.hear(now, pubkey, &mut output);
        output
    }

    /// Takes note of what somebody without an advert listens for: what it has given up at once, what is new in a while.
    pub(super) fn hear(&mut self, now: Moment, pubkey: &Pubkey, output: &mut Output) {
        let kinds = self.presence.listened(pubkey);
        let row = self.scheduler.state().providers().get(&provider_id(pubkey));
        if !self.config.walk_ins || row.is_some_and(|row| row.advert.is_some() && !row.walk_in) {
            return;
        }
        let serves = |kind: &u16| row.is_some_and(|row| row.offer(*kind).is_some());
        if kinds.iter().all(serves) {
            self.listen(now, pubkey, kinds, output);
        } else {
            self.hearings.insert((now.market_ms.saturating_add(SETTLED_MS), *pubkey));
        }
    }

    /// What has been listened for long enough.
    pub(super) fn heed(&mut self, now: Moment, output: &mut Output) {
        while let Some(hearing @ (at_ms, pubkey)) = self.hearings.first().copied()
            && at_ms <= now.market_ms
        {
            self.hearings.remove(&hearing);
            self.listen(now, &pubkey, self.presence.listened(&pubkey), output);
        }
    }

    fn listen(&mut self, now: Moment, pubkey: &Pubkey, kinds: Vec<u16>, output: &mut Output) {
        if !self.presence.is_connected(pubkey) {
            return;
        }
        let provider = provider_id(pubkey);
        if let Err(refusal) = self.step(now, Input::Listen { provider, kinds }, output) {
            tracing::debug!(%refusal, %pubkey, "somebody who listens for jobs finds no place in the directory");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nostr::FilterLimits;

    fn of(filters: &[&str]) -> Vec<u16> {
        let limits = FilterLimits { max_elements: 100, max_tags: 10 };
        let filters: Vec<Filter> = filters.iter().map(|text| Filter::parse(text, limits).unwrap()).collect();
        job_kinds(&filters)
    }

    #[test]
    fn who_looks_for_something_does_not_listen_for_jobs() {
        assert_eq!(of(&[r#"{"kinds":[1,5050,5100,6050],"since":1800000000}"#]), [5050, 5100]);
        assert_eq!(of(&[r#"{"kinds":[5050],"limit":0}"#, r#"{"kinds":[5051]}"#]), [5050, 5051]);
        let key = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        assert!(of(&["{}", r#"{"kinds":[1,6050,7000]}"#, r#"{"kinds":[5050],"until":5}"#]).is_empty());
        assert!(of(&[&format!(r#"{{"kinds":[5050],"authors":["{key}"]}}"#)]).is_empty());
        assert!(of(&[&format!(r##"{{"kinds":[5050],"#e":["{key}"]}}"##)]).is_empty());
        assert!(of(&[&format!(r#"{{"kinds":[5050],"ids":["{key}"]}}"#)]).is_empty());
    }
}
