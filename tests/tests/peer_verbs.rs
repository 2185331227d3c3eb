//! `stream`, `router`, `upload` and `download`, beside a running relay and without one.

use mercato_tests::client::Client;
use mercato_tests::data::to_jsonl;
use mercato_tests::link::{RECOVERY, Router, wait_for_all, wait_in_sync};
use mercato_tests::relay::{Running, Settings, run_verb};
use mercato_tests::{Draft, Event, Keys, Relay, now_s};
use serde_json::json;

fn events(count: usize) -> Vec<Event> {
    let (keys, now) = (Keys::generate(), now_s());
    (0..count).map(|n| Draft::note(n.to_string()).at(now - (n as u64) / 150).sign(&keys)).collect()
}

fn store_of(relay: &Relay) -> String {
    format!("store.path={}", Relay::store_in(relay.folder()).display())
}

async fn publish(relay: &Relay, events: &[Event]) -> anyhow::Result<Client> {
    let mut client = Client::connect(relay).await?;
    for event in events {
        client.store(event).await?;
    }
    Ok(client)
}

#[tokio::test]
async fn a_stream_runs_in_the_relay_for_as_long_as_the_verb_runs() -> anyhow::Result<()> {
    let (us, them) = (Relay::start(Settings::default())?, Relay::start(Settings::default())?);
    let (url, set) = (them.url(), store_of(&us));
    let verb = Running::new(&["stream", &url, "--dir", "both", "--set", &set])?;
    wait_in_sync(&Relay::store_in(us.folder()), 1).await?;
    let (ours, theirs) = (events(3), events(3));
    let mut here = publish(&us, &ours).await?;
    let mut there = publish(&them, &theirs).await?;
    wait_for_all(&mut here, &theirs, RECOVERY).await?;
    wait_for_all(&mut there, &ours, RECOVERY).await?;
    drop(verb);
    wait_in_sync(&Relay::store_in(us.folder()), 0).await
}

#[tokio::test]
async fn a_router_without_a_relay_writes_the_store_itself() -> anyhow::Result<()> {
    let (them, folder) = (Relay::start(Settings::default())?, tempfile::tempdir()?);
    let router = Router::linking("down", &[them.url()])?;
    let set = format!("store.path={}", folder.path().join("store").display());
    let path = router.path().display().to_string();
    assert_eq!(run_verb(&["router", "--check", &path, "--set", &set], b"")?, "");
    let verb = Running::new(&["router", &path, "--set", &set])?;
    // It has no socket to be asked by: what it is sent shows when it has subscribed.
    let mut client = Client::connect(&them).await?;
    let begun = std::time::Instant::now();
    loop {
        let event = Draft::note(format!("{:?}", begun.elapsed())).sign(&Keys::generate());
        client.store(&event).await?;
        let read = run_verb(&["scan", "{}", "--count", "--set", &set], b"");
        if read.is_ok_and(|count| count.trim() != "0") {
            break;
        }
        anyhow::ensure!(begun.elapsed() < RECOVERY, "nothing came");
    }
    drop(verb);
    Ok(())
}

#[tokio::test]
async fn a_download_brings_everything_from_a_peer_that_truncates() -> anyhow::Result<()> {
    let them = Relay::start(Settings::default().set("limits.max_limit", 200))?;
    let all = events(1_000);
    run_verb(&["import", "--set", &store_of(&them)], &to_jsonl(&all))?;
    let url = them.url();
    let printed = run_verb(&["download", &url], b"")?;
    let mut ids: Vec<String> = Vec::new();
    for line in printed.lines() {
        ids.push(Event::from_json(&serde_json::from_str(line)?)?.id);
    }
    assert_eq!(ids.len(), all.len());
    assert!(all.iter().all(|event| ids.contains(&event.id)));
    let limited = run_verb(&["download", &url, "--filter", r#"{"kinds":[1],"limit":250}"#], b"")?;
    assert_eq!(limited.lines().count(), 250);
    assert_eq!(run_verb(&["download", &url, "--range", "1Y-1M"], b"")?, "");

    let us = Relay::start(Settings::default())?;
    let told = run_verb(&["download", &url, "--import", "--set", &store_of(&us)], b"")?;
    assert_eq!(told, "1000 stored, 0 duplicates, 0 rejected\n");
    wait_for_all(&mut Client::connect(&us).await?, &all, RECOVERY).await
}

#[tokio::test]
async fn an_upload_brings_everything_to_a_peer_that_limits_its_rate() -> anyhow::Result<()> {
    let us = Relay::start(Settings::default())?;
    let all = events(300);
    let client = publish(&us, &all).await?;
    drop(client);
    let limited = Settings::default().set("limits.exempt", "[]");
    let them = limited.set("limits.event_rate_ip", 60).set("limits.event_burst_ip", 100).start()?;
    let (url, set) = (them.url(), store_of(&us));
    let told = run_verb(&["upload", &url, "--filter", "{}", "--set", &set], b"")?;
    assert_eq!(told, "300 accepted, 0 duplicates, 0 refused, 0 withheld, 0 faulty lines\n");
    wait_for_all(&mut Client::connect(&them).await?, &all, RECOVERY).await?;
    let told = run_verb(&["upload", &url, "--range", "1h-", "--pipeline", "5", "--set", &set], b"")?;
    assert_eq!(told, "0 accepted, 300 duplicates, 0 refused, 0 withheld, 0 faulty lines\n");
    Ok(())
}

#[tokio::test]
async fn an_upload_of_lines_tells_refusals_by_their_reason() -> anyhow::Result<()> {
    let them = Relay::start(Settings::default())?;
    let keys = Keys::generate();
    let fine = events(2);
    let mut sent = fine.clone();
    sent.push(Draft::note("future").at(now_s() + 100_000).sign(&keys));
    sent.push(Draft::note("future too").at(now_s() + 100_000).sign(&keys));
    let mut input = to_jsonl(&sent);
    input.extend(b"not an event\n");
    let told = run_verb(&["upload", &them.url()], &input)?;
    let expected = "2 refused: invalid: created_at too late\n\
                    2 accepted, 0 duplicates, 2 refused, 0 withheld, 1 faulty lines\n";
    assert_eq!(told, expected);
    assert_eq!(Client::connect(&them).await?.query([json!({})]).await?.len(), 2);
    Ok(())
}
