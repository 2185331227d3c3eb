//! A person or machine with a key and a connection.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use secp256k1::Keypair;
use tokio::time::timeout;

use crate::cli::bench::client::{Client, RelayUrl, Verdict};
use crate::cli::bench::message::{Incoming, read};
use crate::clock;
use crate::nostr::Event;

/// How long anything may take before the market counts as broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// Somebody on the stage.
pub struct Actor {
    pub name: &'static str,
    pub pubkey: String,
    key: Keypair,
    client: Client,
    /// Events that came while others were waited for.
    unread: VecDeque<Event>,
}

impl Actor {
    /// Connects somebody with a new key.
    ///
    /// # Errors
    /// When the relay is not there.
    pub async fn enter(name: &'static str, url: &RelayUrl) -> anyhow::Result<Self> {
        let key = new_key()?;
        let pubkey = key.x_only_public_key().0.to_string();
        let client = Client::connect(url).await?;
        Ok(Self { name, pubkey, key, client, unread: VecDeque::new() })
    }

    /// Proves to the relay who this is (NIP-42).
    ///
    /// # Errors
    /// When the relay refuses.
    pub async fn authenticate(&mut self) -> anyhow::Result<()> {
        self.client.authenticate(&self.key).await
    }

    /// Subscribes to what concerns this actor.
    ///
    /// # Errors
    /// When the relay refuses.
    pub async fn listen(&mut self, kinds: &str) -> anyhow::Result<()> {
        let filter = format!("{{\"kinds\":[{kinds}],\"#p\":[\"{}\"]}}", self.pubkey);
        self.client.subscribe("mine", &filter).await.map(drop)
    }

    /// Signs an event.
    pub fn sign(&self, kind: u16, tags: &[&[&str]], content: &str) -> Event {
        let tags: Vec<Vec<String>> =
            tags.iter().map(|tag| tag.iter().map(|element| (*element).to_owned()).collect()).collect();
        Event::sign(&self.key, clock::now_s(), kind, &tags, content)
    }

    /// Publishes an event; what the relay says to it.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn publish(&mut self, event: &Event) -> anyhow::Result<Verdict> {
        self.client.publish(event).await
    }

    /// Publishes an event that the relay must take.
    ///
    /// # Errors
    /// When it does not.
    pub async fn must_publish(&mut self, event: &Event) -> anyhow::Result<()> {
        let verdict = self.publish(event).await?;
        ensure!(verdict.accepted, "the relay refused an event of {}: {}", self.name, verdict.text);
        Ok(())
    }

    /// Waits for an event that fits. Signatures are checked: a relay is not to be believed.
    ///
    /// # Errors
    /// When none comes in time; `what` says what was waited for.
    pub async fn hear(&mut self, what: &str, fits: impl Fn(&Event) -> bool) -> anyhow::Result<Event> {
        if let Some(at) = self.unread.iter().position(&fits) {
            return self.unread.remove(at).context("an event was there and is not");
        }
        let heard = async {
            loop {
                let event = self.next_event().await?;
                if fits(&event) {
                    return Ok(event);
                }
                self.unread.push_back(event);
            }
        };
        match timeout(PATIENCE, heard).await {
            Ok(heard) => heard,
            Err(_) => bail!("{} waited {} s in vain for {what}", self.name, PATIENCE.as_secs()),
        }
    }

    /// Ends the connection without a word, as when the process is killed.
    pub fn die(self) {
        self.client.cut();
    }

    async fn next_event(&mut self) -> anyhow::Result<Event> {
        loop {
            if let Incoming::Event { body, .. } = read(&self.client.next().await?) {
                let event = Event::parse(body).context("the relay sent a bad event")?;
                event.verify_signature().context("the relay sent a bad event")?;
                return Ok(event);
            }
        }
    }
}

/// The first value of an event's first tag with this name.
pub fn tag(event: &Event, name: &str) -> Option<String> {
    elements(event, name).into_iter().nth(1)
}

/// All elements of an event's first tag with this name, its name first.
pub fn elements(event: &Event, name: &str) -> Vec<String> {
    let tags = event.tags();
    tags.into_iter().find(|tag| tag.first().is_some_and(|first| first == name)).unwrap_or_default()
}

fn new_key() -> anyhow::Result<Keypair> {
    loop {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).context("no randomness for a key")?;
        // Nearly all 32 bytes are a key; try again with the few that are not.
        if let Ok(secret) = secp256k1::SecretKey::from_secret_bytes(secret) {
            return Ok(Keypair::from_secret_key(&secret));
        }
    }
}
