//! NIP-02 and NIP-65: lists of follows and of relays, of which the newest counts.

use mercato_tests::client::Client;
use mercato_tests::event::now_s;
use mercato_tests::relay::Shared;
use mercato_tests::{Draft, Keys};
use serde_json::json;

static RELAY: Shared = Shared::new();

#[tokio::test]
async fn the_newest_list_is_served_whole_and_in_order_and_older_ones_are_not() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let author = keys.public_key().to_hex();
    let follows: Vec<Vec<String>> = (0..500)
        .map(|n| ["p", &format!("{n:064x}"), "wss://relay.example", "petname"].map(str::to_owned).to_vec())
        .collect();
    for kind in [3, 10_002] {
        let old = Draft::new(kind).at(now_s() - 9).tags(follows[..400].to_vec()).sign(&keys);
        let new = Draft::new(kind).at(now_s() - 5).tags(follows.clone()).content("").sign(&keys);
        client.store(&old).await?;
        client.store(&new).await?;
        assert_eq!(client.refused(&old, "replaced").await?, "replaced: have newer event");
        assert_eq!(client.query([json!({"kinds": [kind], "authors": [author]})]).await?, std::slice::from_ref(&new));
        assert!(client.query([json!({"ids": [old.id]})]).await?.is_empty());
        // Followers are found by any of their follows, as clients count them.
        let last = format!("{:064x}", 499);
        assert_eq!(client.query_ids([json!({"kinds": [kind], "#p": [last], "authors": [author]})]).await?, [new.id]);
    }
    assert_eq!(client.count([json!({"kinds": [3], "#p": [format!("{:064x}", 499)]})]).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_new_list_reaches_who_follows_the_author_live() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    client.subscribe("s", [json!({"kinds": [10_002], "authors": [keys.public_key().to_hex()]})]).await?;
    for (age, url) in [(3, "wss://a.example"), (2, "wss://b.example")] {
        let list = Draft::new(10_002).at(now_s() - age).tag(["r", url, "write"]).sign(&keys);
        client.store(&list).await?;
        assert_eq!(client.live("s").await?, list);
    }
    assert_eq!(client.query([json!({"#r": ["wss://a.example"], "authors": [keys.public_key().to_hex()]})]).await?, []);
    Ok(())
}
