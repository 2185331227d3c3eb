//! A configuration that changes while the relay runs.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mercato_tests::client::{Client, PATIENCE};
use mercato_tests::http::document;
use mercato_tests::{Draft, Keys, Relay};

const BEFORE: &str = "[relay]\nname = \"before\"\n[limits]\nmax_tags = 5\n";

/// A relay with a file of its own.
fn start(folder: &Path, text: &str) -> anyhow::Result<Relay> {
    let file = folder.join("config.toml");
    std::fs::write(&file, text)?;
    Relay::settings().config(&file).start()
}

/// As a careful editor does it: whole or not at all.
fn replace(folder: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(folder.join("new"), text)?;
    Ok(std::fs::rename(folder.join("new"), folder.join("config.toml"))?)
}

/// Waits for a line of the log that holds every word.
async fn logged(relay: &Relay, words: &[&str]) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !relay.log().lines().any(|line| words.iter().all(|word| line.contains(word))) {
        ensure!(begun.elapsed() < PATIENCE, "no line says {words:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn note(tags: usize) -> mercato_tests::Event {
    let tags = (0..tags).map(|number| vec!["t".to_owned(), number.to_string()]);
    Draft::note("tagged").tags(tags).sign(&Keys::generate())
}

#[tokio::test]
async fn a_change_holds_without_a_restart_even_for_who_is_connected() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let relay = start(folder.path(), BEFORE)?;
    let mut client = Client::connect(&relay).await?;
    client.refused(&note(6), "invalid").await?;
    replace(folder.path(), "[relay]\nname = \"after\"\nport = 1\n[limits]\nmax_tags = 6\n")?;
    logged(&relay, &["limits.max_tags", "5", "6"]).await?;
    client.store(&note(6)).await?;
    client.refused(&note(7), "invalid").await?;
    assert_eq!(document(&relay).await?["name"], "after");
    assert_eq!(document(&relay).await?["limitation"]["max_event_tags"], 6);
    // --set goes before the file, so the port has not changed; this key has.
    replace(folder.path(), "[relay]\nname = \"after\"\nthreads = 3\n[limits]\nmax_tags = 6\n")?;
    logged(&relay, &["relay.threads", "needs a restart"]).await
}

#[tokio::test]
async fn a_broken_file_is_told_and_left() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let relay = start(folder.path(), BEFORE)?;
    for broken in ["[relay\n", "[limits]\nmax_tag = 9\n", "[limits]\nmax_connections = 0\n"] {
        let told = relay.log().matches("left as it was").count();
        replace(folder.path(), broken)?;
        let begun = Instant::now();
        while relay.log().matches("left as it was").count() == told {
            ensure!(begun.elapsed() < PATIENCE, "nothing is said of {broken}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let document = document(&relay).await?;
        assert_eq!((&document["name"], &document["limitation"]["max_event_tags"]), (&"before".into(), &5.into()));
    }
    replace(folder.path(), "[relay]\nname = \"mended\"\n[limits]\nmax_tags = 5\n")?;
    logged(&relay, &["relay.name", "mended"]).await
}

#[tokio::test]
async fn a_hangup_reads_the_file_at_once() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let relay = start(folder.path(), BEFORE)?;
    let sent = Command::new("kill").args(["-HUP", &relay.pid().to_string()]).status().context("running kill")?;
    ensure!(sent.success(), "kill failed");
    logged(&relay, &["read again", "nothing changed"]).await
}

#[tokio::test]
async fn the_level_of_the_log_changes_while_the_relay_runs() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let relay = start(folder.path(), "[log]\nlevel = \"warn,mercato::reload=info,mercato::cli=info\"\n")?;
    replace(folder.path(), "[log]\nlevel = \"error\"\n")?;
    let begun = Instant::now();
    // Nothing tells of a level that hides the telling: a broken file is an error either way, and comes after.
    while !relay.log().contains("left as it was") {
        ensure!(begun.elapsed() < PATIENCE, "no error is logged");
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        replace(folder.path(), "[log]\nlevel = \"\"\n")?;
    }
    replace(folder.path(), "[log]\nlevel = \"info\"\n")?;
    logged(&relay, &["log.level", "info"]).await
}

#[tokio::test]
async fn a_json_log_has_one_object_a_line_and_names_no_client() -> anyhow::Result<()> {
    let relay = Relay::settings().set("log.format", "\"json\"").start()?;
    let mut client = Client::connect(&relay).await?;
    client.store(&note(1)).await?;
    drop(client);
    let log = relay.log();
    ensure!(log.lines().count() >= 2, "no log: {log}");
    for line in log.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        ensure!(entry["level"].is_string() && entry["message"].is_string() && entry["timestamp"].is_string(), "{line}");
        let message = entry["message"].as_str().unwrap_or_default();
        ensure!(!line.contains("127.0.0.1") || message.starts_with("listening"), "a client's address: {line}");
    }
    Ok(())
}
