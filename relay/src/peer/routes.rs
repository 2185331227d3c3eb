//! The way to a peer for whoever speaks with it: what is said goes to its socket, what comes back to whoever asked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::error::LinkError;
use crate::clock::now_s;
use crate::nostr::EventId;

/// Messages that may wait for who asked for them.
const WAITING_IN: usize = 64;
/// Messages that may wait to be sent.
const WAITING_OUT: usize = 64;
/// Notices kept for who listens to them; beyond, the oldest are lost: they are words for people.
const NOTICES: usize = 16;
/// How long a link that holds a key waits for the challenge with which most relays begin.
const CHALLENGE_PATIENCE: Duration = Duration::from_secs(2);
/// How long the peer may take to judge an authentication.
const AUTH_PATIENCE: Duration = Duration::from_secs(15);

/// What a peer says to one subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// An event, as yet unread.
    Event(String),
    Eose,
    Closed(String),
    NegMsg(String),
    NegErr(String),
}

/// What a peer says to an event: OK true or false.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub accepted: bool,
    pub text: String,
}

/// The way to a peer. Works while its `Driver` runs.
#[derive(Debug, Clone)]
pub struct Peer {
    outgoing: mpsc::Sender<Message>,
    pub(super) routes: Arc<Routes>,
}

/// Who waits for what.
#[derive(Debug)]
pub(super) struct Routes {
    subscriptions: Mutex<HashMap<String, mpsc::Sender<Said>>>,
    verdicts: Mutex<HashMap<EventId, oneshot::Sender<Verdict>>>,
    notices: broadcast::Sender<String>,
    auth: watch::Sender<Auth>,
    /// When something last came, in seconds since 1970.
    heard_s: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// How far authentication is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Auth {
    /// Nothing to prove it with.
    NoKey,
    NotAsked,
    Asked,
    Done,
    Refused(String),
}

impl Peer {
    /// A peer, and what is to be sent to it. `has_key`: whether we can authenticate.
    pub(super) fn new(has_key: bool) -> (Self, mpsc::Receiver<Message>) {
        let (outgoing, sent) = mpsc::channel(WAITING_OUT);
        let routes = Arc::new(Routes {
            subscriptions: Mutex::default(),
            verdicts: Mutex::default(),
            notices: broadcast::Sender::new(NOTICES),
            auth: watch::Sender::new(if has_key { Auth::NotAsked } else { Auth::NoKey }),
            heard_s: AtomicU64::new(now_s()),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        });
        (Self { outgoing, routes }, sent)
    }

    /// Waits while much is to be sent already.
    pub async fn send(&self, text: impl Into<Utf8Bytes>) -> Result<(), LinkError> {
        let text = text.into();
        self.routes.bytes_out.fetch_add(text.len() as u64, Ordering::Relaxed);
        self.outgoing.send(Message::Text(text)).await.map_err(|_| LinkError::Gone)
    }

    /// Says that nothing more will come; the peer then ends the connection.
    pub(super) async fn close(&self) {
        // One that is gone needs no good-bye.
        let _ = self.outgoing.send(Message::Close(None)).await;
    }

    /// What the peer says to a subscription of this id, from now on.
    pub fn listen(&self, subscription: &str) -> mpsc::Receiver<Said> {
        let (sender, receiver) = mpsc::channel(WAITING_IN);
        lock(&self.routes.subscriptions).insert(subscription.to_owned(), sender);
        receiver
    }

    /// The opposite of `listen`: what still comes for it is dropped.
    pub fn forget(&self, subscription: &str) {
        lock(&self.routes.subscriptions).remove(subscription);
    }

    /// Where the OK for an event will come.
    pub fn expect_ok(&self, id: EventId) -> oneshot::Receiver<Verdict> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.routes.verdicts).insert(id, sender);
        receiver
    }

    /// What the peer tells people, from now on.
    pub fn notices(&self) -> broadcast::Receiver<String> {
        self.routes.notices.subscribe()
    }

    /// When the peer was last heard, in seconds since 1970.
    pub fn heard_s(&self) -> u64 {
        self.routes.heard_s.load(Ordering::Relaxed)
    }

    /// Of all messages from the peer.
    pub fn bytes_in(&self) -> u64 {
        self.routes.bytes_in.load(Ordering::Relaxed)
    }

    /// Of all messages to the peer.
    pub fn bytes_out(&self) -> u64 {
        self.routes.bytes_out.load(Ordering::Relaxed)
    }

    /// Waits until the peer has judged our key, or does not seem to ask for one. False without a proven key.
    pub async fn authenticated(&self) -> Result<bool, LinkError> {
        let mut auth = self.routes.auth.subscribe();
        if timeout(CHALLENGE_PATIENCE, auth.wait_for(|auth| *auth != Auth::NotAsked)).await.is_err() {
            return Ok(false);
        }
        let settled = timeout(AUTH_PATIENCE, auth.wait_for(|auth| !matches!(auth, Auth::NotAsked | Auth::Asked))).await;
        let settled = settled.map_err(|_| LinkError::Auth("no answer to AUTH".to_owned()))?;
        match &*settled.map_err(|_| LinkError::Gone)? {
            Auth::Done => Ok(true),
            Auth::Refused(text) => Err(LinkError::Auth(text.clone())),
            Auth::NoKey | Auth::NotAsked | Auth::Asked => Ok(false),
        }
    }
}

impl Routes {
    /// Something came, a text of so many bytes or none.
    pub fn heard(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
        self.heard_s.store(now_s(), Ordering::Relaxed);
    }

    /// Waits while the subscription has not taken what came before.
    pub async fn hand(&self, subscription: &str, said: Said) {
        let waiting = lock(&self.subscriptions).get(subscription).cloned();
        if let Some(waiting) = waiting {
            // One that is not listened to any more drops what comes.
            let _ = waiting.send(said).await;
        }
    }

    pub fn settle(&self, id: EventId, verdict: Verdict) {
        let waiting = lock(&self.verdicts).remove(&id);
        if let Some(waiting) = waiting {
            // Who waited may have given up.
            let _ = waiting.send(verdict);
        }
    }

    pub fn tell(&self, notice: String) {
        // Mostly nobody listens.
        let _ = self.notices.send(notice);
    }

    pub fn authentication(&self, auth: Auth) {
        self.auth.send_replace(auth);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
