//! Two relays and more, linked: every direction, cuts, restarts, rings.

use std::collections::HashMap;
use std::time::Duration;

use mercato_tests::client::Client;
use mercato_tests::link::{RECOVERY, Router, Wire, links_of, stream, wait_for_all, wait_in_sync};
use mercato_tests::market::{advert, request};
use mercato_tests::relay::Settings;
use mercato_tests::{Draft, Event, Keys, Relay, now_s};
use serde_json::json;

/// More than the feed keeps for links that are behind.
const MANY: usize = 1_500;

/// A relay that keeps the links of a file.
fn linked(router: &Router) -> anyhow::Result<Relay> {
    Settings::default().set("router.file", router.path().display()).start()
}

fn store(relay: &Relay) -> std::path::PathBuf {
    Relay::store_in(relay.folder())
}

fn notes(count: usize, about: &str) -> Vec<Event> {
    let keys = Keys::generate();
    (0..count).map(|n| Draft::note(format!("{about} {n}")).sign(&keys)).collect()
}

async fn publish(client: &mut Client, events: &[Event]) -> anyhow::Result<()> {
    for chunk in events.chunks(100) {
        for event in chunk {
            client.offer(event).await?;
        }
        for event in chunk {
            let verdict = client.verdict(&event.id).await?;
            anyhow::ensure!(verdict.accepted, "{verdict:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn events_go_the_way_that_the_stream_says_and_no_other() -> anyhow::Result<()> {
    for (direction, to_us, to_them) in [("down", true, false), ("up", false, true), ("both", true, true)] {
        let them = Relay::start(Settings::default())?;
        let router = Router::linking(direction, &[them.url()])?;
        let us = linked(&router)?;
        wait_in_sync(&store(&us), 1).await?;
        let (mut here, mut there) = (Client::connect(&us).await?, Client::connect(&them).await?);
        here.subscribe("live", [json!({"limit": 0})]).await?;
        there.subscribe("live", [json!({"limit": 0})]).await?;
        let (ours, theirs) = (notes(3, "ours"), notes(3, "theirs"));
        publish(&mut here, &ours).await?;
        publish(&mut there, &theirs).await?;
        if to_us {
            for event in &theirs {
                here.live_until("live", |came| came == event).await?;
            }
            wait_for_all(&mut here, &theirs, RECOVERY).await?;
        }
        if to_them {
            for event in &ours {
                there.live_until("live", |came| came == event).await?;
            }
            wait_for_all(&mut there, &ours, RECOVERY).await?;
        }
        // What does not go this way has had more time by now than what does.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(here.query([json!({})]).await?.len(), if to_us { 6 } else { 3 }, "{direction}");
        assert_eq!(there.query([json!({})]).await?.len(), if to_them { 6 } else { 3 }, "{direction}");
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_missing_after_a_cut_in_either_direction() -> anyhow::Result<()> {
    let them = Relay::start(Settings::default().set("limits.max_limit", 200))?;
    let wire = Wire::to(them.port()).await?;
    let router = Router::linking("both", &[wire.url()])?;
    let us = linked(&router)?;
    wait_in_sync(&store(&us), 1).await?;
    let (mut here, mut there) = (Client::connect(&us).await?, Client::connect(&them).await?);
    wire.cut();
    let (ours, theirs) = (notes(MANY, "ours"), notes(MANY, "theirs"));
    publish(&mut here, &ours).await?;
    // Not all of one second, nor in those of ours: the peer shows no more than 200 of each.
    let (keys, now) = (Keys::generate(), now_s() - 60);
    let theirs: Vec<Event> = (theirs.iter().enumerate())
        .map(|(n, event)| Draft::note(&event.content).at(now - (n as u64) / 150).sign(&keys))
        .collect();
    publish(&mut there, &theirs).await?;
    wire.mend();
    wait_for_all(&mut here, &theirs, RECOVERY).await?;
    wait_for_all(&mut there, &ours, RECOVERY).await?;
    // The peer has them before we have all of its answers.
    let accepted = || anyhow::Ok(links_of(&store(&us))?[0]["up"]["accepted"].as_u64().unwrap_or(0));
    let begun = std::time::Instant::now();
    while accepted()? < MANY as u64 && begun.elapsed() < RECOVERY {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What must not go back would have had more time than what went.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(accepted()?, MANY as u64, "what came from the peer must not go back");
    Ok(())
}

#[tokio::test]
async fn nothing_is_missing_after_a_restart_of_ours() -> anyhow::Result<()> {
    let them = Relay::start(Settings::default())?;
    let wire = Wire::to(them.port()).await?;
    let router = Router::linking("both", &[wire.url()])?;
    let mut us = linked(&router)?;
    wait_in_sync(&store(&us), 1).await?;
    let mut there = Client::connect(&them).await?;
    let first = notes(5, "first");
    publish(&mut Client::connect(&us).await?, &first).await?;
    wait_for_all(&mut there, &first, RECOVERY).await?;
    // A stop in good order saves how far the link had come.
    wire.cut();
    let ours = notes(10, "ours");
    publish(&mut Client::connect(&us).await?, &ours).await?;
    us.stop()?;
    let theirs = notes(10, "theirs");
    publish(&mut there, &theirs).await?;
    wire.mend();
    us.restart()?;
    wait_for_all(&mut Client::connect(&us).await?, &theirs, RECOVERY).await?;
    wait_for_all(&mut there, &ours, RECOVERY).await
}

#[tokio::test]
async fn imported_history_goes_up_too() -> anyhow::Result<()> {
    let them = Relay::start(Settings::default())?;
    let router = Router::linking("up", &[them.url()])?;
    let us = linked(&router)?;
    wait_in_sync(&store(&us), 1).await?;
    let keys = Keys::generate();
    let history: Vec<Event> =
        (0..MANY).map(|n| Draft::note(n.to_string()).at(now_s() - 40_000_000 + n as u64).sign(&keys)).collect();
    let set = format!("store.path={}", store(&us).display());
    mercato_tests::relay::run_verb(&["import", "--set", &set], &mercato_tests::data::to_jsonl(&history))?;
    wait_for_all(&mut Client::connect(&them).await?, &history, RECOVERY).await
}

#[tokio::test]
async fn a_ring_hands_every_event_round_once() -> anyhow::Result<()> {
    let routers: Vec<Router> = (0..3).map(|_| Router::new("streams {}")).collect::<Result<_, _>>()?;
    let relays: Vec<Relay> = routers.iter().map(linked).collect::<Result<_, _>>()?;
    // Changed while the relay runs: that is the only way to know every port.
    for (n, router) in routers.iter().enumerate() {
        router.write(&stream("both", &[relays[(n + 1) % 3].url()]))?;
    }
    for relay in &relays {
        wait_in_sync(&store(relay), 1).await?;
    }
    let mut clients = Vec::new();
    for relay in &relays {
        let mut client = Client::connect(relay).await?;
        client.subscribe("live", [json!({"limit": 0})]).await?;
        clients.push(client);
    }
    let keys = Keys::generate();
    let mut all = Vec::new();
    for client in &mut clients {
        let mut events = notes(20, "ring");
        events.extend((0..5).map(|n| Draft::new(20_001).content(n.to_string()).sign(&keys)));
        // Each round must be one of its own, or ephemeral events of two rounds would be the same.
        events.push(Draft::new(20_002).content(format!("{}", all.len())).sign(&keys));
        events.retain(|event| !all.contains(event));
        publish(client, &events).await?;
        all.extend(events);
    }
    // By the time that a last event has gone round, so has every echo of those before it, several times over.
    let mut counts: Vec<HashMap<String, usize>> = vec![HashMap::new(); 3];
    for round in 0..3 {
        let last = Draft::note(format!("last {round}")).sign(&keys);
        publish(&mut clients[0], std::slice::from_ref(&last)).await?;
        for (client, counts) in clients.iter_mut().zip(&mut counts) {
            loop {
                let event = client.live("live").await?;
                if event.id == last.id {
                    break;
                }
                *counts.entry(event.id).or_default() += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for (relay, counts) in counts.iter().enumerate() {
        for event in &all {
            assert_eq!(counts.get(&event.id), Some(&1), "{} at relay {relay}", event.to_json());
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_leased_request_is_not_handed_on_nor_a_private_or_protected_event() -> anyhow::Result<()> {
    let them = Relay::start(Settings::default())?;
    let router = Router::linking("up", &[them.url()])?;
    let us = linked(&router)?;
    wait_in_sync(&store(&us), 1).await?;
    let mut here = Client::connect(&us).await?;
    let (provider, customer) = (Keys::generate(), Keys::generate());
    here.authenticate(&provider).await?;
    publish(&mut here, &[advert(5_050).sign(&provider)]).await?;
    let job = request(5_050).sign(&customer);
    let message = Draft::new(4).tag(["p", &provider.public_key().to_hex()]).sign(&customer);
    let protected = Draft::note("mine").tag(["-"]).sign(&provider);
    let last = Draft::note("last").sign(&customer);
    publish(&mut here, &[job.clone(), message.clone(), protected.clone(), last.clone()]).await?;
    let mut there = Client::connect(&them).await?;
    wait_for_all(&mut there, &[last], RECOVERY).await?;
    // Refused as protected, and asked for as one of the parties: none of them can hide from this.
    there.authenticate(&provider).await?;
    let ids = json!([job.id, message.id, protected.id]);
    assert_eq!(there.query([json!({"ids": ids})]).await?, []);
    assert_eq!(links_of(&store(&us))?[0]["up"]["refused"], 0);
    Ok(())
}

#[tokio::test]
async fn a_changed_file_is_taken_up_and_a_broken_one_is_not() -> anyhow::Result<()> {
    let (one, other) = (Relay::start(Settings::default())?, Relay::start(Settings::default())?);
    let router = Router::linking("up", &[one.url()])?;
    let us = linked(&router)?;
    wait_in_sync(&store(&us), 1).await?;
    let since = || -> anyhow::Result<_> { Ok(links_of(&store(&us))?[0]["since_s"].clone()) };
    let before = since()?;
    router.write("streams { broken")?;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    router.write(&stream("up", &[one.url(), other.url()]))?;
    wait_in_sync(&store(&us), 2).await?;
    assert_eq!(since()?, before, "the first link must not have been touched");
    let events = notes(3, "to both");
    publish(&mut Client::connect(&us).await?, &events).await?;
    for relay in [&one, &other] {
        wait_for_all(&mut Client::connect(relay).await?, &events, RECOVERY).await?;
    }
    router.write(&stream("up", &[other.url()]))?;
    wait_in_sync(&store(&us), 1).await
}

/// Refuses what begins with `spam`, and notes where each event came from.
const PLUGIN: &str = r#"#!/bin/sh
while read -r line; do
  id=$(printf '%s' "$line" | sed 's/.*"event":{"id":"\([0-9a-f]*\)".*/\1/')
  printf '%s\n' "$line" | sed 's/.*\("sourceType.*\)}/\1/' >> "$0.log"
  case "$line" in *'"content":"spam'*) action=reject ;; *) action=accept ;; esac
  printf '{"id":"%s","action":"%s","msg":"spam"}\n' "$id" "$action"
done
"#;

#[tokio::test]
async fn plugins_judge_what_comes_and_what_goes() -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir()?;
    let plugins = ["down", "up"].map(|name| folder.path().join(name));
    for plugin in &plugins {
        std::fs::write(plugin, PLUGIN)?;
        std::fs::set_permissions(plugin, PermissionsExt::from_mode(0o700))?;
    }
    let [down, up] = plugins.map(|plugin| plugin.display().to_string());
    let them = Relay::start(Settings::default())?;
    let text = stream("both", &[them.url()]);
    let us =
        linked(&Router::new(&text.replace("dir =", &format!("pluginDown = {down:?} pluginUp = {up:?}\n dir =")))?)?;
    wait_in_sync(&store(&us), 1).await?;
    let (mut here, mut there) = (Client::connect(&us).await?, Client::connect(&them).await?);
    for client in [&mut here, &mut there] {
        publish(client, &notes(2, "spam")).await?;
    }
    let (ours, theirs) = (notes(2, "ours"), notes(2, "theirs"));
    publish(&mut here, &ours).await?;
    publish(&mut there, &theirs).await?;
    wait_for_all(&mut here, &theirs, RECOVERY).await?;
    wait_for_all(&mut there, &ours, RECOVERY).await?;
    assert_eq!(here.query([json!({})]).await?.len(), 6, "the spam of the peer must not have come");
    assert_eq!(there.query([json!({})]).await?.len(), 6, "our spam must not have gone");
    let said = |plugin: &str| std::fs::read_to_string(format!("{plugin}.log"));
    let stream = format!("\"sourceType\":\"Stream\",\"sourceInfo\":\"{}\"", them.url());
    assert!(said(&down)?.lines().all(|line| line == stream), "{}", said(&down)?);
    assert!(said(&up)?.lines().all(|line| line == "\"sourceType\":\"Stored\",\"sourceInfo\":\"\""), "{}", said(&up)?);
    Ok(())
}

#[tokio::test]
async fn what_comes_is_held_to_the_limits_as_they_are_now() -> anyhow::Result<()> {
    let them = Relay::start(Settings::default())?;
    let router = Router::linking("down", &[them.url()])?;
    let folder = tempfile::tempdir()?;
    let (file, new) = (folder.path().join("config.toml"), folder.path().join("new"));
    let text = |max_tags: usize| format!("[limits]\nmax_tags = {max_tags}\n[router]\nfile = {:?}\n", router.path());
    std::fs::write(&file, text(5))?;
    let us = Settings::default().config(&file).start()?;
    wait_in_sync(&store(&us), 1).await?;
    let (mut here, mut there) = (Client::connect(&us).await?, Client::connect(&them).await?);
    let tagged = |about: &str| {
        let tags = (0..6).map(|number| vec!["t".to_owned(), number.to_string()]);
        Draft::note(about).tags(tags).sign(&Keys::generate())
    };
    publish(&mut there, &[tagged("before")]).await?;
    let begun = std::time::Instant::now();
    while links_of(&store(&us))?[0]["down"]["refused"] != 1 {
        anyhow::ensure!(begun.elapsed() < RECOVERY, "what has too many tags was not refused");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // As a careful editor does it: whole or not at all.
    std::fs::write(&new, text(6))?;
    std::fs::rename(&new, &file)?;
    while !us.log().contains("limits.max_tags") {
        anyhow::ensure!(begun.elapsed() < 2 * RECOVERY, "the change was not taken up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = tagged("after");
    publish(&mut there, std::slice::from_ref(&after)).await?;
    wait_for_all(&mut here, &[after], RECOVERY).await
}
