//! A client's side of set reconciliation (NIP-77), by the other implementation: the `negentropy` crate.

use std::collections::BTreeSet;

use negentropy::{Id, Negentropy, NegentropyStorageVector};
use serde_json::{Value, json};

use crate::client::Client;
use crate::event::Event;
use crate::said::Said;

/// What the relay says next on a NEG subscription.
pub async fn neg(client: &mut Client, id: &str) -> anyhow::Result<Result<String, String>> {
    client
        .find(&format!("NEG-MSG or NEG-ERR of {id}"), |said| match said {
            Said::NegMsg { subscription, message } if subscription == id => Some(Ok(message.clone())),
            Said::NegErr { subscription, text } if subscription == id => Some(Err(text.clone())),
            _ => None,
        })
        .await
}

/// A set that holds these events.
pub fn storage<'a>(events: impl IntoIterator<Item = &'a Event>) -> NegentropyStorageVector {
    let mut storage = NegentropyStorageVector::new();
    for event in events {
        let id = nostr::EventId::from_hex(&event.id).expect("an id").to_bytes();
        storage.insert(event.created_at, Id::from_byte_array(id)).expect("not sealed");
    }
    storage.seal().expect("not sealed");
    storage
}

/// What a client with these events has and needs, by the other implementation.
pub async fn reconcile(
    client: &mut Client,
    id: &str,
    filter: &Value,
    ours: &NegentropyStorageVector,
    frame_bytes: u64,
) -> anyhow::Result<(BTreeSet<String>, BTreeSet<String>)> {
    let mut side = Negentropy::borrowed(ours, frame_bytes)?;
    let (mut have, mut need) = (Vec::new(), Vec::new());
    client.send(json!(["NEG-OPEN", id, filter, hex(&side.initiate()?)])).await?;
    loop {
        let answer = neg(client, id).await?.map_err(anyhow::Error::msg)?;
        assert!(answer.len() <= 120_000, "a frame of {} digits", answer.len());
        match side.reconcile_with_ids(&unhex(&answer), &mut have, &mut need)? {
            Some(next) => client.send(json!(["NEG-MSG", id, hex(&next)])).await?,
            None => break,
        }
    }
    client.send(json!(["NEG-CLOSE", id])).await?;
    let ids = |ids: Vec<Id>| ids.into_iter().map(|id| hex(id.as_bytes())).collect();
    Ok((ids(have), ids(need)))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).filter_map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()).collect()
}

/// What the relay has for this filter, as reconciliation with nothing tells it.
pub async fn all(client: &mut Client, filter: &Value) -> anyhow::Result<BTreeSet<String>> {
    let (have, need) = reconcile(client, "all", filter, &storage([]), 60_000).await?;
    assert!(have.is_empty());
    Ok(need)
}
