//! Who signs the zap receipts of a lightning address: what its server says (NIP-57), remembered for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use serde::Deserialize;

use super::address::Address;
use super::fetch::{FetchError, Fetcher};
use crate::nostr::Pubkey;

/// Addresses remembered; who is asked for least is forgotten first.
const REMEMBERED: usize = 4_096;
/// How long an answer counts.
const FRESH: Duration = Duration::from_secs(3_600);
/// How long a server that gave none is left alone.
const RESTED: Duration = Duration::from_secs(60);

/// What is known of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Its receipts are signed by this key.
    Signer(Pubkey),
    /// Its server writes none: whatever says it is one is not.
    Nobody,
    /// The server gave no answer, or none yet.
    Nothing,
}

/// What servers said.
#[derive(Debug)]
pub struct Signers {
    fetcher: Fetcher,
    answers: Cache<Address, Arc<(Known, Instant)>>,
}

/// The document of LUD-06 as NIP-57 extends it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    allows_nostr: bool,
    #[serde(default)]
    nostr_pubkey: Option<String>,
}

impl Signers {
    pub fn new(fetcher: Fetcher) -> Self {
        Self { fetcher, answers: Cache::new(REMEMBERED) }
    }

    /// What is known without asking.
    pub fn known(&self, address: &Address) -> Known {
        let answer = self.answers.get(address).filter(|answer| answer.1 > Instant::now());
        answer.map_or(Known::Nothing, |answer| answer.0)
    }

    /// Asks the server, unless it was asked lately. Who asks about the same address meanwhile waits for the same answer.
    pub async fn look_up(&self, address: &Address) -> Known {
        self.answers.remove_if(address, |answer| answer.1 <= Instant::now());
        let answer = self.answers.get_or_insert_async(address, async {
            Ok::<_, std::convert::Infallible>(Arc::new(self.ask(address).await))
        });
        match answer.await {
            Ok(answer) => answer.0,
            Err(never) => match never {},
        }
    }

    async fn ask(&self, address: &Address) -> (Known, Instant) {
        let answer = match address.uri() {
            Some(uri) => self.fetcher.get(uri).await,
            None => Err(FetchError::Address(address.to_string())),
        };
        match answer.map(|document| signer(&document)) {
            Ok(Some(known)) => (known, Instant::now() + FRESH),
            Ok(None) => {
                tracing::info!(%address, "a lightning address has no document that can be read");
                (Known::Nothing, Instant::now() + RESTED)
            }
            Err(error) => {
                tracing::info!(%address, %error, "a lightning address could not be looked up");
                (Known::Nothing, Instant::now() + RESTED)
            }
        }
    }
}

/// What a document says; `None` when it cannot be read.
fn signer(document: &[u8]) -> Option<Known> {
    let document: Document = serde_json::from_slice(document).ok()?;
    match document.nostr_pubkey.as_deref() {
        Some(key) if document.allows_nostr => Pubkey::from_hex(&key.to_ascii_lowercase()).map(Known::Signer),
        Some(_) | None => Some(Known::Nobody),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_names_the_key_that_signs() {
        let key = "11".repeat(32);
        let document = |allows: &str, key: &str| format!(r#"{{"tag":"payRequest"{allows}{key}}}"#).into_bytes();
        let named = format!(r#","nostrPubkey":"{key}""#);
        assert_eq!(signer(&document(r#","allowsNostr":true"#, &named)), Some(Known::Signer(Pubkey([0x11; 32]))));
        assert_eq!(signer(&document("", &named)), Some(Known::Nobody));
        assert_eq!(signer(&document(r#","allowsNostr":true"#, "")), Some(Known::Nobody));
        assert_eq!(signer(&document(r#","allowsNostr":true"#, r#","nostrPubkey":"12""#)), None);
        assert_eq!(signer(b"<html>"), None);
    }
}
