//! An operator's client: NIP-86 calls with NIP-98 authorizations.

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nostr::Keys;
use nostr::hashes::{Hash, sha256};
use serde_json::{Value, json};

use crate::event::{Draft, Event};
use crate::http::{Answer, ask_with};
use crate::relay::Relay;

/// What a call of `body` is authorized by.
pub fn authorization(relay: &Relay, keys: &Keys, body: &str) -> Event {
    let url = format!("http://127.0.0.1:{}/", relay.port());
    let payload = sha256::Hash::hash(body.as_bytes()).to_string();
    Draft::new(27235).tag(["u", &url]).tag(["method", "POST"]).tag(["payload", &payload]).sign(keys)
}

/// Sends a body with this authorization, or with none.
pub async fn post(relay: &Relay, authorization: Option<&Event>, body: &str) -> anyhow::Result<Answer> {
    let mut headers =
        vec!["Content-Type: application/nostr+json+rpc".to_owned(), format!("Content-Length: {}", body.len())];
    if let Some(event) = authorization {
        headers.push(format!("Authorization: Nostr {}", STANDARD.encode(event.to_json().to_string())));
    }
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    ask_with(relay, "POST", "/", &headers, body).await
}

/// Calls a method as `keys`; the result, or the error that it was answered with.
pub async fn call(relay: &Relay, keys: &Keys, method: &str, params: Value) -> anyhow::Result<Result<Value, String>> {
    let body = json!({ "method": method, "params": params }).to_string();
    let answer = post(relay, Some(&authorization(relay, keys, &body)), &body).await?;
    ensure!(answer.status == 200, "{method}: {} {}", answer.status, answer.body);
    let mut said: Value = serde_json::from_str(&answer.body).with_context(|| format!("{method}: {}", answer.body))?;
    Ok(match said["error"].as_str() {
        Some(error) => Err(error.to_owned()),
        None => Ok(said["result"].take()),
    })
}

/// Calls a method that must succeed.
pub async fn must(relay: &Relay, keys: &Keys, method: &str, params: Value) -> anyhow::Result<Value> {
    call(relay, keys, method, params).await?.map_err(|error| anyhow::anyhow!("{method}: {error}"))
}
