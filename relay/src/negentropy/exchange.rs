//! One client's NEG subscription (NIP-77), and what all of them may take together.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::budget::{Budget, Share};
use super::reconcile;
use super::span::Span;
use super::trees::Trees;
use crate::clock::steady_ms;
use crate::config::NegentropyConfig;
use crate::connection::Connection;
use crate::nostr::message;
use crate::query::Cancelled;

/// How long a reconciliation may take in all: it holds on to the set as it was when it began.
const MAX_AGE_MS: u64 = 3_600_000;

/// A reconciliation that a client has opened: the set as it was then.
#[derive(Debug)]
pub struct Exchange {
    pub subscription: String,
    connection: Weak<Connection>,
    pub cancelled: Cancelled,
    opened_ms: u64,
    /// When the client or the relay last had its turn.
    turn_ms: AtomicU64,
    /// Whether a message is still to be answered.
    busy: AtomicBool,
    held: Mutex<Option<(Span, Share)>>,
}

impl Exchange {
    /// Takes the turn for a message. False while one before it is not answered.
    pub fn begin_turn(&self) -> bool {
        self.turn_ms.store(steady_ms(), Ordering::Relaxed);
        !self.busy.swap(true, Ordering::AcqRel)
    }

    /// Works on this set from now on.
    pub fn hold(&self, span: Span, share: Share) {
        // Not for who has left meanwhile.
        let mut held = self.lock();
        if !self.cancelled.is_set() {
            *held = Some((span, share));
        }
    }

    /// Answers a message, in at most `frame_bytes`.
    pub fn answer(&self, message: &[u8], frame_bytes: usize) {
        let Some(span) = self.lock().as_ref().map(|(span, _)| span.clone()) else { return };
        let answered = reconcile::answer(&span, message, frame_bytes);
        // Before the client can have heard of it, and speak again.
        self.turn_ms.store(steady_ms(), Ordering::Relaxed);
        self.busy.store(false, Ordering::Release);
        match answered {
            Ok(answer) => self.say(message::neg_msg(&self.subscription, &const_hex::encode(answer))),
            Err(error) => self.refuse(&format!("invalid: {error}")),
        }
    }

    /// Ends it, and tells the client why; the text starts with a machine prefix.
    pub fn refuse(&self, text: &str) {
        self.refuse_with(message::neg_err(&self.subscription, text));
    }

    /// Ends it because it would be about more events than this.
    pub fn refuse_size(&self, max: u64) {
        self.refuse_with(message::neg_err_with(&self.subscription, "blocked: too many query results", max));
    }

    fn refuse_with(&self, message: String) {
        if !self.cancelled.is_set() {
            self.end();
            self.say(message);
        }
    }

    /// Gives back what it holds; nothing more is said.
    pub fn end(&self) {
        self.cancelled.set();
        *self.lock() = None;
    }

    pub fn has_ended(&self) -> bool {
        self.cancelled.is_set()
    }

    /// Why it is to end by now, if it is.
    fn overdue(&self, now_ms: u64, idle_s: u64) -> Option<&'static str> {
        let idle_ms = now_ms.saturating_sub(self.turn_ms.load(Ordering::Relaxed));
        if !self.busy.load(Ordering::Acquire) && idle_ms > idle_s.saturating_mul(1_000) {
            Some("closed: you took too long to respond, open it again")
        } else if now_ms.saturating_sub(self.opened_ms) > MAX_AGE_MS {
            Some("closed: it went on for too long, open it again")
        } else {
            None
        }
    }

    fn say(&self, message: String) {
        if let Some(connection) = self.connection.upgrade() {
            connection.outbox.text(message);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Span, Share)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every reconciliation of every client.
#[derive(Debug)]
pub struct Exchanges {
    pub config: NegentropyConfig,
    /// Bytes of an answer, so that twice that in hex is a message that the relay itself would take.
    pub frame_bytes: usize,
    /// Events in one set that has to be searched for; a tree may have more.
    pub max_events: u64,
    pub trees: Arc<Trees>,
    budget: Arc<Budget>,
    open: Mutex<Vec<Weak<Exchange>>>,
}

impl Exchanges {
    pub fn new(config: NegentropyConfig, max_events: u64, max_message_bytes: usize, trees: Arc<Trees>) -> Self {
        let frame_bytes = config.frame_bytes.min(max_message_bytes / 2 - 128).max(reconcile::MIN_FRAME_BYTES);
        let budget = Budget::new(config.max_session_mib.saturating_mul(1 << 20));
        Self { config, frame_bytes, max_events, trees, budget, open: Mutex::default() }
    }

    /// One more; its first message has the turn.
    pub fn open(&self, connection: &Arc<Connection>, subscription: String) -> Arc<Exchange> {
        let exchange = Arc::new(Exchange {
            subscription,
            connection: Arc::downgrade(connection),
            cancelled: Cancelled::default(),
            opened_ms: steady_ms(),
            turn_ms: AtomicU64::new(steady_ms()),
            busy: AtomicBool::new(true),
            held: Mutex::default(),
        });
        self.lock().push(Arc::downgrade(&exchange));
        exchange
    }

    /// Memory for one more set, none taken yet.
    pub fn share(&self) -> Share {
        self.budget.share()
    }

    /// Bytes that all sets take.
    pub fn used_bytes(&self) -> usize {
        self.budget.used_bytes()
    }

    /// Ends those whose clients have gone quiet, by the steady clock.
    pub fn sweep(&self, now_ms: u64) {
        let mut overdue = Vec::new();
        self.lock().retain(|exchange| match exchange.upgrade() {
            Some(exchange) if !exchange.has_ended() => {
                let reason = exchange.overdue(now_ms, self.config.idle_s);
                overdue.extend(reason.map(|reason| (exchange, reason)));
                true
            }
            Some(_) | None => false,
        });
        for (exchange, reason) in overdue {
            exchange.refuse(reason);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Exchange>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
