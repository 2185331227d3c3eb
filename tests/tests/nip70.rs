//! NIP-70: protected events.

use anyhow::ensure;
use mercato_tests::client::Client;
use mercato_tests::relay::Shared;
use mercato_tests::{Draft, Keys};
use serde_json::json;

static RELAY: Shared = Shared::new();

#[tokio::test]
async fn a_protected_event_is_taken_from_its_author_only() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let (author, stranger) = (Keys::generate(), Keys::generate());
    let event = Draft::note("protected").tag(["-"]).sign(&author);

    let mut nobody = Client::connect(&relay).await?;
    nobody.refused(&event, "auth-required").await?;
    let mut other = Client::connect(&relay).await?;
    other.authenticate(&stranger).await?;
    other.refused(&event, "restricted").await?;
    assert!(other.query([json!({"ids": [event.id]})]).await?.is_empty());

    nobody.authenticate(&author).await?;
    nobody.store(&event).await?;
    assert_eq!(other.query([json!({"ids": [event.id]})]).await?, [event]);
    Ok(())
}

#[tokio::test]
async fn a_dash_with_a_value_protects_too_and_other_names_do_not() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    client.refused(&Draft::note("p").tag(["-", "why"]).sign(&keys), "auth-required").await?;
    client.store(&Draft::note("q").tag(["--"]).tag(["t", "-"]).sign(&keys)).await
}

#[tokio::test]
async fn authentication_on_one_connection_does_not_count_on_another() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let (mut one, mut two) = (Client::connect(&relay).await?, Client::connect(&relay).await?);
    let keys = Keys::generate();
    one.authenticate(&keys).await?;
    let event = Draft::note("protected").tag(["-"]).sign(&keys);
    let text = two.refused(&event, "auth-required").await?;
    ensure!(text.len() > "auth-required: ".len(), "a prefix and nothing for people");
    one.store(&event).await
}
