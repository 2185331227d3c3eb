//! A provider that takes every lease and delivers at once.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::bail;
use secp256k1::Keypair;

use super::client::{Client, RelayUrl, event_frame};
use super::jobs::JOB_KIND;
use super::message::{Incoming, read, tag_value, tag_values};
use crate::clock;
use crate::nostr::{Event, kind};

/// One provider on its connection.
pub struct Provider {
    key: Keypair,
    name: String,
    client: Client,
}

/// What all providers together have to tell.
#[derive(Debug, Default)]
pub struct Worked {
    refused: AtomicU64,
    first_refusal: OnceLock<String>,
}

impl Worked {
    /// Events of providers that the relay refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The words of the first refusal.
    pub fn first_refusal(&self) -> Option<&str> {
        self.first_refusal.get().map(String::as_str)
    }
}

impl Provider {
    /// Connects, proves who it is, advertises, and waits for leases.
    ///
    /// # Errors
    /// When the relay refuses any of that.
    pub async fn open(url: &RelayUrl, key: Keypair, slots: u32) -> anyhow::Result<Self> {
        let name = key.x_only_public_key().0.to_string();
        let mut client = Client::connect(url).await?;
        client.authenticate(&key).await?;
        let (kind, slots) = (JOB_KIND.to_string(), slots.to_string());
        let tags = tags(&[&["d", "bench"], &["k", &kind], &["price", &kind, "1000"], &["slots", &slots]]);
        let advert = Event::sign(&key, clock::now_s(), kind::PROVIDER_ADVERT, &tags, "");
        let verdict = client.publish(&advert).await?;
        // One that stands from an earlier run within the second says the same.
        if !verdict.accepted && !verdict.text.starts_with("replaced") {
            bail!("the relay refused an advert: {}", verdict.text);
        }
        client.subscribe("leases", &format!("{{\"kinds\":[7000],\"#p\":[\"{name}\"],\"limit\":0}}")).await?;
        Ok(Self { key, name, client })
    }

    /// Accepts and delivers whatever it is given, until the connection ends.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn work(mut self, worked: Arc<Worked>) -> anyhow::Result<()> {
        loop {
            let text = self.client.listen().await?;
            self.handle(&text, &worked).await?;
            // Answers to all leases that are here go out together.
            while let Some(text) = self.client.ready()? {
                self.handle(&text, &worked).await?;
            }
            self.client.flush().await?;
        }
    }

    async fn handle(&mut self, text: &str, worked: &Worked) -> anyhow::Result<()> {
        match read(text) {
            Incoming::Event { body, .. } if tag_value(body, "status") == Some("assigned") => {
                for event in self.answers(body).into_iter().flatten() {
                    self.client.feed(event_frame(&event)).await?;
                }
            }
            Incoming::Ok { accepted: false, text, .. } => {
                worked.refused.fetch_add(1, Ordering::Relaxed);
                worked.first_refusal.get_or_init(|| text.to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    /// "I am at it" and the result, for a lease of ours.
    fn answers(&self, lease: &str) -> Option<[Event; 2]> {
        let mut parties = tag_values(lease, "p");
        if parties.next()? != self.name {
            return None;
        }
        let (job, customer, number) = (tag_value(lease, "e")?, parties.next()?, tag_value(lease, "lease")?);
        let mut tags = tags(&[&["e", job], &["p", customer], &["lease", number], &["status", "processing"]]);
        let accepted = Event::sign(&self.key, clock::now_s(), kind::JOB_FEEDBACK, &tags, "");
        tags.pop();
        let result = Event::sign(&self.key, clock::now_s(), JOB_KIND + 1_000, &tags, "done");
        Some([accepted, result])
    }
}

/// Tags from what they hold.
fn tags(tags: &[&[&str]]) -> Vec<Vec<String>> {
    tags.iter().map(|tag| tag.iter().map(|element| (*element).to_owned()).collect()).collect()
}
