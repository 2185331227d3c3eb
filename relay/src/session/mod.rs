//! One client's conversation, without I/O: text in, actions out, a method for each verb.

mod auth;
mod question;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::access::Access;
use crate::config::{AccessConfig, LimitsConfig};
use crate::ingest;
use crate::nostr::{ClientMessage, Event, Filter, MessageError, Pubkey, Verifier, kind, message};
use crate::policy::rate::Rates;
use crate::store::Store;

/// What the connection's task is to do, in order.
#[derive(Debug)]
pub enum Action {
    Send(String),
    /// Hand a well-formed, signed event to the policies, then to the writer.
    Publish(Box<Event>),
    /// Answer with stored events, then with live ones. Replaces a subscription of the same id.
    Subscribe {
        subscription: String,
        filters: Vec<Filter>,
    },
    /// Answer with the number of stored events (NIP-45).
    Count {
        query: String,
        filters: Vec<Filter>,
    },
    Unsubscribe {
        subscription: String,
    },
    /// The client has proved to hold this key.
    Authenticate(Pubkey),
    /// Reconcile what matches with what the client has (NIP-77). Replaces a reconciliation of the same id.
    NegOpen {
        subscription: String,
        filter: Filter,
        message: Vec<u8>,
    },
    NegMsg {
        subscription: String,
        message: Vec<u8>,
    },
    NegClose {
        subscription: String,
    },
}

/// What all sessions share.
#[derive(Debug)]
pub struct Rules {
    pub limits: LimitsConfig,
    pub auth: AccessConfig,
    pub rates: Rates,
    pub access: Arc<Access>,
    /// The relay's public address; empty: for AUTH, the host that the client asked for stands in.
    pub url: String,
    /// Whether REQ may search (NIP-50).
    pub searches: bool,
    pub verifier: Verifier,
    /// Where it is looked up whether an event is here already, before its signature is checked.
    pub store: Option<Arc<dyn Store>>,
}

/// What the door says to an event that it does not refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admitted {
    New,
    /// It is stored already.
    Known,
}

#[derive(Debug)]
pub struct Session {
    rules: Arc<Rules>,
    ip: IpAddr,
    /// Host that the client connected to.
    host: String,
    challenge: String,
    /// Whether the client was given it.
    challenged: bool,
    keys: Vec<Pubkey>,
    subscriptions: HashSet<String>,
}

impl Session {
    /// `host` is what the client gave as Host, `challenge` an unguessable text.
    pub fn new(rules: Arc<Rules>, ip: IpAddr, host: String, challenge: String) -> Self {
        Self { rules, ip, host, challenge, challenged: false, keys: Vec::new(), subscriptions: HashSet::new() }
    }

    /// Holds the client to these rules from now on.
    pub fn follow(&mut self, rules: &Arc<Rules>) {
        if !Arc::ptr_eq(rules, &self.rules) {
            self.rules = rules.clone();
        }
    }

    /// The greeting: a challenge, so that clients authenticate by themselves.
    pub fn on_open(&mut self, actions: &mut Vec<Action>) {
        if self.rules.auth.greet {
            self.challenge(actions);
        }
    }

    fn challenge(&mut self, actions: &mut Vec<Action>) {
        self.challenged = true;
        actions.push(Action::Send(message::auth(&self.challenge)));
    }

    /// Who is told to authenticate must have been given something to sign.
    fn challenge_for(&mut self, refusal: &str, actions: &mut Vec<Action>) {
        if !self.challenged && refusal.starts_with("auth-required:") {
            self.challenge(actions);
        }
    }

    /// One text message. `now` is in seconds.
    pub fn on_text(&mut self, text: &str, now: u64, actions: &mut Vec<Action>) {
        match ClientMessage::parse(text, self.rules.limits.message()) {
            Ok(ClientMessage::Event(event)) => self.on_event(event, now, actions),
            Ok(ClientMessage::Req { subscription, filters }) => self.on_req(subscription, filters, actions),
            Ok(ClientMessage::Count { query, filters }) => self.on_count(query, filters, actions),
            Ok(ClientMessage::Close { subscription }) => self.on_close(subscription, actions),
            Ok(ClientMessage::Auth(event)) => self.on_auth(&event, now, actions),
            Ok(ClientMessage::NegOpen { subscription, filter, message }) => {
                self.on_neg_open(subscription, filter, message, actions);
            }
            Ok(ClientMessage::NegMsg { subscription, message }) => {
                actions.push(Action::NegMsg { subscription, message });
            }
            Ok(ClientMessage::NegClose { subscription }) => actions.push(Action::NegClose { subscription }),
            Err(error) => {
                actions.push(Action::Send(refusal(&error)));
                if let MessageError::Negentropy { subscription, .. } = error {
                    actions.push(Action::NegClose { subscription });
                }
            }
        }
    }

    pub fn on_binary(&mut self, actions: &mut Vec<Action>) {
        let text = "invalid: binary messages are not understood, send text";
        actions.push(Action::Send(message::notice(text)));
    }

    /// Forgets a subscription that the relay ended by itself.
    pub fn on_ended(&mut self, subscription: &str) {
        self.subscriptions.remove(subscription);
    }

    fn on_event(&mut self, event: Event, now: u64, actions: &mut Vec<Action>) {
        let id = event.id;
        match self.admit(&event, now) {
            Ok(Admitted::New) => actions.push(Action::Publish(Box::new(event))),
            Ok(Admitted::Known) => actions.push(Action::Send(message::ok(&id, true, "duplicate: have this event"))),
            Err(text) => {
                self.challenge_for(&text, actions);
                actions.push(Action::Send(message::ok(&id, false, &text)));
            }
        }
    }

    fn admit(&self, event: &Event, now: u64) -> Result<Admitted, String> {
        if self.rules.rates.is_muted(self.ip) {
            return Err("rate-limited: too many bad signatures from your address, wait a while".to_owned());
        }
        if !self.rules.rates.event_from(self.ip) {
            return Err("rate-limited: too many events from your address, slow down".to_owned());
        }
        // Who wants to vanish may, whoever else may write (NIP-62).
        if event.kind != kind::VANISH {
            self.may_write(event)?;
        }
        ingest::check(event, &self.rules.limits, &self.keys, now)?;
        ingest::check_vanish(event, &self.rules.url)?;
        if self.is_stored(event) {
            return Ok(Admitted::Known);
        }
        if let Err(error) = self.rules.verifier.check(event) {
            self.rules.rates.invalid_from(self.ip);
            return Err(format!("invalid: {error}"));
        }
        if !self.rules.rates.event_by(self.ip, &event.pubkey) {
            return Err("rate-limited: too many events by this author, slow down".to_owned());
        }
        if kind::is_job_request(event.kind)
            && let Err(whose) = self.rules.rates.job_by(self.ip, &event.pubkey)
        {
            return Err(format!("rate-limited: too many job requests from {whose}, slow down"));
        }
        Ok(Admitted::New)
    }

    fn may_write(&self, event: &Event) -> Result<(), String> {
        if self.rules.auth.auth_to_write && self.keys.is_empty() {
            return Err("auth-required: this relay takes events from authenticated clients only".to_owned());
        }
        self.rules.access.admit(event)
    }

    /// Whether the event is here. What is stored was checked when it came, and the id is the hash of what has come now:
    /// that the relay has it is true whatever stands in `sig`.
    fn is_stored(&self, event: &Event) -> bool {
        let found = self.rules.store.as_ref().map(|store| store.get(&event.id));
        // A fault of the store is told by the writer, which asks again.
        matches!(found, Some(Ok(Some(_))))
    }
}

fn refusal(error: &MessageError) -> String {
    let text = format!("invalid: {error}");
    match error {
        MessageError::Malformed(_) => message::notice(&text),
        MessageError::Event { id, .. } => message::ok(id, false, &text),
        MessageError::Filter { subscription, .. } => message::closed(subscription, &text),
        MessageError::Negentropy { subscription, .. } => message::neg_err(subscription, &text),
    }
}
