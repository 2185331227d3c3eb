//! A connection that carries questions by the thousand: of each answer only what a comparison needs is read.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use nostr::Keys;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::event::{Draft, Event};

/// How long nothing at all may come: a batch keeps a busy machine busy.
const SILENCE: Duration = Duration::from_secs(60);

pub struct Wire {
    sink: SplitSink<WebSocketStream<TcpStream>, Message>,
    stream: SplitStream<WebSocketStream<TcpStream>>,
    url: String,
    /// Tells the answers of one `ask` from what comes late of those before.
    batch: usize,
}

/// What a relay answered to one question of each kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Ids of stored events, in the order they came; the text of a CLOSED instead.
    pub stored: Result<Vec<String>, String>,
    pub count: Result<u64, String>,
}

impl Default for Answer {
    fn default() -> Self {
        Self { stored: Ok(Vec::new()), count: Ok(0) }
    }
}

/// A message, read as far as is needed.
enum Heard<'a> {
    Event { subscription: &'a str, id: &'a str },
    Eose(&'a str),
    Count { query: &'a str, count: u64 },
    Closed { subscription: &'a str, text: &'a str },
    Ok { id: &'a str, accepted: bool, text: &'a str },
    Auth(&'a str),
    Other,
}

impl Wire {
    /// `url` is as ws://host:port.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let host = url.trim_start_matches("ws://").trim_end_matches('/');
        let stream = TcpStream::connect(host).await.with_context(|| format!("connecting to {url}"))?;
        stream.set_nodelay(true)?;
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await?;
        let (sink, stream) = socket.split();
        Ok(Self { sink, stream, url: url.to_owned(), batch: 0 })
    }

    /// Proves to hold these keys, once the relay has asked.
    pub async fn authenticate(&mut self, keys: &Keys) -> anyhow::Result<()> {
        loop {
            let text = receive(&mut self.stream).await?;
            if let Heard::Auth(challenge) = hear(&text)? {
                let event = Draft::new(22_242).tag(["relay", &self.url]).tag(["challenge", challenge]).sign(keys);
                self.sink.send(Message::text(json!(["AUTH", event.to_json()]).to_string())).await?;
                let (accepted, text) = self.verdicts(&[event]).await?.remove(0);
                ensure!(accepted, "AUTH was refused: {text}");
                return Ok(());
            }
        }
    }

    /// Publishes events in order; whether each was accepted, and the text.
    pub async fn publish(&mut self, events: &[Event]) -> anyhow::Result<Vec<(bool, String)>> {
        for event in events {
            self.sink.feed(Message::text(json!(["EVENT", event.to_json()]).to_string())).await?;
        }
        self.sink.flush().await?;
        self.verdicts(events).await
    }

    async fn verdicts(&mut self, events: &[Event]) -> anyhow::Result<Vec<(bool, String)>> {
        let mut verdicts = HashMap::new();
        // An event that is published twice is answered twice, and the same.
        for _ in 0..events.len() {
            loop {
                let text = receive(&mut self.stream).await?;
                if let Heard::Ok { id, accepted, text } = hear(&text)? {
                    verdicts.entry(id.to_owned()).or_insert_with(Vec::new).push((accepted, text.to_owned()));
                    break;
                }
            }
        }
        let mut verdict = |event: &Event| {
            let given = verdicts.get_mut(&event.id).filter(|given| !given.is_empty());
            given.map(|given| given.remove(0)).with_context(|| format!("no OK of {}", event.id))
        };
        events.iter().map(&mut verdict).collect()
    }

    /// Asks every question as REQ and as COUNT, all at once, and leaves the subscriptions open.
    pub async fn ask(&mut self, questions: &[Vec<Value>]) -> anyhow::Result<Vec<Answer>> {
        self.batch += 1;
        let batch = self.batch;
        let asking = async {
            for (number, filters) in questions.iter().enumerate() {
                for (verb, name) in [("REQ", format!("s{number}b{batch}")), ("COUNT", format!("c{number}b{batch}"))] {
                    let mut message = vec![json!(verb), json!(name)];
                    message.extend(filters.iter().cloned());
                    self.sink.feed(Message::text(Value::Array(message).to_string())).await?;
                }
            }
            anyhow::Ok(self.sink.flush().await?)
        };
        let hearing = async {
            let mut answers = vec![Answer::default(); questions.len()];
            let mut open = 2 * questions.len();
            while open > 0 {
                let text = receive(&mut self.stream).await?;
                open -= usize::from(note(&mut answers, &hear(&text)?, batch));
            }
            anyhow::Ok(answers)
        };
        let (asked, heard) = tokio::join!(asking, hearing);
        asked?;
        heard
    }

    /// Number of the question and id of every event that comes until `last` has come on the subscription `fence`.
    pub async fn live(&mut self, last: &str) -> anyhow::Result<Vec<(usize, String)>> {
        let mut came = Vec::new();
        loop {
            let text = receive(&mut self.stream).await?;
            if let Heard::Event { subscription, id } = hear(&text)? {
                if subscription == "fence" && id == last {
                    return Ok(came);
                }
                if let Some((_, number)) = question(subscription, self.batch) {
                    came.push((number, id.to_owned()));
                }
            }
        }
    }

    /// Opens the subscription that `live` waits on.
    pub async fn fence(&mut self, filter: &Value) -> anyhow::Result<()> {
        self.sink.send(Message::text(json!(["REQ", "fence", filter]).to_string())).await?;
        loop {
            let text = receive(&mut self.stream).await?;
            if matches!(hear(&text)?, Heard::Eose("fence")) {
                return Ok(());
            }
        }
    }

    /// Ends the subscriptions of `ask`.
    pub async fn close(&mut self, questions: usize) -> anyhow::Result<()> {
        for number in 0..questions {
            let name = format!("s{number}b{}", self.batch);
            self.sink.feed(Message::text(json!(["CLOSE", name]).to_string())).await?;
        }
        Ok(self.sink.flush().await?)
    }
}

/// Verb (`s` for REQ, `c` for COUNT) and number of the question of this batch that is called so.
fn question(name: &str, batch: usize) -> Option<(char, usize)> {
    let (number, of) = name.get(1..)?.split_once('b')?;
    (of.parse() == Ok(batch)).then_some((name.chars().next()?, number.parse().ok()?))
}

/// Adds what was heard to the answer it belongs to. True when it ends that answer.
fn note(answers: &mut [Answer], heard: &Heard<'_>, batch: usize) -> bool {
    let (Heard::Event { subscription: name, .. }
    | Heard::Eose(name)
    | Heard::Count { query: name, .. }
    | Heard::Closed { subscription: name, .. }) = heard
    else {
        return false;
    };
    let Some((verb, number)) = question(name, batch) else { return false };
    let Some(answer) = answers.get_mut(number) else { return false };
    match heard {
        Heard::Event { id, .. } => {
            if let Ok(stored) = &mut answer.stored {
                stored.push((*id).to_owned());
            }
            return false;
        }
        Heard::Count { count, .. } => answer.count = Ok(*count),
        Heard::Closed { text, .. } if verb == 's' => answer.stored = Err((*text).to_owned()),
        Heard::Closed { text, .. } => answer.count = Err((*text).to_owned()),
        Heard::Eose(_) | Heard::Ok { .. } | Heard::Auth(_) | Heard::Other => {}
    }
    true
}

async fn receive(stream: &mut SplitStream<WebSocketStream<TcpStream>>) -> anyhow::Result<String> {
    loop {
        let received = timeout(SILENCE, stream.next()).await.context("the relay says nothing")?;
        match received.context("the relay closed the connection")?? {
            Message::Text(text) => return Ok(text.to_string()),
            Message::Ping(_) | Message::Pong(_) => {}
            other => bail!("a relay sends text only, not {other:?}"),
        }
    }
}

/// Reads a message by its parts: names hold no quotes here, and of an event only the id counts.
fn hear(text: &str) -> anyhow::Result<Heard<'_>> {
    let mut parts = text.splitn(5, '"');
    let (Some("["), Some(verb), Some(","), Some(name)) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        bail!("the relay said {text}");
    };
    let rest = parts.next().unwrap_or_default();
    Ok(match verb {
        // Within strings its quotes would be escaped.
        "EVENT" => {
            let id = rest.split_once("\"id\":\"").and_then(|(_, from)| from.get(..64));
            Heard::Event { subscription: name, id: id.with_context(|| format!("an event without id: {text}"))? }
        }
        "EOSE" => Heard::Eose(name),
        "COUNT" => {
            let count = rest.split_once("\"count\":").map(|(_, from)| from.trim_end_matches([']', '}', ' ']));
            let digits = count.and_then(|count| count.split(',').next());
            let count = digits.and_then(|digits| digits.parse().ok());
            Heard::Count { query: name, count: count.with_context(|| format!("no count: {text}"))? }
        }
        "CLOSED" => Heard::Closed { subscription: name, text: rest },
        "OK" => {
            let rest = rest.trim_start_matches(',');
            Heard::Ok { id: name, accepted: rest.starts_with("true"), text: rest }
        }
        "AUTH" => Heard::Auth(name),
        _ => Heard::Other,
    })
}
