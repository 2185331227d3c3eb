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

#[tokio::test]
async fn a_repost_does_not_bring_a_protected_event_along() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let (author, fan) = (Keys::generate(), Keys::generate());
    let protected = Draft::note("for members").tag(["t", "x"]).tag(["-"]).sign(&author);
    let open = Draft::note("a dash: \"-\"").tag(["t", "-"]).sign(&author);
    client.authenticate(&author).await?;
    for kind in [6, 16] {
        let repost = |content: String| Draft::new(kind).tag(["e", &protected.id]).content(content).sign(&fan);
        client.refused(&repost(protected.to_json().to_string()), "blocked").await?;
        let spelled = protected.to_json().to_string().replace("\"-\"", "\"\\u002d\"");
        client.refused(&repost(spelled), "blocked").await?;
        // Whoever reposts may name it, and embed what is not protected.
        client.store(&repost(String::new())).await?;
        client.store(&repost(open.to_json().to_string())).await?;
    }
    Ok(())
}
