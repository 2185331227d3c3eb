//! One connection to a relay, as its client: what is said goes out in order, what comes back is handed to whoever asked.
//!
//! Every queue here is bounded. One that is full makes its sender wait, in the end the peer itself: it is read more
//! slowly. Reading and writing go on side by side, so that neither waits for the other.

use std::pin::pin;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::error::LinkError;
use super::key::LinkKey;
use super::message::RelayMessage;
use super::patience::within;
use super::routes::Auth;
pub use super::routes::{Peer, Said, Verdict};

/// Longest message that is taken from a peer, unless its terms say otherwise: strfry's longest, a million digits of
/// negentropy, just fits. Events are bounded more tightly later: one that is too large for us must not cost the link.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
const PING_PERIOD: Duration = Duration::from_secs(30);
/// A connection on which nothing came for so long is given up, unless its terms say otherwise.
const SILENCE: Duration = Duration::from_secs(90);
/// How long the peer may take to accept a message.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);
/// How long the peer may take to hear that we are done.
const LEAVING: Duration = Duration::from_secs(2);
/// Notices of one connection that are logged.
const NOTICES_LOGGED: u32 = 10;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How a connection is opened and kept.
#[derive(Debug, Clone)]
pub struct Terms {
    /// What we authenticate with where the peer asks for it.
    pub key: Option<LinkKey>,
    /// How long the connection may take to open.
    pub opening: Duration,
    /// How long nothing at all may come, not even an answer to a ping; `None`: for ever.
    pub silence: Option<Duration>,
    /// A longer message ends the connection.
    pub max_message_bytes: usize,
}

impl Terms {
    pub fn new(key: Option<LinkKey>, opening: Duration) -> Self {
        Self { key, opening, silence: Some(SILENCE), max_message_bytes: MAX_MESSAGE_BYTES }
    }
}

/// Pumps one connection until it ends.
pub struct Driver {
    socket: Socket,
    outgoing: mpsc::Receiver<Message>,
    peer: Peer,
    url: String,
    terms: Terms,
}

/// Connects to `url`.
pub async fn connect(url: &str, terms: Terms) -> Result<(Peer, Driver), LinkError> {
    // The process has one provider of cryptography; whoever was first chose it.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let config = WebSocketConfig::default()
        .max_message_size(Some(terms.max_message_bytes))
        .max_frame_size(Some(terms.max_message_bytes))
        .max_write_buffer_size(4 * MAX_MESSAGE_BYTES);
    let opened = timeout(terms.opening, connect_async_with_config(url, Some(config), true)).await;
    let (socket, _) = opened.map_err(|_| LinkError::ConnectTimeout(terms.opening))?.map_err(LinkError::connect)?;
    let (peer, outgoing) = Peer::new(terms.key.is_some());
    Ok((peer.clone(), Driver { socket, outgoing, peer, url: url.to_owned(), terms }))
}

impl Driver {
    /// Runs for as long as `work` does, then takes leave of the peer. An end of the connection ends the work.
    pub async fn run_for<T, E: From<LinkError>>(self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let peer = self.peer.clone();
        let mut running = pin!(self.run());
        let done = tokio::select! {
            error = &mut running => return Err(error.into()),
            done = work => done,
        };
        let leave = async { tokio::join!(peer.close(), running) };
        // All is said and done: how the connection ends changes nothing.
        let _ = timeout(LEAVING, leave).await;
        done
    }

    /// Runs until the connection ends, and says why.
    async fn run(self) -> LinkError {
        let Self { socket, outgoing, peer, url, terms } = self;
        let (sink, stream) = socket.split();
        let reader = Reader { peer: &peer, url: &url, terms: &terms, notices: 0 };
        tokio::select! {
            error = reader.run(stream) => error,
            error = write(sink, outgoing) => error,
        }
    }
}

struct Reader<'a> {
    peer: &'a Peer,
    url: &'a str,
    terms: &'a Terms,
    notices: u32,
}

impl Reader<'_> {
    async fn run(mut self, mut stream: SplitStream<Socket>) -> LinkError {
        loop {
            let frame = match within(self.terms.silence, stream.next()).await {
                Err(error) => return error,
                Ok(None) => return LinkError::Closed(String::new()),
                Ok(Some(Err(error))) => return LinkError::broken(error),
                Ok(Some(Ok(frame))) => frame,
            };
            let mut bytes = 0;
            match frame {
                Message::Text(text) => {
                    bytes = text.len();
                    if let Err(error) = self.on_text(&text).await {
                        return error;
                    }
                }
                Message::Close(frame) => {
                    return LinkError::Closed(frame.map(|frame| frame.reason.to_string()).unwrap_or_default());
                }
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
            self.peer.routes.heard(bytes);
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
        let routes = &self.peer.routes;
        match message {
            RelayMessage::Event { subscription, event } => {
                routes.hand(&subscription, Said::Event(event.to_owned())).await;
            }
            RelayMessage::Eose { subscription } => routes.hand(&subscription, Said::Eose).await,
            RelayMessage::Closed { subscription, text } => routes.hand(&subscription, Said::Closed(text)).await,
            RelayMessage::NegMsg { subscription, message } => {
                routes.hand(&subscription, Said::NegMsg(message.to_owned())).await;
            }
            RelayMessage::NegErr { subscription, text } => routes.hand(&subscription, Said::NegErr(text)).await,
            RelayMessage::Ok { id, accepted, text } => routes.settle(id, Verdict { accepted, text }),
            RelayMessage::Notice { text } => {
                self.notices = self.notices.saturating_add(1);
                if self.notices <= NOTICES_LOGGED {
                    tracing::warn!(url = self.url, text, "notice of the peer");
                }
                routes.tell(text);
            }
            RelayMessage::Auth { challenge } => self.authenticate(&challenge).await?,
            RelayMessage::Other => {}
        }
        Ok(())
    }

    /// Answers a challenge, if we hold a key; what the peer says to it comes later.
    async fn authenticate(&self, challenge: &str) -> Result<(), LinkError> {
        let Some(key) = &self.terms.key else { return Ok(()) };
        let event = key.answer(self.url, challenge);
        let verdict = self.peer.expect_ok(event.id);
        self.peer.routes.authentication(Auth::Asked);
        let routes = self.peer.routes.clone();
        tokio::spawn(async move {
            // No verdict: the connection is gone.
            let Ok(verdict) = verdict.await else { return };
            routes.authentication(if verdict.accepted { Auth::Done } else { Auth::Refused(verdict.text) });
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

impl LinkError {
    fn connect(error: tungstenite::Error) -> Self {
        Self::Connect(error.to_string())
    }

    fn broken(error: tungstenite::Error) -> Self {
        Self::Broken(error.to_string())
    }
}
