//! REQ, COUNT, NEG-OPEN and CLOSE: what a client may ask.

use super::{Action, Session};
use crate::nostr::{Filter, message};

impl Session {
    pub(super) fn on_req(&mut self, subscription: String, filters: Vec<Filter>, actions: &mut Vec<Action>) {
        let known = self.subscriptions.contains(&subscription);
        let full = !known && self.subscriptions.len() >= self.rules.limits.max_subscriptions;
        let searches = self.rules.searches;
        let refusal = self.refuse(&filters, searches).or_else(|| {
            let max = self.rules.limits.max_subscriptions;
            full.then(|| format!("blocked: too many subscriptions, {max} may be open"))
        });
        if let Some(text) = refusal {
            // A refused replacement ends the subscription it was to replace: CLOSED says so.
            if known {
                self.on_close(subscription.clone(), actions);
            }
            self.challenge_for(&text, actions);
            actions.push(Action::Send(message::closed(&subscription, &text)));
            return;
        }
        self.subscriptions.insert(subscription.clone());
        actions.push(Action::Subscribe { subscription, filters });
    }

    pub(super) fn on_count(&mut self, query: String, filters: Vec<Filter>, actions: &mut Vec<Action>) {
        match self.refuse(&filters, false) {
            Some(text) => {
                self.challenge_for(&text, actions);
                actions.push(Action::Send(message::closed(&query, &text)));
            }
            None => actions.push(Action::Count { query, filters }),
        }
    }

    /// What a refused one was to replace ends all the same (NIP-77).
    pub(super) fn on_neg_open(
        &mut self,
        subscription: String,
        filter: Filter,
        message: Vec<u8>,
        actions: &mut Vec<Action>,
    ) {
        match self.refuse(std::slice::from_ref(&filter), false) {
            None => actions.push(Action::NegOpen { subscription, filter, message }),
            Some(text) => {
                self.challenge_for(&text, actions);
                actions.push(Action::Send(message::neg_err(&subscription, &text)));
                actions.push(Action::NegClose { subscription });
            }
        }
    }

    pub(super) fn on_close(&mut self, subscription: String, actions: &mut Vec<Action>) {
        if self.subscriptions.remove(&subscription) {
            actions.push(Action::Unsubscribe { subscription });
        }
    }

    /// Why this client gets no answer to any of `filters`; `None`: it does.
    pub(super) fn refuse(&self, filters: &[Filter], searches: bool) -> Option<String> {
        if !self.rules.rates.req_from(self.ip) {
            return Some("rate-limited: too many questions from your address, slow down".to_owned());
        }
        if !searches && filters.iter().any(|filter| filter.search.is_some()) {
            return Some("unsupported: there is no search here (NIP-50), leave search out of the filter".to_owned());
        }
        if !self.keys.is_empty() {
            return None;
        }
        if self.rules.auth.auth_to_read {
            return Some("auth-required: this relay answers authenticated clients only".to_owned());
        }
        // Nothing could ever come of it (NIP-42 shows this very case). Mixed with other kinds, they are left out.
        let private = filters.iter().all(Filter::is_private);
        private.then(|| "auth-required: private messages are shown to their parties only".to_owned())
    }
}
