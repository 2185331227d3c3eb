//! NIP-17 and NIP-59: gift wraps, shown to their recipient only.

use anyhow::ensure;
use mercato_tests::client::Client;
use mercato_tests::event::{Event, now_s};
use mercato_tests::relay::Shared;
use mercato_tests::said::prefix;
use mercato_tests::{Draft, Keys};
use serde_json::json;

static RELAY: Shared = Shared::new();

/// A wrap by a key made for it, up to two days back as NIP-59 has it.
fn wrap(kind: u16, recipient: &Keys) -> Event {
    let back = if kind == 1059 { 100_000 } else { 0 };
    let draft = Draft::new(kind).at(now_s() - back).tag(["p", &recipient.public_key().to_hex()]);
    draft.content("sealed").sign(&Keys::generate())
}

#[tokio::test]
async fn a_wrap_is_served_to_its_recipient_and_to_nobody_else() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let (recipient, stranger) = (Keys::generate(), Keys::generate());
    let wrap = wrap(1059, &recipient);
    Client::connect(&relay).await?.store(&wrap).await?;
    let own = json!({"kinds": [1059], "#p": [recipient.public_key().to_hex()]});
    let mut client = Client::connect(&relay).await?;
    assert!(client.query([json!({"ids": [wrap.id]})]).await?.is_empty());
    client.request("s", std::slice::from_ref(&own)).await?;
    ensure!(prefix(&client.closed("s").await?) == Some("auth-required"), "not told to authenticate");
    client.authenticate(&stranger).await?;
    assert!(client.query([own.clone()]).await?.is_empty());
    assert_eq!(client.count([own.clone()]).await?, 0);
    // One connection may hold several keys.
    client.authenticate(&recipient).await?;
    assert_eq!(client.query([own.clone()]).await?, [wrap]);
    assert_eq!(client.count([own]).await?, 1);
    Ok(())
}

#[tokio::test]
async fn limits_count_only_what_the_client_may_see() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let (recipient, other) = (Keys::generate(), Keys::generate());
    let mut client = Client::connect(&relay).await?;
    let mine = wrap(1059, &recipient);
    client.store(&mine).await?;
    for _ in 0..30 {
        client.store(&wrap(1059, &other)).await?;
    }
    client.authenticate(&recipient).await?;
    let both = json!([recipient.public_key().to_hex(), other.public_key().to_hex()]);
    let filter = json!({"kinds": [1059], "#p": both, "limit": 1});
    assert_eq!(client.query([filter.clone()]).await?, [mine]);
    // Nothing tells that there are others.
    client.request("s", &[filter]).await?;
    assert_eq!(client.hints("s").await?, ["finish"]);
    Ok(())
}

#[tokio::test]
async fn live_wraps_reach_their_recipient_only_ephemeral_ones_too() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let (recipient, stranger) = (Keys::generate(), Keys::generate());
    let (mut his, mut hers) = (Client::connect(&relay).await?, Client::connect(&relay).await?);
    his.authenticate(&recipient).await?;
    hers.authenticate(&stranger).await?;
    let filter = json!({"kinds": [1, 1059, 21059], "#p": [recipient.public_key().to_hex()]});
    his.subscribe("s", [filter.clone()]).await?;
    hers.subscribe("s", [filter]).await?;
    let (kept, passing) = (wrap(1059, &recipient), wrap(21059, &recipient));
    let note = Draft::note("to all").tag(["p", &recipient.public_key().to_hex()]).sign(&stranger);
    for event in [&kept, &passing, &note] {
        hers.store(event).await?;
    }
    for event in [&kept, &passing, &note] {
        assert_eq!(his.live("s").await?, *event);
    }
    assert_eq!(hers.live("s").await?, note);
    Ok(())
}

#[tokio::test]
async fn a_list_of_inboxes_is_replaceable_and_public() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let list = |age: u64, url: &str| Draft::new(10_050).at(now_s() - age).tag(["relay", url]).sign(&keys);
    let (old, new) = (list(10, "wss://a.example"), list(5, "wss://b.example"));
    client.store(&old).await?;
    client.store(&new).await?;
    assert_eq!(client.query([json!({"kinds": [10_050], "authors": [new.pubkey]})]).await?, [new]);
    Ok(())
}
