//! Events with plain fields, so that a test can hold and break any of them.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use nostr::Keys;
use nostr::hashes::{Hash, sha256};
use nostr::secp256k1::Message;
use serde_json::{Value, json};

/// An event as it stands on the wire. Nothing of it need be valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    pub pubkey: String,
    pub created_at: u64,
    pub kind: u16,
    pub tags: Vec<Vec<String>>,
    pub content: String,
    pub sig: String,
}

/// An event before it is signed.
#[derive(Debug, Clone)]
pub struct Draft {
    created_at: u64,
    kind: u16,
    tags: Vec<Vec<String>>,
    content: String,
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Draft {
    pub fn new(kind: u16) -> Self {
        Self { created_at: now_s(), kind, tags: Vec::new(), content: String::new() }
    }

    /// A kind 1 with this text.
    pub fn note(content: impl Into<String>) -> Self {
        Self::new(1).content(content)
    }

    /// In seconds.
    pub fn at(mut self, created_at: u64) -> Self {
        self.created_at = created_at;
        self
    }

    pub fn content(mut self, content: impl Into<String>) -> Self {
        self.content = content.into();
        self
    }

    /// Adds one tag: its name and values.
    pub fn tag<const N: usize>(mut self, tag: [&str; N]) -> Self {
        self.tags.push(tag.iter().map(|part| (*part).to_owned()).collect());
        self
    }

    pub fn tags(mut self, tags: impl IntoIterator<Item = Vec<String>>) -> Self {
        self.tags.extend(tags);
        self
    }

    pub fn sign(self, keys: &Keys) -> Event {
        let pubkey = keys.public_key().to_hex();
        let id = hash(&pubkey, self.created_at, self.kind, &self.tags, &self.content);
        let signature = keys.sign_schnorr(&Message::from_digest(id));
        Event {
            id: sha256::Hash::from_byte_array(id).to_string(),
            pubkey,
            created_at: self.created_at,
            kind: self.kind,
            tags: self.tags,
            content: self.content,
            sig: signature.to_string(),
        }
    }
}

/// NIP-01's id; `serde_json` escapes exactly as NIP-01 asks.
fn hash(pubkey: &str, created_at: u64, kind: u16, tags: &[Vec<String>], content: &str) -> [u8; 32] {
    let canonical = json!([0, pubkey, created_at, kind, tags, content]).to_string();
    sha256::Hash::hash(canonical.as_bytes()).to_byte_array()
}

impl Event {
    pub fn from_json(value: &Value) -> anyhow::Result<Self> {
        let text = |name: &str| {
            let member = value.get(name).and_then(Value::as_str);
            member.map(str::to_owned).with_context(|| format!("an event without a proper {name}: {value}"))
        };
        let number = |name: &str| {
            let member = value.get(name).and_then(Value::as_u64);
            member.with_context(|| format!("an event without a proper {name}: {value}"))
        };
        let tags = value.get("tags").and_then(Value::as_array).context("an event without tags")?;
        Ok(Self {
            id: text("id")?,
            pubkey: text("pubkey")?,
            created_at: number("created_at")?,
            kind: number("kind")?.try_into().context("an event with a kind that is none")?,
            tags: tags.iter().map(tag_from_json).collect::<anyhow::Result<_>>()?,
            content: text("content")?,
            sig: text("sig")?,
        })
    }

    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id, "pubkey": self.pubkey, "created_at": self.created_at, "kind": self.kind,
            "tags": self.tags, "content": self.content, "sig": self.sig,
        })
    }

    /// Checks that the id is the hash of the rest.
    pub fn check_id(&self) -> anyhow::Result<()> {
        let id = hash(&self.pubkey, self.created_at, self.kind, &self.tags, &self.content);
        ensure!(sha256::Hash::from_byte_array(id).to_string() == self.id, "the id of {self:?} is not its hash");
        Ok(())
    }

    /// The elements after the name of every tag of this name, in order.
    pub fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [String]> {
        self.tags
            .iter()
            .filter_map(move |tag| tag.split_first().filter(|(first, _)| *first == name))
            .map(|(_, rest)| rest)
    }

    /// The first value of the first tag of this name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.named(name).next()?.first().map(String::as_str)
    }

    /// Whether there is a tag of this name with this first value.
    pub fn has(&self, name: &str, value: &str) -> bool {
        self.named(name).any(|rest| rest.first().is_some_and(|first| first == value))
    }
}

fn tag_from_json(tag: &Value) -> anyhow::Result<Vec<String>> {
    let parts = tag.as_array().context("a tag that is not an array")?;
    parts.iter().map(|part| part.as_str().map(str::to_owned).context("a tag with a part that is not text")).collect()
}
