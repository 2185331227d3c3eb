//! A connection to another relay: text out, what it says in.

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::nostr::{Event, EventError, EventId};

/// Longest message that is taken: strfry sends negentropy frames of 500000 bytes, which are a million digits.
const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// How long a relay may take to hear that we are done.
const LEAVING: Duration = Duration::from_secs(2);
/// How long connecting may take when nothing else is said.
const CONNECTING: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Wire {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// How long the relay may say nothing; `None`: for ever.
    patience: Option<Duration>,
    pub bytes_up: u64,
    pub bytes_down: u64,
}

/// What a relay says, as far as a sync listens.
#[derive(Debug)]
pub enum Said {
    Event {
        subscription: String,
        event: Result<Box<Event>, EventError>,
    },
    Eose(String),
    Closed {
        subscription: String,
        text: String,
    },
    Ok {
        id: EventId,
        accepted: bool,
        text: String,
    },
    Notice(String),
    NegMsg {
        subscription: String,
        message: String,
    },
    NegErr {
        subscription: String,
        text: String,
    },
    /// AUTH, and whatever comes to relays' minds.
    Other,
}

impl Wire {
    pub async fn connect(url: &str, patience: Option<Duration>) -> anyhow::Result<Self> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let connected = timeout(patience.unwrap_or(CONNECTING), connect_async_with_config(url, Some(config), true));
        let (socket, _) = connected
            .await
            .with_context(|| format!("{url} does not answer"))?
            .with_context(|| format!("connecting to {url}"))?;
        Ok(Self { socket, patience, bytes_up: 0, bytes_down: 0 })
    }

    pub async fn send(&mut self, text: String) -> anyhow::Result<()> {
        self.feed(text).await?;
        self.socket.flush().await.context("the connection broke")
    }

    /// Like `send`, but may leave the text in a buffer until the next `send` or `next`.
    pub async fn feed(&mut self, text: String) -> anyhow::Result<()> {
        self.bytes_up += text.len() as u64;
        self.socket.feed(Message::text(text)).await.context("the connection broke")
    }

    pub async fn next(&mut self) -> anyhow::Result<Said> {
        self.socket.flush().await.context("the connection broke")?;
        loop {
            let received = match self.patience {
                Some(patience) => {
                    timeout(patience, self.socket.next()).await.context("the relay says nothing any more")?
                }
                None => self.socket.next().await,
            };
            match received.context("the relay closed the connection")?.context("the connection broke")? {
                Message::Text(text) => {
                    self.bytes_down += text.len() as u64;
                    return Ok(read(&text).unwrap_or(Said::Other));
                }
                Message::Close(_) => bail!("the relay closed the connection"),
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Takes leave of the relay, as far as it waits for that.
    pub async fn close(&mut self) {
        // Everything is said and done: how the connection ends changes nothing.
        let _ = timeout(LEAVING, self.socket.close(None)).await;
    }

    /// Passes on what the relay tells people.
    pub fn mention(&self, said: &Said) {
        match said {
            Said::Notice(text) => eprintln!("the relay says: {text}"),
            Said::Closed { subscription, text } => eprintln!("the relay closed {subscription}: {text}"),
            Said::Event { .. }
            | Said::Eose(_)
            | Said::Ok { .. }
            | Said::NegMsg { .. }
            | Said::NegErr { .. }
            | Said::Other => {}
        }
    }
}

/// `None` for what is no message of a relay.
fn read(text: &str) -> Option<Said> {
    if let Some(event) = read_event(text) {
        return Some(event);
    }
    let parts: Vec<Value> = serde_json::from_str(text).ok()?;
    let word = |at: usize| parts.get(at).and_then(Value::as_str).map(str::to_owned);
    Some(match parts.first()?.as_str()? {
        "EOSE" => Said::Eose(word(1)?),
        "CLOSED" => Said::Closed { subscription: word(1)?, text: word(2).unwrap_or_default() },
        "OK" => {
            let id = EventId::from_hex(&word(1)?)?;
            Said::Ok { id, accepted: parts.get(2)?.as_bool()?, text: word(3).unwrap_or_default() }
        }
        "NOTICE" => Said::Notice(word(1)?),
        "NEG-MSG" => Said::NegMsg { subscription: word(1)?, message: word(2)? },
        "NEG-ERR" => Said::NegErr { subscription: word(1)?, text: word(2).unwrap_or_default() },
        _ => Said::Other,
    })
}

/// An EVENT with its event as it was written: the id is a hash of that.
fn read_event(text: &str) -> Option<Said> {
    if !text.trim_start().trim_start_matches('[').trim_start().starts_with("\"EVENT\"") {
        return None;
    }
    let (_, subscription, event): (&str, String, &serde_json::value::RawValue) = serde_json::from_str(text).ok()?;
    Some(Said::Event { subscription, event: Event::parse(event.get()).map(Box::new) })
}
