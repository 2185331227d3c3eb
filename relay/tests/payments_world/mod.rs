//! Relays in this process and people who speak with them; invoices of a node that exists in tests only.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use mercato::clock::now_s;
use mercato::config::Config;
use mercato::nostr::{Event, EventId, Pubkey};
use mercato::peer::key::LinkKey;
use mercato::peer::socket::{Peer, Said, Terms, connect};
use mercato::policy::Policies;
use mercato::relay::Relay;
use mercato::store::memory::MemoryStore;
use secp256k1::Keypair;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// An invoice made now, valid for ten minutes, for the preimage of 32 times this byte.
pub fn invoice(now_s: u64, msat: u64, preimage: u8) -> String {
    let node = SecretKey::from_slice(&[7; 32]).unwrap();
    let hash: [u8; 32] = Sha256::digest([preimage; 32]).into();
    let unsigned = InvoiceBuilder::new(Currency::Bitcoin)
        .description("a job".to_owned())
        .payment_hash(bitcoin::hashes::sha256::Hash::from_byte_array(hash))
        .payment_secret(PaymentSecret([0; 32]))
        .duration_since_epoch(Duration::from_secs(now_s))
        .expiry_time(Duration::from_secs(600))
        .min_final_cltv_expiry_delta(144)
        .amount_milli_satoshis(msat);
    unsigned.build_signed(|hash| Secp256k1::new().sign_ecdsa_recoverable(hash, &node)).unwrap().to_string()
}

/// The key pair of somebody.
pub fn someone(number: u8) -> Keypair {
    Keypair::from_secret_bytes([number; 32]).unwrap()
}

pub fn pubkey(number: u8) -> Pubkey {
    Pubkey(someone(number).x_only_public_key().0.to_byte_array())
}

pub fn tags(tags: &[&[&str]]) -> Vec<Vec<String>> {
    tags.iter().map(|tag| tag.iter().map(|value| (*value).to_owned()).collect()).collect()
}

/// A relay in this process.
pub async fn relay(folder: &Path, sets: &[String]) -> anyhow::Result<Relay> {
    let mut all = vec![format!("store.path={}", folder.display()), "relay.port=0".to_owned()];
    all.extend_from_slice(sets);
    Relay::start(Config::load(None, &all)?, Arc::new(MemoryStore::new()), Policies::default()).await
}

/// Somebody with a connection of his own.
pub struct Party {
    pub peer: Peer,
    pub key: Keypair,
}

impl Party {
    pub async fn join(url: &str, number: u8) -> anyhow::Result<Self> {
        let key = someone(number);
        let (peer, driver) = connect(url, Terms::new(Some(LinkKey::of(key)), PATIENCE)).await?;
        tokio::spawn(driver.run_for(std::future::pending::<anyhow::Result<()>>()));
        ensure!(peer.authenticated().await?, "the relay asks for no key");
        Ok(Self { peer, key })
    }

    pub async fn say(&self, kind: u16, tags: &[Vec<String>], content: &str) -> anyhow::Result<EventId> {
        let event = Event::sign(&self.key, now_s(), kind, tags, content);
        let verdict = self.peer.expect_ok(event.id);
        self.peer.send(format!("[\"EVENT\",{}]", String::from_utf8(event.body().to_vec())?)).await?;
        let verdict = timeout(PATIENCE, verdict).await??;
        ensure!(verdict.accepted, "kind {kind}: {}", verdict.text);
        Ok(event.id)
    }

    /// The newest state of a job.
    pub async fn state(&self, job: EventId) -> anyhow::Result<Event> {
        let mut said = self.follow("state", json!({ "kinds": [30383], "#d": [job.to_hex()] })).await?;
        let mut state = None;
        loop {
            match timeout(PATIENCE, said.recv()).await?.context("the relay is there")? {
                Said::Event(text) => state = Some(Event::parse(&text)?),
                _ => return state.context("a job has a state"),
            }
        }
    }

    /// The first state of a job that has this value.
    pub async fn state_with(&self, job: EventId, name: &str, wanted: &str) -> anyhow::Result<Event> {
        let reached = async {
            loop {
                let state = self.state(job).await?;
                if value(&state, name).as_deref() == Some(wanted) {
                    return anyhow::Ok(state);
                }
                sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(PATIENCE, reached).await.with_context(|| format!("{name} is never {wanted}"))?
    }

    pub async fn follow(&self, id: &str, filter: Value) -> anyhow::Result<mpsc::Receiver<Said>> {
        let said = self.peer.listen(id);
        self.peer.send(format!("[\"REQ\",\"{id}\",{filter}]")).await?;
        Ok(said)
    }
}

pub fn url(relay: &Relay) -> String {
    format!("ws://127.0.0.1:{}", relay.address.port())
}

pub fn value(event: &Event, name: &str) -> Option<String> {
    event.tags().into_iter().find(|tag| tag[0] == name).and_then(|tag| tag.into_iter().nth(1))
}
