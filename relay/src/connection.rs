//! What the rest of the relay holds of one client.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::Semaphore;

use crate::control::Peer;
use crate::nostr::{Pubkey, message};
use crate::outbox::Outbox;
use crate::query::Lane;

/// Events of one client that a plugin may be judging at once; its further ones wait, so that no client takes all of what
/// `plugins.max_in_flight` allows.
const JUDGED_AT_ONCE: usize = 64;

/// One client's shared half; the socket and the session stay with the connection's own task.
#[derive(Debug)]
pub struct Connection {
    pub id: u64,
    pub address: SocketAddr,
    pub outbox: Outbox,
    /// Its queries, in the order they came.
    pub lane: Lane,
    /// Places for its events before a plugin.
    pub judged: Arc<Semaphore>,
    /// How many subscriptions are open; told by whoever opens and closes them.
    pub subscriptions: AtomicUsize,
    since: Instant,
    pub traffic: Traffic,
    authenticated: RwLock<Vec<Pubkey>>,
    /// What it would have to sign, while nobody has told it.
    challenge: Mutex<Option<String>>,
}

impl Connection {
    pub fn new(id: u64, address: SocketAddr, max_outbound_bytes: usize) -> Self {
        Self {
            id,
            address,
            outbox: Outbox::new(max_outbound_bytes),
            lane: Lane::default(),
            judged: Arc::new(Semaphore::new(JUDGED_AT_ONCE)),
            subscriptions: AtomicUsize::new(0),
            since: Instant::now(),
            traffic: Traffic::default(),
            authenticated: RwLock::default(),
            challenge: Mutex::default(),
        }
    }

    /// For a client that is not greeted with its challenge.
    pub fn unchallenged(mut self, challenge: String) -> Self {
        self.challenge = Mutex::new(Some(challenge));
        self
    }

    /// Who is told by a policy to authenticate must have been given something to sign. That the session may have given it
    /// the same by then does no harm.
    pub fn challenge_for(&self, refusal: &str) {
        if refusal.starts_with("auth-required:")
            && let Some(challenge) = self.challenge.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            self.outbox.text(message::auth(&challenge));
        }
    }

    /// Says whether the client takes compressed messages.
    pub fn compressing(mut self, compresses: bool) -> Self {
        self.outbox = self.outbox.compressing(compresses);
        self
    }

    /// Adds a key that this client has proved to hold (NIP-42). False when it had before.
    pub fn authenticate(&self, pubkey: Pubkey) -> bool {
        let mut keys = self.authenticated.write().unwrap_or_else(PoisonError::into_inner);
        let new = !keys.contains(&pubkey);
        if new {
            keys.push(pubkey);
        }
        new
    }

    /// Runs `look` over the keys that this client has proved to hold.
    pub fn with_keys<T>(&self, look: impl FnOnce(&[Pubkey]) -> T) -> T {
        look(&self.authenticated.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether this client has proved to hold one of `keys`.
    pub fn holds_any(&self, keys: &[Pubkey]) -> bool {
        self.with_keys(|held| held.iter().any(|key| keys.contains(key)))
    }

    /// How it stands.
    pub fn peer(&self) -> Peer {
        Peer {
            id: self.id,
            address: self.address,
            connected_s: self.since.elapsed().as_secs(),
            keys: self.with_keys(|keys| keys.iter().map(Pubkey::to_hex).collect()),
            subscriptions: self.subscriptions.load(Ordering::Relaxed) as u64,
            queries: self.lane.pending() as u64,
            judged: JUDGED_AT_ONCE.saturating_sub(self.judged.available_permits()) as u64,
            pending_bytes: self.outbox.pending_bytes() as u64,
        }
    }

    pub fn keys(&self) -> Vec<Pubkey> {
        self.with_keys(<[Pubkey]>::to_vec)
    }
}

/// Bytes of WebSocket frames, as the network counts them.
#[derive(Debug, Default)]
pub struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn received_bytes(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub fn sent_bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}
