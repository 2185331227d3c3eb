//! NIP-42: clients prove which keys they hold.

use anyhow::ensure;
use mercato_tests::client::Client;
use mercato_tests::event::{Draft, Event, now_s};
use mercato_tests::http::document;
use mercato_tests::relay::Shared;
use mercato_tests::said::prefix;
use mercato_tests::{Keys, Relay};
use serde_json::json;

static RELAY: Shared = Shared::new();

/// An AUTH that must be refused as invalid.
async fn refused(client: &mut Client, event: &Event) -> anyhow::Result<()> {
    let verdict = client.send_auth(event).await?;
    ensure!(!verdict.accepted && prefix(&verdict.text) == Some("invalid"), "{verdict:?}");
    Ok(())
}

#[tokio::test]
async fn every_connection_begins_with_a_challenge_of_its_own() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let (one, two) = (Client::connect(&relay).await?, Client::connect(&relay).await?);
    ensure!(one.challenge.len() >= 16, "a challenge that can be guessed: {}", one.challenge);
    ensure!(one.challenge != two.challenge, "one challenge for two connections");
    Ok(())
}

#[tokio::test]
async fn a_right_answer_is_accepted_and_so_is_a_second_key() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let (one, two) = (Keys::generate(), Keys::generate());
    client.authenticate(&one).await?;
    client.authenticate(&two).await?;
    // Once more is harmless.
    client.authenticate(&one).await?;
    for keys in [&one, &two] {
        client.store(&Draft::note("protected").tag(["-"]).sign(keys)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_challenge_of_another_connection_is_refused() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let (mut one, two) = (Client::connect(&relay).await?, Client::connect(&relay).await?);
    let keys = Keys::generate();
    refused(&mut one, &two.auth_event(&keys)).await?;
    let without = Draft::new(22242).tag(["relay", one.url()]).sign(&keys);
    refused(&mut one, &without).await
}

#[tokio::test]
async fn an_answer_for_another_relay_is_refused() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let challenge = client.challenge.clone();
    for url in ["wss://relay.example.com/", "ws://127.0.0.1.example.com/", "", "nonsense"] {
        let event = Draft::new(22242).tag(["relay", url]).tag(["challenge", &challenge]).sign(&keys);
        refused(&mut client, &event).await?;
    }
    refused(&mut client, &Draft::new(22242).tag(["challenge", &challenge]).sign(&keys)).await
}

#[tokio::test]
async fn an_answer_of_another_kind_or_time_is_refused() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let (url, challenge) = (client.url().to_owned(), client.challenge.clone());
    let answer = |kind: u16| Draft::new(kind).tag(["relay", &url]).tag(["challenge", &challenge]);
    refused(&mut client, &answer(1).sign(&keys)).await?;
    refused(&mut client, &answer(22242).at(now_s() - 3_600).sign(&keys)).await?;
    refused(&mut client, &answer(22242).at(now_s() + 3_600).sign(&keys)).await?;
    let verdict = client.send_auth(&answer(22242).at(now_s() - 300).sign(&keys)).await?;
    ensure!(verdict.accepted, "five minutes are within the ten that NIP-42 names: {verdict:?}");
    Ok(())
}

#[tokio::test]
async fn a_forged_answer_is_refused() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let (own, victim) = (Keys::generate(), Keys::generate());
    let signed = client.auth_event(&own);
    refused(&mut client, &Event { pubkey: victim.public_key().to_hex(), ..signed.clone() }).await?;
    let genuine = client.auth_event(&victim);
    refused(&mut client, &Event { sig: signed.sig, ..genuine.clone() }).await?;
    let verdict = client.publish(&Draft::note("protected").tag(["-"]).sign(&victim)).await?;
    ensure!(!verdict.accepted, "a forged AUTH counted");
    Ok(())
}

#[tokio::test]
async fn an_authentication_event_is_not_stored() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    client.authenticate(&keys).await?;
    let answer = client.auth_event(&keys);
    client.refused(&answer, "invalid").await?;
    assert!(client.query([json!({"kinds": [22242], "authors": [answer.pubkey]})]).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_configured_address_is_the_only_one_that_counts() -> anyhow::Result<()> {
    let relay = Relay::settings().set("relay.url", "wss://relay.example.com").start()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let answer = client.auth_event(&keys);
    refused(&mut client, &answer).await?;
    let challenge = client.challenge.clone();
    let event = Draft::new(22242).tag(["relay", "wss://Relay.example.com/"]).tag(["challenge", &challenge]).sign(&keys);
    let verdict = client.send_auth(&event).await?;
    ensure!(verdict.accepted, "{verdict:?}");
    Ok(())
}

#[tokio::test]
async fn a_relay_that_answers_known_clients_only_says_so_and_answers_once_they_are() -> anyhow::Result<()> {
    let relay = Relay::settings().set("access.auth_to_read", true).start()?;
    let mut client = Client::connect(&relay).await?;
    let note = Draft::note("for members").sign(&Keys::generate());
    client.store(&note).await?;
    client.request("s", &[json!({"ids": [note.id]})]).await?;
    ensure!(prefix(&client.closed("s").await?) == Some("auth-required"), "REQ was not refused");
    client.ask_count("c", &[json!({"ids": [note.id]})]).await?;
    ensure!(prefix(&client.closed("c").await?) == Some("auth-required"), "COUNT was not refused");
    client.authenticate(&Keys::generate()).await?;
    assert_eq!(client.query([json!({"ids": [note.id]})]).await?, std::slice::from_ref(&note));
    assert_eq!(client.count([json!({"ids": [note.id]})]).await?, 1);
    let limitation = document(&relay).await?["limitation"].clone();
    assert_eq!((&limitation["auth_required"], &limitation["restricted_writes"]), (&json!(false), &json!(false)));
    Ok(())
}

#[tokio::test]
async fn a_relay_that_takes_events_from_known_clients_only_says_so_and_takes_them_once_they_are() -> anyhow::Result<()>
{
    let relay = Relay::settings().set("access.auth_to_read", true).set("access.auth_to_write", true).start()?;
    let mut client = Client::connect(&relay).await?;
    let note = Draft::note("of anybody").sign(&Keys::generate());
    client.refused(&note, "auth-required").await?;
    client.authenticate(&Keys::generate()).await?;
    client.store(&note).await?;
    assert_eq!(client.query([json!({"ids": [note.id]})]).await?, [note]);
    let limitation = document(&relay).await?["limitation"].clone();
    assert_eq!((&limitation["auth_required"], &limitation["restricted_writes"]), (&json!(true), &json!(true)));
    Ok(())
}

#[tokio::test]
async fn one_challenge_serves_the_whole_connection() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let challenge = client.challenge.clone();
    let (one, two) = (Keys::generate(), Keys::generate());
    client.authenticate(&one).await?;
    client.refused(&Draft::note("protected").tag(["-"]).sign(&two), "restricted").await?;
    client.authenticate(&two).await?;
    assert_eq!(client.challenge, challenge);
    client.store(&Draft::note("protected").tag(["-"]).sign(&two)).await
}

#[tokio::test]
async fn a_relay_that_does_not_greet_gives_the_challenge_to_whom_it_tells_to_authenticate() -> anyhow::Result<()> {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;

    let relay = Relay::settings().set("access.greet", false).start()?;
    let (mut socket, _) = tokio_tungstenite::connect_async(relay.url()).await?;
    for text in [r#"["REQ","a",{"kinds":[1]}]"#, r#"["REQ","b",{"kinds":[4]}]"#, r#"["COUNT","c",{"kinds":[4]}]"#] {
        socket.send(Message::text(text)).await?;
    }
    let mut heard = Vec::new();
    while heard.len() < 4 {
        if let Some(Message::Text(text)) = socket.next().await.transpose()? {
            let answer: serde_json::Value = serde_json::from_str(&text)?;
            heard.push((answer[0].as_str().unwrap_or_default().to_owned(), answer[1].clone()));
        }
    }
    let names: Vec<&str> = heard.iter().map(|(name, _)| name.as_str()).collect();
    ensure!(names == ["EOSE", "AUTH", "CLOSED", "CLOSED"], "one challenge, before the first refusal: {heard:?}");
    Ok(())
}
