//! The reconciliations of one connection, by subscription id.

use std::collections::HashMap;
use std::sync::Arc;

use super::exchange::{Exchange, Exchanges};
use crate::connection::Connection;
use crate::nostr::{Filter, message};
use crate::query::{NegMsg, NegOpen, QueryPool};

#[derive(Debug)]
pub struct Desk {
    exchanges: Arc<Exchanges>,
    open: HashMap<String, Arc<Exchange>>,
}

impl Desk {
    pub fn new(exchanges: Arc<Exchanges>) -> Self {
        Self { exchanges, open: HashMap::new() }
    }

    /// NEG-OPEN, after the policies have agreed. Replaces one of the same id.
    pub fn open(
        &mut self,
        subscription: String,
        filter: Filter,
        message: Vec<u8>,
        connection: &Arc<Connection>,
        queries: &QueryPool,
    ) {
        self.close(&subscription);
        self.open.retain(|_, exchange| !exchange.has_ended());
        let max = self.exchanges.config.max_sessions;
        if self.open.len() >= max {
            let text = format!("blocked: too many reconciliations, {max} may be open");
            return connection.outbox.text(message::neg_err(&subscription, &text));
        }
        let exchange = self.exchanges.open(connection, subscription.clone());
        self.open.insert(subscription, exchange.clone());
        queries.submit(connection, Box::new(NegOpen::new(exchange, self.exchanges.clone(), filter, message)));
    }

    /// NEG-MSG.
    pub fn message(
        &mut self,
        subscription: String,
        message: Vec<u8>,
        connection: &Arc<Connection>,
        queries: &QueryPool,
    ) {
        match self.open.get(&subscription).filter(|exchange| !exchange.has_ended()) {
            None => {
                let text = "closed: unknown subscription id, open it first";
                connection.outbox.text(message::neg_err(&subscription, text));
            }
            // So that nobody queues up work.
            Some(exchange) if !exchange.begin_turn() => {
                exchange.refuse("invalid: the message before is not answered yet");
            }
            Some(exchange) => {
                let work = NegMsg::new(exchange.clone(), message, self.exchanges.frame_bytes);
                queries.submit(connection, Box::new(work));
            }
        }
    }

    /// NEG-CLOSE.
    pub fn close(&mut self, subscription: &str) {
        if let Some(exchange) = self.open.remove(subscription) {
            exchange.end();
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.open.values().for_each(|exchange| exchange.end());
    }
}
