//! What is counted of connections and of what goes over them.

use std::sync::atomic::Ordering;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::message::{self, CLIENT, CLIENT_AUTH, REASONS, RELAY, RELAY_EVENT, Said};
use super::{Histogram, Labelled};
use crate::connection::Traffic;
use crate::outbox::Frame;

/// Why a connection is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// `limits.max_connections` are open.
    Full,
    /// `limits.max_connections_per_ip` are open from there.
    PerAddress,
    /// It never finished its handshake.
    Handshake,
    /// The relay is about to stop.
    Draining,
}

const TURNED_AWAY: [&str; 4] = ["full", "per_ip", "handshake", "draining"];

#[derive(Debug)]
pub struct ClientMeters {
    pub connections: Gauge,
    opened: Counter,
    turned_away: Labelled<Counter, 4>,
    client_messages: Labelled<Counter, { CLIENT.len() }>,
    relay_messages: Labelled<Counter, { RELAY.len() }>,
    refused: Labelled<Counter, { REASONS.len() }>,
    duplicates: Counter,
    auth: Labelled<Counter, 2>,
    slow: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
    batch: Histogram,
}

impl Default for ClientMeters {
    fn default() -> Self {
        Self {
            connections: Gauge::default(),
            opened: Counter::default(),
            turned_away: Labelled::counters("reason", TURNED_AWAY),
            client_messages: Labelled::counters("verb", CLIENT),
            relay_messages: Labelled::counters("verb", RELAY),
            refused: Labelled::counters("reason", REASONS),
            duplicates: Counter::default(),
            auth: Labelled::counters("outcome", ["ok", "failed"]),
            slow: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            batch: Histogram::of_sizes(),
        }
    }
}

impl ClientMeters {
    pub fn register(&self, registry: &mut Registry) {
        let own = &mut *registry;
        self.client_messages.register(own, "nostr_client_messages", "Messages of clients");
        self.relay_messages.register(own, "nostr_relay_messages", "Messages to clients");
        own.register("mercato_connections", "Clients connected now", self.connections.clone());
        own.register("mercato_connections_opened", "Clients that have connected", self.opened.clone());
        self.turned_away.register(own, "mercato_connections_refused", "Connections turned away");
        self.refused.register(own, "mercato_refused", "Events and subscriptions refused, by machine prefix");
        own.register("mercato_duplicates", "Events that were here already", self.duplicates.clone());
        self.auth.register(own, "mercato_auth", "Answers to AUTH");
        own.register("mercato_slow_client_terminations", "Clients closed as too slow", self.slow.clone());
        own.register("mercato_received_bytes", "Read from clients", self.bytes_in.clone());
        own.register("mercato_sent_bytes", "Written to clients", self.bytes_out.clone());
        own.register("mercato_batch_messages", "Messages written to one client at once", self.batch.clone());
    }

    /// What went over all connections so far, counted elsewhere.
    pub fn carried(&self, traffic: &Traffic) {
        self.bytes_in.inner().store(traffic.received_bytes(), Ordering::Relaxed);
        self.bytes_out.inner().store(traffic.sent_bytes(), Ordering::Relaxed);
    }

    pub fn opened(&self) {
        self.opened.inc();
    }

    pub fn turned_away(&self, why: TurnedAway) {
        self.turned_away.inc(why as usize);
    }

    /// A client was closed because more waited for it than the relay keeps.
    pub fn too_slow(&self) {
        self.slow.inc();
    }

    /// A text message of a client came in; whether it is an AUTH.
    pub fn heard(&self, text: &str) -> bool {
        let verb = message::verb(&CLIENT, text);
        self.client_messages.inc(verb);
        verb == CLIENT_AUTH
    }

    /// An AUTH was answered with these messages.
    pub fn authenticated<'a>(&self, mut answers: impl Iterator<Item = &'a str>) {
        self.auth.inc(usize::from(!answers.any(message::is_yes)));
    }

    /// These messages go out together.
    pub fn tell(&self, batch: &[Frame]) {
        if !batch.is_empty() {
            self.batch.count(batch.len() as u64);
        }
        for frame in batch {
            match frame {
                Frame::Event { .. } => self.relay_messages.inc(RELAY_EVENT),
                Frame::Text(text) => self.tell_text(text),
            }
        }
    }

    fn tell_text(&self, text: &str) {
        self.relay_messages.inc(message::verb(&RELAY, text));
        match message::said(text) {
            Said::Duplicate => drop(self.duplicates.inc()),
            Said::Refused(reason) => self.refused.inc(reason),
            Said::Otherwise => {}
        }
    }
}
