//! A small Nostr client: one WebSocket, plain text in and out.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt, SinkExt, Stream, StreamExt};
use secp256k1::Keypair;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::message::{Incoming, read};
use crate::clock;
use crate::nostr::{Event, kind};

/// How long a relay may say nothing when an answer is due.
pub const PATIENCE: Duration = Duration::from_secs(30);

type Socket = WebSocketStream<TcpStream>;

/// Address of a relay, `ws://` only: a bench measures the relay, not its TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayUrl {
    url: String,
    /// Host and port.
    authority: String,
}

impl RelayUrl {
    /// A relay on this machine.
    pub fn local(port: u16) -> Self {
        let authority = format!("127.0.0.1:{port}");
        Self { url: format!("ws://{authority}"), authority }
    }

    /// Host and port, to connect to.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl FromStr for RelayUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("ws://").ok_or("only ws:// addresses are measured")?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or("");
        let bare = host.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err());
        match host {
            "" => Err(format!("{text} names no host")),
            host => {
                let authority = if bare { format!("{host}:80") } else { host.to_owned() };
                Ok(Self { url: text.to_owned(), authority })
            }
        }
    }
}

/// What a relay said to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub accepted: bool,
    /// Machine prefix and words, escaped as in JSON.
    pub text: String,
}

/// One connection.
pub struct Client {
    socket: Socket,
    url: RelayUrl,
    /// What came while an answer was awaited.
    backlog: VecDeque<Utf8Bytes>,
}

impl Client {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// When the relay is not there or does not speak WebSocket.
    pub async fn connect(url: &RelayUrl) -> anyhow::Result<Self> {
        // tungstenite's default of 128 KiB would be most of what a thousand connections cost here.
        let config = WebSocketConfig::default().read_buffer_size(16 * 1024).write_buffer_size(64 * 1024);
        let connected = async {
            let stream = TcpStream::connect(url.authority()).await?;
            stream.set_nodelay(true)?;
            let (socket, _) = client_async_with_config(url.url.as_str(), stream, Some(config)).await?;
            anyhow::Ok(socket)
        };
        let socket = timeout(PATIENCE, connected).await.context("no handshake in time");
        let socket = socket.and_then(|socket| socket).with_context(|| format!("connecting to {url}"))?;
        Ok(Self { socket, url: url.clone(), backlog: VecDeque::new() })
    }

    /// Queues a message; `flush` sends it with the others.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn feed(&mut self, text: Utf8Bytes) -> anyhow::Result<()> {
        Ok(self.socket.feed(Message::Text(text)).await?)
    }

    /// Sends what was queued.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.socket.flush().await?)
    }

    /// Sends one message.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, text: impl Into<Utf8Bytes>) -> anyhow::Result<()> {
        self.feed(text.into()).await?;
        self.flush().await
    }

    /// The next message.
    ///
    /// # Errors
    /// When the connection ends or is silent for `PATIENCE`.
    pub async fn next(&mut self) -> anyhow::Result<Utf8Bytes> {
        match self.backlog.pop_front() {
            Some(text) => Ok(text),
            None => next_text(&mut self.socket).await,
        }
    }

    /// The next message, however long it takes.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn listen(&mut self) -> anyhow::Result<Utf8Bytes> {
        match self.backlog.pop_front() {
            Some(text) => Ok(text),
            None => await_text(&mut self.socket).await,
        }
    }

    /// The next message if it is here already.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn ready(&mut self) -> anyhow::Result<Option<Utf8Bytes>> {
        match self.backlog.pop_front() {
            Some(text) => Ok(Some(text)),
            None => self.next().now_or_never().transpose(),
        }
    }

    /// Publishes an event and waits for its OK; other messages are kept for `next`.
    ///
    /// # Errors
    /// When the connection ends before the answer.
    pub async fn publish(&mut self, event: &Event) -> anyhow::Result<Verdict> {
        self.send(event_frame(event)).await?;
        self.answer_to(event).await
    }

    /// Proves to hold `key` (NIP-42), with the challenge that the relay sends on connect.
    ///
    /// # Errors
    /// When no challenge comes or the relay refuses.
    pub async fn authenticate(&mut self, key: &Keypair) -> anyhow::Result<()> {
        let is_auth = |text: &Utf8Bytes| matches!(read(text), Incoming::Auth { .. });
        let text = self.next_where(is_auth).await.context("waiting for an AUTH challenge")?;
        let Incoming::Auth { challenge } = read(&text) else { bail!("not a challenge: {text}") };
        let tags = [("relay", self.url.to_string()), ("challenge", challenge.to_owned())];
        let tags = tags.map(|(name, value)| vec![name.to_owned(), value]);
        let event = Event::sign(key, clock::now_s(), kind::AUTH, &tags, "");
        self.send(format!("[\"AUTH\",{}]", body(&event))).await?;
        let verdict = self.answer_to(&event).await?;
        match verdict.accepted {
            true => Ok(()),
            false => bail!("the relay refused AUTH: {}", verdict.text),
        }
    }

    /// Opens a subscription and waits until what is stored has come; how many events that were.
    /// Only for connections that have no other subscription.
    ///
    /// # Errors
    /// When the relay closes the subscription or the connection.
    pub async fn subscribe(&mut self, id: &str, filters: &str) -> anyhow::Result<u64> {
        self.send(req_frame(id, filters)).await?;
        let mut stored = 0;
        loop {
            let text = self.next().await?;
            match read(&text) {
                Incoming::Event { .. } => stored += 1,
                Incoming::Eose => return Ok(stored),
                Incoming::Closed { text } => bail!("the relay closed the subscription: {text}"),
                Incoming::Ok { .. }
                | Incoming::Auth { .. }
                | Incoming::Notice { .. }
                | Incoming::Count { .. }
                | Incoming::Other => {}
            }
        }
    }

    /// Reads until a message fits; the others are kept.
    ///
    /// # Errors
    /// When the connection ends first.
    async fn next_where(&mut self, fits: impl Fn(&Utf8Bytes) -> bool) -> anyhow::Result<Utf8Bytes> {
        if let Some(at) = self.backlog.iter().position(&fits) {
            return self.backlog.remove(at).context("a message was there and is not");
        }
        loop {
            let text = next_text(&mut self.socket).await?;
            if fits(&text) {
                return Ok(text);
            }
            self.backlog.push_back(text);
        }
    }

    async fn answer_to(&mut self, event: &Event) -> anyhow::Result<Verdict> {
        let id = event.id.to_hex();
        let is_answer = |text: &Utf8Bytes| matches!(read(text), Incoming::Ok { id: answered, .. } if answered == id);
        let text = self.next_where(is_answer).await.context("waiting for an OK")?;
        match read(&text) {
            Incoming::Ok { accepted, text, .. } => Ok(Verdict { accepted, text: text.to_owned() }),
            _ => bail!("not an OK: {text}"),
        }
    }

    /// Ends the connection without a word and at once, as when a process is killed with data unread.
    pub fn cut(self) {
        // Without it the other side sees an orderly end of the stream; either way it is over.
        let _ = self.socket.get_ref().set_zero_linger();
    }

    /// Both directions apart, for tasks of their own.
    pub fn split(self) -> (Sender, Receiver) {
        let (sink, stream) = self.socket.split();
        (Sender(sink), Receiver(stream))
    }
}

/// The writing half of a client.
pub struct Sender(SplitSink<Socket, Message>);

impl Sender {
    /// Queues a message; `flush` sends it with the others.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn feed(&mut self, text: Utf8Bytes) -> anyhow::Result<()> {
        Ok(self.0.feed(Message::Text(text)).await?)
    }

    /// Sends what was queued.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.0.flush().await?)
    }
}

/// The reading half of a client.
pub struct Receiver(SplitStream<Socket>);

impl Receiver {
    /// The next message.
    ///
    /// # Errors
    /// When the connection ends or is silent for `PATIENCE`.
    pub async fn next(&mut self) -> anyhow::Result<Utf8Bytes> {
        next_text(&mut self.0).await
    }
}

async fn next_text<S>(stream: &mut S) -> anyhow::Result<Utf8Bytes>
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    timeout(PATIENCE, await_text(stream)).await.context("the relay fell silent")?
}

async fn await_text<S>(stream: &mut S) -> anyhow::Result<Utf8Bytes>
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    loop {
        match stream.next().await.context("the relay ended the connection")?? {
            Message::Text(text) => return Ok(text),
            Message::Close(frame) => match frame {
                Some(frame) => bail!("the relay closed the connection: {} {}", frame.code, frame.reason),
                None => bail!("the relay closed the connection"),
            },
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// `["EVENT",event]`.
pub fn event_frame(event: &Event) -> Utf8Bytes {
    format!("[\"EVENT\",{}]", body(event)).into()
}

/// `["REQ",id,filters]`; `filters` are JSON objects with commas between.
pub fn req_frame(id: &str, filters: &str) -> Utf8Bytes {
    format!("[\"REQ\",\"{id}\",{filters}]").into()
}

/// `["COUNT",id,filters]` (NIP-45).
pub fn count_frame(id: &str, filters: &str) -> Utf8Bytes {
    format!("[\"COUNT\",\"{id}\",{filters}]").into()
}

/// An event's JSON as text, which it was made from.
fn body(event: &Event) -> &str {
    std::str::from_utf8(event.body()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gives_host_and_port() {
        let authority = |text: &str| text.parse::<RelayUrl>().map(|url| url.authority);
        assert_eq!(authority("ws://127.0.0.1:7777"), Ok("127.0.0.1:7777".to_owned()));
        assert_eq!(authority("ws://relay.example/path"), Ok("relay.example:80".to_owned()));
        assert_eq!(authority("ws://[::1]:9/"), Ok("[::1]:9".to_owned()));
        for bad in ["wss://relay.example", "127.0.0.1:7777", "ws://"] {
            assert!(authority(bad).is_err(), "{bad} must be refused");
        }
    }
}
