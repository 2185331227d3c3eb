//! One connection to a relay, as its client: what is said goes out in order, what comes back is handed to whoever asked.
//!
//! Every queue here is bounded. One that is full makes its sender wait, in the end the peer itself: it is read more
//! slowly. Reading and writing go on side by side, so that neither waits for the other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::error::LinkError;
use super::key::LinkKey;
use super::message::RelayMessage;
use crate::clock::now_s;
use crate::nostr::EventId;

/// Longest message that is taken from a peer; a longer one ends the connection. Events are bounded more tightly later:
/// one that is too large for us must not cost the link.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Messages that may wait for who asked for them.
const WAITING_IN: usize = 64;
/// Messages that may wait to be sent.
const WAITING_OUT: usize = 64;
const PING_PERIOD: Duration = Duration::from_secs(30);
/// A connection on which nothing came for so long is given up.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long the peer may take to accept a message.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);
/// How long a link that holds a key waits for the challenge with which most relays begin.
const CHALLENGE_PATIENCE: Duration = Duration::from_secs(2);
/// How long the peer may take to judge an authentication.
const AUTH_PATIENCE: Duration = Duration::from_secs(15);
/// Notices of one connection that are logged.
const NOTICES_LOGGED: u32 = 10;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

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
    routes: Arc<Routes>,
}

/// Pumps one connection until it ends.
pub struct Driver {
    socket: Socket,
    outgoing: mpsc::Receiver<Message>,
    peer: Peer,
    url: String,
    key: Option<LinkKey>,
}

/// Who waits for what.
#[derive(Debug)]
struct Routes {
    subscriptions: Mutex<HashMap<String, mpsc::Sender<Said>>>,
    verdicts: Mutex<HashMap<EventId, oneshot::Sender<Verdict>>>,
    auth: watch::Sender<Auth>,
    /// When something last came, in seconds since 1970.
    heard_s: AtomicU64,
}

/// How far authentication is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Auth {
    /// Nothing to prove it with.
    NoKey,
    NotAsked,
    Asked,
    Done,
    Refused(String),
}

/// Connects to `url`, within `patience`.
pub async fn connect(url: &str, key: Option<LinkKey>, patience: Duration) -> Result<(Peer, Driver), LinkError> {
    // The process has one provider of cryptography; whoever was first chose it.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
        .max_write_buffer_size(4 * MAX_MESSAGE_BYTES);
    let connecting = timeout(patience, connect_async_with_config(url, Some(config), true));
    let (socket, _) = connecting.await.map_err(|_| LinkError::ConnectTimeout(patience))?.map_err(LinkError::connect)?;
    let (sender, outgoing) = mpsc::channel(WAITING_OUT);
    let routes = Arc::new(Routes {
        subscriptions: Mutex::default(),
        verdicts: Mutex::default(),
        auth: watch::Sender::new(if key.is_some() { Auth::NotAsked } else { Auth::NoKey }),
        heard_s: AtomicU64::new(now_s()),
    });
    let peer = Peer { outgoing: sender, routes };
    Ok((peer.clone(), Driver { socket, outgoing, peer, url: url.to_owned(), key }))
}

impl Peer {
    /// Waits while much is to be sent already.
    pub async fn send(&self, text: impl Into<Utf8Bytes>) -> Result<(), LinkError> {
        self.outgoing.send(Message::Text(text.into())).await.map_err(|_| LinkError::Gone)
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

    /// When the peer was last heard, in seconds since 1970.
    pub fn heard_s(&self) -> u64 {
        self.routes.heard_s.load(Ordering::Relaxed)
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

impl Driver {
    /// Runs until the connection ends, and says why.
    pub async fn run(self) -> LinkError {
        let Self { socket, outgoing, peer, url, key } = self;
        let (sink, stream) = socket.split();
        let reader = Reader { peer: &peer, url: &url, key: key.as_ref(), notices: 0 };
        tokio::select! {
            error = reader.run(stream) => error,
            error = write(sink, outgoing) => error,
        }
    }
}

struct Reader<'a> {
    peer: &'a Peer,
    url: &'a str,
    key: Option<&'a LinkKey>,
    notices: u32,
}

impl Reader<'_> {
    async fn run(mut self, mut stream: SplitStream<Socket>) -> LinkError {
        loop {
            let frame = match timeout(PATIENCE, stream.next()).await {
                Err(_) => return LinkError::Silent(PATIENCE),
                Ok(None) => return LinkError::Closed(String::new()),
                Ok(Some(Err(error))) => return LinkError::broken(error),
                Ok(Some(Ok(frame))) => frame,
            };
            match frame {
                Message::Text(text) => {
                    if let Err(error) = self.on_text(&text).await {
                        return error;
                    }
                }
                Message::Close(frame) => {
                    return LinkError::Closed(frame.map(|frame| frame.reason.to_string()).unwrap_or_default());
                }
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
            self.peer.routes.heard_s.store(now_s(), Ordering::Relaxed);
        }
    }

    async fn on_text(&mut self, text: &str) -> Result<(), LinkError> {
        let message = match RelayMessage::parse(text) {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(url = self.url, %error, "a message of the peer is not understood");
                return Ok(());
            }
        };
        match message {
            RelayMessage::Event { subscription, event } => {
                self.route(&subscription, Said::Event(event.to_owned())).await
            }
            RelayMessage::Eose { subscription } => self.route(&subscription, Said::Eose).await,
            RelayMessage::Closed { subscription, text } => self.route(&subscription, Said::Closed(text)).await,
            RelayMessage::NegMsg { subscription, message } => {
                self.route(&subscription, Said::NegMsg(message.to_owned())).await;
            }
            RelayMessage::NegErr { subscription, text } => self.route(&subscription, Said::NegErr(text)).await,
            RelayMessage::Ok { id, accepted, text } => {
                let waiting = lock(&self.peer.routes.verdicts).remove(&id);
                if let Some(waiting) = waiting {
                    // Who waited may have given up.
                    let _ = waiting.send(Verdict { accepted, text });
                }
            }
            RelayMessage::Notice { text } => {
                self.notices += 1;
                if self.notices <= NOTICES_LOGGED {
                    tracing::warn!(url = self.url, text, "notice of the peer");
                }
            }
            RelayMessage::Auth { challenge } => self.authenticate(&challenge).await?,
            RelayMessage::Other => {}
        }
        Ok(())
    }

    /// Waits while the subscription has not taken what came before.
    async fn route(&self, subscription: &str, said: Said) {
        let waiting = lock(&self.peer.routes.subscriptions).get(subscription).cloned();
        if let Some(waiting) = waiting {
            // One that is not listened to any more drops what comes.
            let _ = waiting.send(said).await;
        }
    }

    /// Answers a challenge, if we hold a key; what the peer says to it comes later.
    async fn authenticate(&self, challenge: &str) -> Result<(), LinkError> {
        let Some(key) = self.key else { return Ok(()) };
        let event = key.answer(self.url, challenge);
        let verdict = self.peer.expect_ok(event.id);
        self.peer.routes.auth.send_replace(Auth::Asked);
        let routes = self.peer.routes.clone();
        tokio::spawn(async move {
            // No verdict: the connection is gone.
            let Ok(verdict) = verdict.await else { return };
            routes.auth.send_replace(if verdict.accepted { Auth::Done } else { Auth::Refused(verdict.text) });
        });
        self.peer.send(format!("[\"AUTH\",{}]", body(event.body()))).await
    }
}

/// Sends what is to be sent, and a ping now and then.
async fn write(mut sink: SplitSink<Socket, Message>, mut outgoing: mpsc::Receiver<Message>) -> LinkError {
    let mut pings = interval_at(Instant::now() + PING_PERIOD, PING_PERIOD);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            message = outgoing.recv() => match message {
                Some(message) => message,
                None => return LinkError::Gone,
            },
            _ = pings.tick() => Message::Ping(Default::default()),
        };
        let sent = async {
            sink.feed(message).await?;
            while let Ok(message) = outgoing.try_recv() {
                sink.feed(message).await?;
            }
            sink.flush().await
        };
        match timeout(WRITE_PATIENCE, sent).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return LinkError::broken(error),
            Err(_) => return LinkError::Silent(WRITE_PATIENCE),
        }
    }
}

/// An event's body as text.
pub fn body(bytes: &[u8]) -> &str {
    // Bodies are only ever made by `Event`, from text.
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LinkError {
    fn connect(error: tungstenite::Error) -> Self {
        Self::Connect(error.to_string())
    }

    fn broken(error: tungstenite::Error) -> Self {
        Self::Broken(error.to_string())
    }
}
