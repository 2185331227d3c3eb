//! NIP-62: requests to vanish.

use std::time::{Duration, Instant};

use anyhow::ensure;
use mercato_tests::client::{Client, PATIENCE};
use mercato_tests::data::to_jsonl;
use mercato_tests::event::{Event, now_s};
use mercato_tests::relay::{Settings, Shared, run_verb};
use mercato_tests::{Draft, Keys, Relay};
use serde_json::json;

static RELAY: Shared = Shared::new();

const URL: &str = "wss://relay.example.com/";

fn settings() -> Settings {
    Relay::settings().set("relay.url", URL)
}

fn request(keys: &Keys, relay: &str, at: u64) -> Event {
    Draft::new(62).at(at).tag(["relay", relay]).content("forget me").sign(keys)
}

/// Waits for what is removed in steps.
async fn is_left(client: &mut Client, author: &str) -> anyhow::Result<Vec<Event>> {
    let since = Instant::now();
    loop {
        let left = client.query([json!({"authors": [author]})]).await?;
        if left.iter().all(|event| event.kind == 62) || since.elapsed() > PATIENCE {
            return Ok(left);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn who_vanishes_is_gone_with_the_ok_and_kept_away() -> anyhow::Result<()> {
    let relay = RELAY.get_with(settings)?;
    let mut client = Client::connect(&relay).await?;
    let (keys, other) = (Keys::generate(), Keys::generate());
    let now = now_s();
    let note = Draft::note("note").at(now - 10).sign(&keys);
    let events = [
        note.clone(),
        Draft::new(0).at(now - 9).sign(&keys),
        Draft::new(30_023).at(now - 8).tag(["d", "x"]).sign(&keys),
        Draft::new(5).at(now - 7).tag(["e", &"0".repeat(64)]).sign(&keys),
    ];
    let newer = Draft::note("a new life").at(now + 5).sign(&keys);
    let stranger = Draft::note("stays").tag(["p", &note.pubkey]).sign(&other);
    for event in events.iter().chain([&newer, &stranger]) {
        client.store(event).await?;
    }
    let request = request(&keys, "WSS://Relay.example.com", now);
    client.store(&request).await?;
    assert_eq!(client.query([json!({"authors": [note.pubkey]})]).await?, [newer, request.clone()]);
    assert_eq!(client.count([json!({"authors": [note.pubkey]})]).await?, 2);
    assert_eq!(client.query([json!({"ids": [stranger.id]})]).await?, [stranger]);
    for event in &events {
        client.refused(event, "deleted").await?;
    }
    // Nor does anything new come that is not newer than the request.
    client.refused(&Draft::note("late").at(now).sign(&keys), "deleted").await?;
    client.store(&Draft::note("later").at(now + 1).sign(&keys)).await?;
    // There is no way back.
    client.publish(&Draft::new(5).tag(["e", &request.id]).sign(&keys)).await?;
    assert_eq!(client.query([json!({"ids": [request.id]})]).await?, [request]);
    client.refused(&note, "deleted").await?;
    Ok(())
}

#[tokio::test]
async fn gift_wraps_for_who_vanishes_go_with_him() -> anyhow::Result<()> {
    let relay = RELAY.get_with(settings)?;
    let mut client = Client::connect(&relay).await?;
    let (keys, other) = (Keys::generate(), Keys::generate());
    let now = now_s();
    let wrap = |recipient: &Keys, at: u64| {
        Draft::new(1_059).at(at).tag(["p", &recipient.public_key().to_hex()]).sign(&Keys::generate())
    };
    let (old, new, foreign) = (wrap(&keys, now - 5), wrap(&keys, now + 5), wrap(&other, now - 5));
    for event in [&old, &new, &foreign] {
        client.store(event).await?;
    }
    client.store(&request(&keys, "ALL_RELAYS", now)).await?;
    client.refused(&old, "deleted").await?;
    let mut party = Client::connect(&relay).await?;
    let auth = |party: &Client, keys: &Keys| {
        Draft::new(22_242).tag(["relay", URL]).tag(["challenge", &party.challenge]).sign(keys)
    };
    for keys in [&keys, &other] {
        let event = auth(&party, keys);
        ensure!(party.send_auth(&event).await?.accepted, "AUTH was refused");
    }
    assert_eq!(party.query([json!({"ids": [old.id, new.id, foreign.id]})]).await?, [new, foreign]);
    Ok(())
}

#[tokio::test]
async fn a_request_to_other_relays_is_refused_and_removes_nothing() -> anyhow::Result<()> {
    let relay = RELAY.get_with(settings)?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let note = Draft::note("stays").sign(&keys);
    client.store(&note).await?;
    for url in ["wss://other.example.com/", "wss://relay.example.com.evil/", "all_relays", ""] {
        client.refused(&request(&keys, url, now_s()), "invalid").await?;
    }
    client.refused(&Draft::new(62).tag(["r", URL]).sign(&keys), "invalid").await?;
    assert_eq!(client.query([json!({"authors": [note.pubkey]})]).await?, [note]);
    Ok(())
}

#[tokio::test]
async fn whoever_may_write_may_vanish_and_all_of_a_large_author_goes() -> anyhow::Result<()> {
    // More than is removed in one step.
    const EVENTS: u64 = 2_500;
    let folder = tempfile::tempdir()?;
    let path = format!("store.path={}", Relay::store_in(folder.path()).display());
    let keys = Keys::generate();
    let now = now_s();
    let events: Vec<Event> = (0..EVENTS).map(|n| Draft::note(format!("{n}")).at(now - n).sign(&keys)).collect();
    run_verb(&["import", "--set", &path], &to_jsonl(&events))?;
    let settings = Relay::settings().set("access.auth_to_write", true).set("limits.min_pow", 40);
    let mut relay = Relay::start_in(folder, settings)?;
    let mut client = Client::connect(&relay).await?;
    let author = keys.public_key().to_hex();
    assert_eq!(client.count([json!({"authors": [author]})]).await?, EVENTS);
    let request = request(&keys, "ALL_RELAYS", now);
    client.store(&request).await?;
    // A power cut in the midst of it changes nothing.
    relay.kill()?;
    relay.restart()?;
    let mut client = Client::connect(&relay).await?;
    assert_eq!(is_left(&mut client, &author).await?, [request]);
    assert_eq!(client.count([json!({"authors": [author]})]).await?, 1);
    Ok(())
}

#[tokio::test]
async fn an_export_carries_the_request_to_the_next_store() -> anyhow::Result<()> {
    let mut relay = settings().start()?;
    let keys = Keys::generate();
    let note = Draft::note("note").at(now_s() - 5).sign(&keys);
    let mut client = Client::connect(&relay).await?;
    client.store(&request(&keys, URL, now_s())).await?;
    relay.stop()?;
    let path = |folder: &std::path::Path| format!("store.path={}", Relay::store_in(folder).display());
    let exported = run_verb(&["export", "--set", &path(relay.folder())], b"")?;

    let next = tempfile::tempdir()?;
    let url = format!("relay.url={URL}");
    let import = |input: &[u8]| run_verb(&["import", "--set", &path(next.path()), "--set", &url], input);
    // Whatever the order in which they come.
    import(&to_jsonl(std::slice::from_ref(&note)))?;
    import(exported.as_bytes())?;
    import(&to_jsonl(std::slice::from_ref(&note)))?;
    let relay = Relay::start_in(next, settings())?;
    let mut client = Client::connect(&relay).await?;
    assert!(client.query([json!({"ids": [note.id]})]).await?.is_empty(), "came back by an import");
    client.refused(&note, "deleted").await?;
    Ok(())
}

#[tokio::test]
async fn the_jobs_and_adverts_of_who_vanishes_end() -> anyhow::Result<()> {
    let relay = RELAY.get_with(settings)?;
    let mut client = Client::connect(&relay).await?;
    let (customer, provider) = (Keys::generate(), Keys::generate());
    let job = Draft::new(5_731).at(now_s() - 1).tag(["i", "x", "text"]).sign(&customer);
    client.store(&job).await?;
    client.store(&request(&customer, URL, now_s())).await?;
    assert_eq!(status(&mut client, &job).await?, "cancelled");

    let advert = Draft::new(31_990).at(now_s() - 1).tag(["d", "a"]).tag(["k", "5732"]).sign(&provider);
    let ask = || Draft::new(5_732).tag(["i", "x", "text"]).sign(&Keys::generate());
    client.store(&advert).await?;
    let (before, after) = (ask(), ask());
    client.store(&before).await?;
    assert_eq!(status(&mut client, &before).await?, "leased");
    client.store(&request(&provider, URL, now_s())).await?;
    client.store(&after).await?;
    assert_eq!(status(&mut client, &after).await?, "queued");
    Ok(())
}

/// How the relay says that a job stands.
async fn status(client: &mut Client, job: &Event) -> anyhow::Result<String> {
    let states = client.query([json!({"kinds": [30_383], "#d": [job.id]})]).await?;
    let status = states.first().and_then(|state| state.value("status"));
    Ok(status.unwrap_or("no state").to_owned())
}
