//! NIP-40: events that expire.

use std::slice::from_ref;
use std::time::Duration;

use anyhow::ensure;
use mercato_tests::client::Client;
use mercato_tests::event::{Draft, now_s};
use mercato_tests::relay::Shared;
use mercato_tests::{Keys, Relay};
use serde_json::json;

static RELAY: Shared = Shared::new();

#[tokio::test]
async fn an_event_that_has_expired_is_refused() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let event = Draft::note("over").tag(["expiration", &(now_s() - 1).to_string()]).sign(&Keys::generate());
    assert_eq!(client.refused(&event, "invalid").await?, "invalid: event expired");
    Ok(())
}

#[tokio::test]
async fn an_event_is_served_until_it_expires_and_not_after() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let event = Draft::note("brief").tag(["expiration", &(now_s() + 3).to_string()]).tag(["t", "brief"]).sign(&keys);
    let forever = Draft::note("lasting").at(now_s() - 5).sign(&keys);
    client.store(&event).await?;
    client.store(&forever).await?;
    let filters =
        [json!({"ids": [event.id]}), json!({"authors": [event.pubkey], "limit": 1}), json!({"#t": ["brief"]})];
    for filter in &filters {
        assert_eq!(client.query_ids([filter.clone()]).await?, from_ref(&event.id), "{filter}");
    }
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    assert!(client.query([filters[0].clone()]).await?.is_empty());
    assert!(client.query([filters[2].clone()]).await?.is_empty());
    // It does not use up the limit either.
    assert_eq!(client.query_ids([filters[1].clone()]).await?, [forever.id]);
    client.refused(&event, "invalid").await?;
    Ok(())
}

#[tokio::test]
async fn an_expiration_that_is_no_number_is_none() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let event = Draft::note("odd").tag(["expiration", "soon"]).sign(&Keys::generate());
    client.store(&event).await?;
    ensure!(!client.query([json!({"ids": [event.id]})]).await?.is_empty(), "not served");
    Ok(())
}

#[tokio::test]
async fn an_event_that_expires_while_the_relay_is_down_is_not_served_after() -> anyhow::Result<()> {
    let mut relay = Relay::settings().start()?;
    let mut client = Client::connect(&relay).await?;
    let event = Draft::note("brief").tag(["expiration", &(now_s() + 2).to_string()]).sign(&Keys::generate());
    client.store(&event).await?;
    relay.kill()?;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    relay.restart()?;
    let mut client = Client::connect(&relay).await?;
    assert!(client.query([json!({"ids": [event.id]})]).await?.is_empty());
    Ok(())
}
