//! A client that shows a test every message, in the order in which they came.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use nostr::Keys;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::event::{Draft, Event};
use crate::relay::Relay;
use crate::said::{Said, prefix};

/// How long a test waits for what must come. Long, because a machine that tests is a busy one.
pub const PATIENCE: Duration = Duration::from_secs(15);

pub struct Client {
    socket: WebSocketStream<TcpStream>,
    /// What came while something else was waited for.
    backlog: VecDeque<Said>,
    url: String,
    /// What AUTH has to answer (NIP-42).
    pub challenge: String,
    queries: u32,
}

/// An OK as a test judges it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub accepted: bool,
    pub text: String,
}

impl Client {
    /// Connects and takes the challenge with which every conversation begins.
    pub async fn connect(relay: &Relay) -> anyhow::Result<Self> {
        Self::connect_to(relay.port()).await
    }

    pub async fn connect_to(port: u16) -> anyhow::Result<Self> {
        Self::open(port, TcpSocket::new_v4()?).await
    }

    /// Connects to a relay that does not begin with a challenge.
    pub async fn connect_ungreeted(port: u16) -> anyhow::Result<Self> {
        Self::open_ungreeted(port, TcpSocket::new_v4()?).await
    }

    /// Takes the challenge that comes with a refusal where nobody is greeted.
    pub async fn challenged(&mut self) -> anyhow::Result<()> {
        let challenge = |said: &Said| match said {
            Said::Auth(challenge) => Some(challenge.clone()),
            _ => None,
        };
        self.challenge = self.find("a challenge", challenge).await?;
        Ok(())
    }

    /// Connects with little room for what is not read yet, so that not reading is felt on the other side soon.
    pub async fn connect_narrow(relay: &Relay) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(8_192)?;
        Self::open(relay.port(), socket).await
    }

    async fn open(port: u16, socket: TcpSocket) -> anyhow::Result<Self> {
        let mut client = Self::open_ungreeted(port, socket).await?;
        match client.receive().await? {
            Said::Auth(challenge) => client.challenge = challenge,
            other => bail!("a challenge was expected, not {other:?}"),
        }
        Ok(client)
    }

    async fn open_ungreeted(port: u16, socket: TcpSocket) -> anyhow::Result<Self> {
        let url = format!("ws://127.0.0.1:{port}/");
        let opened = async {
            let stream = socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await?;
            stream.set_nodelay(true)?;
            let (socket, _) = tokio_tungstenite::client_async(&url, stream).await?;
            anyhow::Ok(socket)
        };
        let socket = timeout(PATIENCE, opened).await.context("connecting took too long")?.context("connecting")?;
        Ok(Self { socket, backlog: VecDeque::new(), url, challenge: String::new(), queries: 0 })
    }

    /// The relay's address as AUTH names it.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub async fn send(&mut self, message: Value) -> anyhow::Result<()> {
        self.send_text(message.to_string()).await
    }

    /// Sends any text, whether a message or not.
    pub async fn send_text(&mut self, text: impl Into<String>) -> anyhow::Result<()> {
        self.send_frame(Message::text(text.into())).await
    }

    pub async fn send_frame(&mut self, message: Message) -> anyhow::Result<()> {
        let sent = timeout(PATIENCE, self.socket.send(message)).await;
        sent.context("the relay does not read")?.context("sending")
    }

    /// The bare connection, for bytes that are no frames.
    pub fn bare(&mut self) -> &mut TcpStream {
        self.socket.get_mut()
    }

    /// The next message, as it comes from the socket. An error when the connection ends.
    async fn receive(&mut self) -> anyhow::Result<Said> {
        loop {
            let received = timeout(PATIENCE, self.socket.next()).await.context("the relay says nothing")?;
            match received.context("the relay closed the connection")?.context("the connection broke")? {
                Message::Text(text) => return Said::parse(&text),
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Close(frame) => bail!("the relay closed the connection: {frame:?}"),
                other => bail!("a relay sends text only, not {other:?}"),
            }
        }
    }

    /// The next message, waited for or left over.
    pub async fn next(&mut self) -> anyhow::Result<Said> {
        match self.backlog.pop_front() {
            Some(said) => Ok(said),
            None => self.receive().await,
        }
    }

    /// Waits for a message that `pick` takes; all others are kept for later.
    pub async fn find<T>(&mut self, what: &str, mut pick: impl FnMut(&Said) -> Option<T>) -> anyhow::Result<T> {
        for at in 0..self.backlog.len() {
            if let Some(picked) = self.backlog.get(at).and_then(&mut pick) {
                self.backlog.remove(at);
                return Ok(picked);
            }
        }
        let came = async {
            loop {
                let said = self.receive().await?;
                match pick(&said) {
                    Some(picked) => return anyhow::Ok(picked),
                    None => self.backlog.push_back(said),
                }
            }
        };
        let found = timeout(PATIENCE, came).await.unwrap_or_else(|late| Err(late.into()));
        found.with_context(|| format!("waiting for {what}; came instead: {:?}", self.recent()))
    }

    fn recent(&self) -> Vec<&Said> {
        self.backlog.iter().rev().take(8).collect()
    }

    /// Sends an event without waiting for its OK.
    pub async fn offer(&mut self, event: &Event) -> anyhow::Result<()> {
        self.send(json!(["EVENT", event.to_json()])).await
    }

    pub async fn verdict(&mut self, id: &str) -> anyhow::Result<Verdict> {
        self.find(&format!("OK of {id}"), |said| match said {
            Said::Ok { id: named, accepted, text } if named == id => {
                Some(Verdict { accepted: *accepted, text: text.clone() })
            }
            _ => None,
        })
        .await
    }

    pub async fn publish(&mut self, event: &Event) -> anyhow::Result<Verdict> {
        self.offer(event).await?;
        self.verdict(&event.id).await
    }

    /// Publishes an event that must be accepted.
    pub async fn store(&mut self, event: &Event) -> anyhow::Result<()> {
        let verdict = self.publish(event).await?;
        ensure!(verdict.accepted, "{} was refused: {}", event.to_json(), verdict.text);
        Ok(())
    }

    /// Publishes an event that must be refused with a text of this machine prefix; the whole text.
    pub async fn refused(&mut self, event: &Event, word: &str) -> anyhow::Result<String> {
        let verdict = self.publish(event).await?;
        ensure!(!verdict.accepted, "{} was accepted: {}", event.to_json(), verdict.text);
        ensure!(prefix(&verdict.text) == Some(word), "{word} was expected, not {:?}", verdict.text);
        Ok(verdict.text)
    }

    /// Opens a subscription; its stored events in the order they came, up to EOSE.
    pub async fn subscribe<const N: usize>(&mut self, id: &str, filters: [Value; N]) -> anyhow::Result<Vec<Event>> {
        self.request(id, &filters).await?;
        self.stored(id).await
    }

    /// Sends a REQ without waiting for anything.
    pub async fn request(&mut self, id: &str, filters: &[Value]) -> anyhow::Result<()> {
        let mut message = vec![json!("REQ"), json!(id)];
        message.extend(filters.iter().cloned());
        self.send(Value::Array(message)).await
    }

    /// The stored events of a subscription that was requested.
    pub async fn stored(&mut self, id: &str) -> anyhow::Result<Vec<Event>> {
        let (mut events, what) = (Vec::new(), format!("EOSE of {id}"));
        loop {
            let step = self.find(&what, |said| match said {
                Said::Event { subscription, event } if subscription == id => Some(Some(event.clone())),
                said if said.is_eose(id) => Some(None),
                _ => None,
            });
            match step.await? {
                Some(event) => events.push(event),
                None => return Ok(events),
            }
        }
    }

    /// NIP-67's hints with which the stored events of a subscription that was requested end.
    pub async fn hints(&mut self, id: &str) -> anyhow::Result<Vec<String>> {
        self.find(&format!("EOSE of {id}"), |said| match said {
            Said::Eose { subscription, hints } if subscription == id => Some(hints.clone()),
            _ => None,
        })
        .await
    }

    /// Events of a subscription that came while something else was waited for.
    pub fn drain(&mut self, id: &str) -> Vec<Event> {
        let (mut events, mut rest) = (Vec::new(), VecDeque::new());
        for said in self.backlog.drain(..) {
            match said {
                Said::Event { subscription, event } if subscription == id => events.push(event),
                other => rest.push_back(other),
            }
        }
        self.backlog = rest;
        events
    }

    /// What the relay answers to a COUNT (NIP-45).
    pub async fn tally<const N: usize>(&mut self, filters: [Value; N]) -> anyhow::Result<Value> {
        self.queries += 1;
        let id = format!("count-{}", self.queries);
        self.ask_count(&id, &filters).await?;
        self.find(&format!("COUNT of {id}"), |said| match said {
            Said::Count { query, tally } if *query == id => Some(Ok(tally.clone())),
            Said::Closed { subscription, text } if *subscription == id => Some(Err(anyhow!("{text}"))),
            _ => None,
        })
        .await?
    }

    /// How many events the relay counts.
    pub async fn count<const N: usize>(&mut self, filters: [Value; N]) -> anyhow::Result<u64> {
        let tally = self.tally(filters).await?;
        tally["count"].as_u64().with_context(|| format!("no count: {tally}"))
    }

    /// Sends a COUNT without waiting for anything.
    pub async fn ask_count(&mut self, id: &str, filters: &[Value]) -> anyhow::Result<()> {
        let mut message = vec![json!("COUNT"), json!(id)];
        message.extend(filters.iter().cloned());
        self.send(Value::Array(message)).await
    }

    /// The next event of an open subscription.
    pub async fn live(&mut self, id: &str) -> anyhow::Result<Event> {
        self.find(&format!("an event on {id}"), |said| match said {
            Said::Event { subscription, event } if subscription == id => Some(event.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for an event of a subscription that fulfils a condition; drops those before it.
    pub async fn live_until(&mut self, id: &str, mut is_it: impl FnMut(&Event) -> bool) -> anyhow::Result<Event> {
        loop {
            let event = self.live(id).await?;
            if is_it(&event) {
                return Ok(event);
            }
        }
    }

    /// The text with which the relay ends a subscription.
    pub async fn closed(&mut self, id: &str) -> anyhow::Result<String> {
        self.find(&format!("CLOSED of {id}"), |said| match said {
            Said::Closed { subscription, text } if subscription == id => Some(text.clone()),
            _ => None,
        })
        .await
    }

    pub async fn notice(&mut self) -> anyhow::Result<String> {
        self.find("a NOTICE", |said| match said {
            Said::Notice(text) => Some(text.clone()),
            _ => None,
        })
        .await
    }

    pub async fn close(&mut self, id: &str) -> anyhow::Result<()> {
        self.send(json!(["CLOSE", id])).await
    }

    /// Stored events that match, in the order they came.
    pub async fn query<const N: usize>(&mut self, filters: [Value; N]) -> anyhow::Result<Vec<Event>> {
        self.queries += 1;
        let id = format!("query-{}", self.queries);
        let events = self.subscribe(&id, filters).await?;
        self.close(&id).await?;
        Ok(events)
    }

    /// Ids of stored events that match, in the order they came.
    pub async fn query_ids<const N: usize>(&mut self, filters: [Value; N]) -> anyhow::Result<Vec<String>> {
        Ok(self.query(filters).await?.into_iter().map(|event| event.id).collect())
    }

    /// The event with which these keys answer this connection's challenge.
    pub fn auth_event(&self, keys: &Keys) -> Event {
        Draft::new(22242).tag(["relay", &self.url]).tag(["challenge", &self.challenge]).sign(keys)
    }

    pub async fn send_auth(&mut self, event: &Event) -> anyhow::Result<Verdict> {
        self.send(json!(["AUTH", event.to_json()])).await?;
        self.verdict(&event.id).await
    }

    /// Proves to hold these keys.
    pub async fn authenticate(&mut self, keys: &Keys) -> anyhow::Result<()> {
        let verdict = self.send_auth(&self.auth_event(keys)).await?;
        ensure!(verdict.accepted, "AUTH was refused: {}", verdict.text);
        Ok(())
    }

    /// Whether the relay ends the connection before it says anything more than `PATIENCE` apart.
    pub async fn is_closed(&mut self) -> anyhow::Result<bool> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await {
                Err(_) => return Ok(false),
                Ok(None | Some(Err(_)) | Some(Ok(Message::Close(_)))) => return Ok(true),
                Ok(Some(Ok(_))) => {}
            }
        }
    }
}
