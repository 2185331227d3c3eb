//! NIP-04: encrypted direct messages, shown to their sender and recipient only.

use anyhow::ensure;
use mercato_tests::client::Client;
use mercato_tests::event::Event;
use mercato_tests::relay::Shared;
use mercato_tests::said::prefix;
use mercato_tests::{Draft, Keys};
use serde_json::json;

static RELAY: Shared = Shared::new();

fn message(sender: &Keys, recipient: &Keys) -> Event {
    Draft::new(4).tag(["p", &recipient.public_key().to_hex()]).content("sealed?iv=x").sign(sender)
}

#[tokio::test]
async fn a_message_is_served_to_its_sender_and_recipient_and_to_nobody_else() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let (sender, recipient, stranger) = (Keys::generate(), Keys::generate(), Keys::generate());
    let message = message(&sender, &recipient);
    Client::connect(&relay).await?.store(&message).await?;
    // Every way to ask, and every index that may answer.
    let filters = [
        json!({"ids": [message.id]}),
        json!({"kinds": [4], "authors": [message.pubkey]}),
        json!({"kinds": [1, 4], "#p": [recipient.public_key().to_hex()]}),
        json!({"authors": [message.pubkey]}),
        json!({"#p": [recipient.public_key().to_hex()]}),
        json!({"since": message.created_at, "until": message.created_at, "limit": 5000}),
    ];
    for (keys, involved) in [(&sender, true), (&recipient, true), (&stranger, false)] {
        let mut client = Client::connect(&relay).await?;
        client.authenticate(keys).await?;
        for filter in &filters {
            let served = client.query_ids([filter.clone()]).await?.contains(&message.id);
            assert_eq!(served, involved, "{filter}");
        }
        for filter in &filters[..5] {
            assert_eq!(client.count([filter.clone()]).await?, u64::from(involved), "{filter}");
        }
    }
    let mut nobody = Client::connect(&relay).await?;
    for filter in [&filters[0], &filters[2], &filters[3], &filters[4], &filters[5]] {
        assert!(!nobody.query_ids([filter.clone()]).await?.contains(&message.id), "{filter}");
    }
    for filter in [&filters[0], &filters[2], &filters[3], &filters[4]] {
        assert_eq!(nobody.count([filter.clone()]).await?, 0, "{filter}");
    }
    Ok(())
}

#[tokio::test]
async fn who_asks_for_messages_only_is_told_to_authenticate() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    for filters in [vec![json!({"kinds": [4]})], vec![json!({"kinds": [4, 1059]}), json!({"kinds": [1059]})]] {
        client.request("s", &filters).await?;
        ensure!(prefix(&client.closed("s").await?) == Some("auth-required"), "{filters:?}");
        client.ask_count("c", &filters).await?;
        ensure!(prefix(&client.closed("c").await?) == Some("auth-required"), "COUNT {filters:?}");
    }
    // What can be answered in part is.
    assert!(client.query([json!({"kinds": [4]}), json!({"kinds": [40_000]})]).await?.is_empty());
    client.authenticate(&Keys::generate()).await?;
    let filter = json!({"kinds": [4], "#p": ["0".repeat(64)]});
    assert!(client.query([filter.clone()]).await?.is_empty(), "somebody else's messages are not there");
    assert_eq!(client.count([filter]).await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_live_message_reaches_its_parties_only_even_if_they_authenticate_late() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let (sender, recipient) = (Keys::generate(), Keys::generate());
    let (mut late, mut nobody) = (Client::connect(&relay).await?, Client::connect(&relay).await?);
    let filter = json!({"kinds": [1, 4], "authors": [sender.public_key().to_hex()]});
    for client in [&mut late, &mut nobody] {
        client.subscribe("s", [filter.clone()]).await?;
    }
    let mut publisher = Client::connect(&relay).await?;
    let (unseen, seen) = (message(&sender, &Keys::generate()), message(&sender, &recipient));
    publisher.store(&unseen).await?;
    late.authenticate(&recipient).await?;
    publisher.store(&seen).await?;
    let note = Draft::note("for everybody").sign(&sender);
    publisher.store(&note).await?;
    assert_eq!(late.live("s").await?, seen);
    assert_eq!(late.live("s").await?, note);
    assert_eq!(nobody.live("s").await?, note, "what is not for it must not come");
    Ok(())
}
