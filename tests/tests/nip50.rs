//! NIP-50: search.

use anyhow::ensure;
use mercato_tests::client::Client;
use mercato_tests::http::document;
use mercato_tests::relay::Settings;
use mercato_tests::{Draft, Event, Keys, Relay};
use serde_json::{Value, json};

fn searching() -> Settings {
    Relay::settings().set("search.enabled", true)
}

/// Asks until the answer has these ids, in any order: the index follows a moment behind.
async fn finds(client: &mut Client, filter: Value, wanted: &[&Event]) -> anyhow::Result<Vec<String>> {
    let mut sorted: Vec<String> = wanted.iter().map(|event| event.id.clone()).collect();
    sorted.sort_unstable();
    let mut last = Vec::new();
    for _ in 0..100 {
        let found = client.query_ids([filter.clone()]).await?;
        last = found.clone();
        last.sort_unstable();
        if last == sorted {
            return Ok(found);
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    anyhow::bail!("{filter} found {last:?}, not {sorted:?}")
}

#[tokio::test]
async fn words_are_found_in_content_names_and_titles_best_first() -> anyhow::Result<()> {
    let relay = searching().start()?;
    let (keys, mut client) = (Keys::generate(), Client::connect(&relay).await?);
    let passing =
        Draft::note("a long note about many things, of which a walrus is one, and not the main one at all").sign(&keys);
    let devoted = Draft::note("Walrus, walrus, walrus!").sign(&keys);
    let other = Draft::note("nothing of the kind").sign(&keys);
    let profile = Draft::new(0).content(json!({"name": "Ada Lovelace", "about": "computing"}).to_string()).sign(&keys);
    let article = Draft::new(30023).tag(["d", "x"]).tag(["title", "On Zebras"]).content("stripes").sign(&keys);
    for event in [&passing, &devoted, &other, &profile, &article] {
        client.store(event).await?;
    }
    let found = finds(&mut client, json!({"search": "walrus"}), &[&passing, &devoted]).await?;
    assert_eq!(found[0], devoted.id, "the better match does not come first");
    finds(&mut client, json!({"search": "lovelace"}), &[&profile]).await?;
    finds(&mut client, json!({"search": "zebras"}), &[&article]).await?;
    finds(&mut client, json!({"search": "walrus main"}), &[&passing]).await?;
    finds(&mut client, json!({"search": "walrus -main"}), &[&devoted]).await?;
    finds(&mut client, json!({"search": "\"walrus is one\""}), &[&passing]).await?;
    finds(&mut client, json!({"search": "walrus language:en"}), &[&passing, &devoted]).await?;
    finds(&mut client, json!({"search": "unicorn"}), &[]).await?;
    Ok(())
}

#[tokio::test]
async fn the_other_conditions_of_a_filter_hold_too() -> anyhow::Result<()> {
    let relay = searching().start()?;
    let (keys, others, mut client) = (Keys::generate(), Keys::generate(), Client::connect(&relay).await?);
    let old = Draft::note("a walrus").at(1_780_000_000).sign(&keys);
    let tagged = Draft::note("a walrus").tag(["t", "sea"]).sign(&keys);
    let foreign = Draft::note("a walrus").sign(&others);
    for event in [&old, &tagged, &foreign] {
        client.store(event).await?;
    }
    finds(&mut client, json!({"search": "walrus"}), &[&old, &tagged, &foreign]).await?;
    finds(&mut client, json!({"search": "walrus", "authors": [keys.public_key().to_hex()]}), &[&old, &tagged]).await?;
    finds(&mut client, json!({"search": "walrus", "#t": ["sea"]}), &[&tagged]).await?;
    finds(&mut client, json!({"search": "walrus", "until": 1_780_000_001}), &[&old]).await?;
    finds(&mut client, json!({"search": "walrus", "kinds": [7]}), &[]).await?;
    let one = client.query_ids([json!({"search": "walrus", "limit": 1})]).await?;
    ensure!(one.len() == 1, "limit 1 gave {one:?}");
    Ok(())
}

#[tokio::test]
async fn a_search_without_end_is_refused() -> anyhow::Result<()> {
    let relay = searching().start()?;
    let mut client = Client::connect(&relay).await?;
    client.request("s", &[json!({"search": "word ".repeat(103)})]).await?;
    let text = client.closed("s").await?;
    ensure!(text.starts_with("invalid: ") && text.contains("512 bytes"), "{text}");
    finds(&mut client, json!({"search": "word ".repeat(102)}), &[]).await.map(drop)
}

#[tokio::test]
async fn what_is_deleted_replaced_or_private_is_not_found() -> anyhow::Result<()> {
    let relay = searching().set("search.kinds", "[]").start()?;
    let (keys, mut client) = (Keys::generate(), Client::connect(&relay).await?);
    let doomed = Draft::note("a walrus").sign(&keys);
    let earlier = Draft::new(0).at(1_780_000_000).content(r#"{"name":"Walrus"}"#).sign(&keys);
    let letter = Draft::new(4).tag(["p", &keys.public_key().to_hex()]).content("walrus").sign(&keys);
    for event in [&doomed, &earlier, &letter] {
        client.store(event).await?;
    }
    client.authenticate(&keys).await?;
    finds(&mut client, json!({"search": "walrus"}), &[&doomed, &earlier]).await?;
    client.store(&Draft::new(5).tag(["e", &doomed.id]).sign(&keys)).await?;
    client.store(&Draft::new(0).content(r#"{"name":"Seal"}"#).sign(&keys)).await?;
    finds(&mut client, json!({"search": "walrus"}), &[]).await.map(drop)
}

#[tokio::test]
async fn an_index_that_is_new_or_was_killed_is_filled_from_the_store() -> anyhow::Result<()> {
    let mut relay = searching().start()?;
    let (keys, mut client) = (Keys::generate(), Client::connect(&relay).await?);
    let first = Draft::note("a walrus").sign(&keys);
    client.store(&first).await?;
    // Before the index could write anything.
    relay.kill()?;
    relay.restart()?;
    let mut client = Client::connect(&relay).await?;
    finds(&mut client, json!({"search": "walrus"}), &[&first]).await?;
    relay.stop()?;
    std::fs::remove_dir_all(Relay::store_in(relay.folder()).join("search"))?;
    relay.restart()?;
    let mut client = Client::connect(&relay).await?;
    finds(&mut client, json!({"search": "walrus"}), &[&first]).await.map(drop)
}

#[tokio::test]
async fn search_is_refused_and_not_claimed_where_there_is_no_index() -> anyhow::Result<()> {
    let relay = Relay::settings().start()?;
    let claims = |said: Value| said["supported_nips"].as_array().is_some_and(|nips| nips.contains(&json!(50)));
    ensure!(!claims(document(&relay).await?), "NIP-50 is claimed without an index");
    let mut client = Client::connect(&relay).await?;
    client.request("s", &[json!({"search": "x"})]).await?;
    let text = client.closed("s").await?;
    ensure!(text.contains("NIP-50"), "{text}");
    ensure!(claims(document(&searching().start()?).await?), "NIP-50 is not claimed");
    Ok(())
}
