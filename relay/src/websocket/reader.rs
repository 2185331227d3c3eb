//! Performs what a session decides: the reading half of one connection, without its socket.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mercato_scheduler::WALK_IN_KINDS_MAX;

use crate::connection::Connection;
use crate::live::Slot;
use crate::market::job_kinds;
use crate::negentropy::Desk;
use crate::nostr::{Filter, Pubkey, message};
use crate::policy::{Question, Source};
use crate::query::{Cancelled, Count, Req};
use crate::relay::Shared;
use crate::session::{Action, Session};
use crate::writer::Command;

/// A session and what it has open in the relay.
pub struct Reader<'a> {
    pub session: Session,
    pub connection: &'a Arc<Connection>,
    pub shared: &'a Arc<Shared>,
    subscriptions: HashMap<String, Subscription>,
    /// Ends every COUNT under way when the connection ends.
    counts: Cancelled,
    reconciliations: Desk,
    /// The job kinds that the market was told of.
    listens: Vec<u16>,
}

/// A subscription as the reading side keeps it.
struct Subscription {
    slot: Slot,
    cancelled: Cancelled,
    /// The job kinds that it is for.
    kinds: Vec<u16>,
}

impl<'a> Reader<'a> {
    pub fn new(session: Session, connection: &'a Arc<Connection>, shared: &'a Arc<Shared>) -> Self {
        let (counts, reconciliations) = (Cancelled::default(), Desk::new(shared.exchanges.clone()));
        Self {
            session,
            connection,
            shared,
            subscriptions: HashMap::new(),
            counts,
            reconciliations,
            listens: Vec::new(),
        }
    }

    /// Does everything in order; the list is empty afterwards.
    pub async fn perform(&mut self, actions: &mut Vec<Action>) {
        for action in actions.drain(..) {
            match action {
                Action::Send(text) => self.connection.outbox.text(text),
                Action::Publish(event) => self.shared.publish(self.connection, event).await,
                Action::Subscribe { subscription, filters } => {
                    self.subscribe(subscription, filters).await;
                    self.tell_listens().await;
                }
                Action::Count { query, filters } => self.count(query, filters).await,
                Action::Unsubscribe { subscription } => {
                    self.unsubscribe(&subscription);
                    self.tell_listens().await;
                }
                Action::Authenticate(pubkey) => self.authenticate(pubkey).await,
                Action::NegOpen { subscription, filter, message } => {
                    self.reconcile(subscription, filter, message).await;
                }
                Action::NegMsg { subscription, message } => {
                    self.reconciliations.message(subscription, message, self.connection, &self.shared.queries);
                }
                Action::NegClose { subscription } => self.reconciliations.close(&subscription),
            }
        }
    }

    async fn subscribe(&mut self, subscription: String, filters: Vec<Filter>) {
        self.unsubscribe(&subscription);
        let question = Question { verb: "REQ", subscription: &subscription, filters: &filters };
        let source = Source::client(self.connection, None);
        if let Err(text) = self.shared.policies.admit_query(&question, &source).await {
            self.session.on_ended(&subscription);
            self.connection.challenge_for(&text);
            self.connection.outbox.text(message::closed(&subscription, &text));
            return;
        }
        let prefix: Arc<str> = message::event_prefix(&subscription).into();
        let kinds = if self.shared.config.market.hears_walk_ins() { job_kinds(&filters) } else { Vec::new() };
        let filters: Arc<[Filter]> = filters.into();
        let (slot, sequence) = self.shared.live.subscribe(self.connection, prefix.clone(), filters.clone());
        let cancelled = Cancelled::default();
        let req = Req::new(subscription.clone(), prefix, filters, sequence, cancelled.clone());
        self.shared.queries.submit(self.connection, Box::new(req));
        self.subscriptions.insert(subscription, Subscription { slot, cancelled, kinds });
        self.connection.subscriptions.store(self.subscriptions.len(), Ordering::Relaxed);
    }

    async fn count(&self, query: String, filters: Vec<Filter>) {
        let waiting = self.connection.lane.pending();
        let question = Question { verb: "COUNT", subscription: &query, filters: &filters };
        let refusal = match self.shared.policies.admit_query(&question, &Source::client(self.connection, None)).await {
            Ok(()) if waiting < 2 * self.shared.config.limits.max_subscriptions => None,
            Ok(()) => Some("rate-limited: too many questions wait for their answers".to_owned()),
            Err(text) => Some(text),
        };
        if let Some(text) = refusal {
            self.connection.challenge_for(&text);
            self.connection.outbox.text(message::closed(&query, &text));
            return;
        }
        let sequence = self.shared.store.last_sequence();
        let count = Count::new(query, filters, sequence, self.counts.clone());
        self.shared.queries.submit(self.connection, Box::new(count));
    }

    fn unsubscribe(&mut self, subscription: &str) {
        if let Some(subscription) = self.subscriptions.remove(subscription) {
            subscription.cancelled.set();
            self.shared.live.unsubscribe(subscription.slot);
            self.connection.subscriptions.store(self.subscriptions.len(), Ordering::Relaxed);
        }
    }

    async fn reconcile(&mut self, subscription: String, filter: Filter, message: Vec<u8>) {
        let filters = [filter];
        let question = Question { verb: "NEG-OPEN", subscription: &subscription, filters: &filters };
        let verdict = match self.shared.config.negentropy.enabled {
            true => self.shared.policies.admit_query(&question, &Source::client(self.connection, None)).await,
            false => Err("blocked: this relay does not sync".to_owned()),
        };
        if let Err(text) = verdict {
            self.reconciliations.close(&subscription);
            return self.connection.outbox.text(message::neg_err(&subscription, &text));
        }
        let [filter] = filters;
        self.reconciliations.open(subscription, filter, message, self.connection, &self.shared.queries);
    }

    async fn authenticate(&self, pubkey: Pubkey) {
        if self.connection.authenticate(pubkey) {
            self.shared.writer.send(Command::Connected(pubkey)).await;
            if !self.listens.is_empty() {
                self.tell_listens_of(pubkey).await;
            }
        }
    }

    /// Tells the market what this client listens for, if that has changed: who works without an advert is found by it.
    async fn tell_listens(&mut self) {
        let mut kinds = BTreeSet::new();
        for kind in self.subscriptions.values().flat_map(|subscription| &subscription.kinds) {
            // One more than counts says that there are too many.
            if kinds.len() <= WALK_IN_KINDS_MAX {
                kinds.insert(*kind);
            }
        }
        if kinds.iter().eq(&self.listens) {
            return;
        }
        self.listens = kinds.into_iter().collect();
        for pubkey in self.connection.keys() {
            self.tell_listens_of(pubkey).await;
        }
    }

    async fn tell_listens_of(&self, pubkey: Pubkey) {
        let (connection, kinds) = (self.connection.id, self.listens.clone());
        self.shared.writer.send(Command::Listening { pubkey, connection, kinds }).await;
    }

    /// Takes everything back that the connection left in the relay.
    pub async fn leave(mut self) {
        self.counts.set();
        for subscription in self.subscriptions.drain().map(|(_, subscription)| subscription) {
            subscription.cancelled.set();
            self.shared.live.unsubscribe(subscription.slot);
        }
        let listened = !std::mem::take(&mut self.listens).is_empty();
        for pubkey in self.connection.keys() {
            if listened {
                self.tell_listens_of(pubkey).await;
            }
            self.shared.writer.send(Command::Disconnected(pubkey)).await;
        }
    }
}
