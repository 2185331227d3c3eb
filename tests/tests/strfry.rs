//! This relay and the real strfry, in every way in which either hands events to the other. `MERCATO_STRFRY=/path/to/strfry`
//! names the program; without it nothing is run.

use std::time::{Duration, Instant};

use anyhow::ensure;
use mercato_tests::client::Client;
use mercato_tests::data::to_jsonl;
use mercato_tests::link::{RECOVERY, Router, Wire, links_of, stream, wait_for_all, wait_in_sync};
use mercato_tests::relay::{Running, Settings, run_verb};
use mercato_tests::strfry::Strfry;
use mercato_tests::{Draft, Event, Keys, Relay};

fn notes(count: usize, about: &str) -> Vec<Event> {
    let keys = Keys::generate();
    (0..count).map(|n| Draft::note(format!("{about} {n}")).sign(&keys)).collect()
}

async fn store(client: &mut Client, events: &[Event]) -> anyhow::Result<()> {
    for event in events {
        client.store(event).await?;
    }
    Ok(())
}

fn store_of(relay: &Relay) -> String {
    format!("store.path={}", Relay::store_in(relay.folder()).display())
}

/// Stores new events at one relay until one has come to the other: then whatever is between them stands.
async fn wait_for_passage(from: &mut Client, to: &mut Client) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let probe = notes(1, "probe");
        store(from, &probe).await?;
        let patience = Duration::from_secs(2);
        if wait_for_all(to, &probe, patience).await.is_ok() {
            return Ok(());
        }
        ensure!(begun.elapsed() < RECOVERY, "nothing comes");
    }
}

#[tokio::test]
async fn its_router_takes_from_us_and_gives_to_us_and_comes_back_after_a_cut() -> anyhow::Result<()> {
    for (direction, to_it, to_us) in [("down", true, false), ("up", false, true), ("both", true, true)] {
        let Some(strfry) = Strfry::start()? else { return Ok(()) };
        let us = Relay::start(Settings::default())?;
        let wire = Wire::to(us.port()).await?;
        let file = strfry.router_file(&format!("connectionTimeout = 1\n{}", stream(direction, &[wire.url()])))?;
        let _router = strfry.run(&["router", &file])?;
        let (mut here, mut there) = (Client::connect(&us).await?, Client::connect_ungreeted(strfry.port()).await?);
        for round in ["live", "after a cut"] {
            if to_it {
                wait_for_passage(&mut here, &mut there).await?;
                let ours = notes(20, round);
                store(&mut here, &ours).await?;
                wait_for_all(&mut there, &ours, RECOVERY).await?;
            }
            if to_us {
                wait_for_passage(&mut there, &mut here).await?;
                let theirs = notes(20, round);
                store(&mut there, &theirs).await?;
                wait_for_all(&mut here, &theirs, RECOVERY).await?;
            }
            wire.cut();
            tokio::time::sleep(Duration::from_millis(300)).await;
            wire.mend();
        }
    }
    Ok(())
}

#[tokio::test]
async fn our_router_makes_up_in_both_directions_for_what_a_cut_kept_back() -> anyhow::Result<()> {
    let Some(strfry) = Strfry::start()? else { return Ok(()) };
    let wire = Wire::to(strfry.port()).await?;
    let router = Router::linking("both", &[wire.url()])?;
    let us = Settings::default().set("router.file", router.path().display()).start()?;
    let folder = Relay::store_in(us.folder());
    wait_in_sync(&folder, 1).await?;
    let (mut here, mut there) = (Client::connect(&us).await?, Client::connect_ungreeted(strfry.port()).await?);
    let (ours, theirs) = (notes(50, "ours, live"), notes(50, "theirs, live"));
    store(&mut here, &ours).await?;
    store(&mut there, &theirs).await?;
    wait_for_all(&mut here, &theirs, RECOVERY).await?;
    wait_for_all(&mut there, &ours, RECOVERY).await?;
    wire.cut();
    let (ours, theirs) = (notes(200, "ours, cut"), notes(300, "theirs, cut"));
    store(&mut here, &ours).await?;
    store(&mut there, &theirs).await?;
    wire.mend();
    wait_for_all(&mut here, &theirs, RECOVERY).await?;
    wait_for_all(&mut there, &ours, RECOVERY).await?;
    wait_in_sync(&folder, 1).await?;
    let log = us.log();
    let found = log.lines().find(|line| line.contains("found by negentropy"));
    assert!(found.is_some_and(|line| line.contains("needed=300") && line.contains("missing=0")), "{log}");
    eprintln!("{}", found.unwrap_or_default());
    let down = &links_of(&folder)?[0]["down"];
    assert_eq!(down["stored"], 350, "{down}");
    Ok(())
}

#[tokio::test]
async fn its_download_needs_a_relay_that_does_not_greet() -> anyhow::Result<()> {
    let Some(strfry) = Strfry::start()? else { return Ok(()) };
    let all = notes(300, "ours");
    let greeting = Relay::start(Settings::default())?;
    run_verb(&["import", "--set", &store_of(&greeting)], &to_jsonl(&all))?;
    strfry.fails(&["download", &greeting.url()])?;
    assert!(strfry.log().contains("unexpected message type"), "{}", strfry.log());

    let us = Settings::default().set("access.greet", false).start()?;
    run_verb(&["import", "--set", &store_of(&us)], &to_jsonl(&all))?;
    let printed = strfry.out(&["download", &us.url()], b"")?;
    let mut ids = Vec::new();
    for line in printed.lines() {
        ids.push(Event::from_json(&serde_json::from_str(line)?)?.id);
    }
    assert_eq!(ids.len(), all.len());
    assert!(all.iter().all(|event| ids.contains(&event.id)));
    Ok(())
}

#[tokio::test]
async fn either_syncs_with_the_other() -> anyhow::Result<()> {
    let Some(strfry) = Strfry::start()? else { return Ok(()) };
    let us = Relay::start(Settings::default())?;
    let (mut here, mut there) = (Client::connect(&us).await?, Client::connect_ungreeted(strfry.port()).await?);
    let (ours, theirs) = (notes(250, "ours"), notes(350, "theirs"));
    store(&mut here, &ours).await?;
    store(&mut there, &theirs).await?;
    let said = run_verb(&["sync", &strfry.url(), "--set", &store_of(&us)], b"")?;
    assert!(said.starts_with("have 250, need 350; down: 350 stored, 0 duplicates, 0 refused; up: 250 taken"), "{said}");
    let (ours, theirs) = (notes(70, "more of ours"), notes(90, "more of theirs"));
    store(&mut here, &ours).await?;
    store(&mut there, &theirs).await?;
    strfry.out(&["sync", &us.url(), "--dir=both"], b"")?;
    assert!(strfry.log().contains("Have 90 need 70"), "{}", strfry.log());
    wait_for_all(&mut here, &theirs, RECOVERY).await?;
    wait_for_all(&mut there, &ours, RECOVERY).await
}

#[tokio::test]
async fn its_stream_and_upload_and_ours_bring_everything() -> anyhow::Result<()> {
    let Some(strfry) = Strfry::start()? else { return Ok(()) };
    let us = Relay::start(Settings::default())?;
    let mut here = Client::connect(&us).await?;
    let mut there = Client::connect_ungreeted(strfry.port()).await?;
    let uploaded = notes(200, "uploaded");
    strfry.out(&["upload", &us.url()], &to_jsonl(&uploaded))?;
    wait_for_all(&mut here, &uploaded, RECOVERY).await?;

    let streaming = strfry.run(&["stream", &us.url(), "--dir=both"])?;
    passes_both_ways(&mut here, &mut there).await?;
    drop(streaming);

    let url = strfry.url();
    let streaming = Running::new(&["stream", &url, "--dir", "both", "--set", &store_of(&us)])?;
    passes_both_ways(&mut here, &mut there).await?;
    drop(streaming);

    let mine = notes(100, "by our upload");
    let told = run_verb(&["upload", &url], &to_jsonl(&mine))?;
    assert!(told.starts_with("100 accepted, 0 duplicates, 0 refused"), "{told}");
    wait_for_all(&mut there, &mine, RECOVERY).await?;
    let printed = run_verb(&["download", &url], b"")?;
    assert!(mine.iter().all(|event| printed.contains(&event.id)));
    Ok(())
}

async fn passes_both_ways(here: &mut Client, there: &mut Client) -> anyhow::Result<()> {
    wait_for_passage(here, there).await?;
    wait_for_passage(there, here).await?;
    let (ours, theirs) = (notes(20, "ours"), notes(20, "theirs"));
    store(here, &ours).await?;
    store(there, &theirs).await?;
    wait_for_all(there, &ours, RECOVERY).await?;
    wait_for_all(here, &theirs, RECOVERY).await
}
