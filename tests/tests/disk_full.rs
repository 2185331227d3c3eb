//! What a full disk does: events are refused with `error:`, everything else goes on, and nothing that was acknowledged
//! is lost; once there is space the relay goes on by itself.

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mercato_tests::client::Client;
use mercato_tests::disk::{self, Disk};
use mercato_tests::event::{Draft, Event};
use mercato_tests::http::{ask, relay_key};
use mercato_tests::market::{Customer, Lease, Provider, request};
use mercato_tests::random::Rng;
use mercato_tests::relay::{Settings, run_verb, try_verb};
use mercato_tests::said::prefix;
use mercato_tests::{Keys, Relay};
use serde_json::json;

/// MiB. Small, so that it is full soon.
const DISK: u64 = 40;
/// MiB of it that are taken from the beginning.
const BALLAST: u64 = 22;
/// How long a store may take to notice that there is space again: RocksDB looks every five seconds.
const RECOVERY: Duration = Duration::from_secs(60);
/// Ids asked for in one REQ.
const CHUNK: usize = 400;
const KIND: u16 = 5_300;

fn settings() -> Settings {
    // What a store waits for once its disk was full is a part of its cache.
    let small = Relay::settings().set("store.block_cache_mib", 8).set("relay.ready_free_mib", 1);
    small.set("limits.max_limit", 10_000)
}

fn block_on(test: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(test)
}

fn note(keys: &Keys, number: usize, bytes: usize) -> Event {
    // Not to be compressed away.
    let mut rng = Rng::new(number as u64);
    let text: String = std::iter::repeat_with(|| format!("{:016x}", rng.word())).take(bytes / 16).collect();
    Draft::note(format!("{number} {text}")).sign(keys)
}

/// The arguments that name a store.
fn set(folder: &Path) -> [String; 2] {
    ["--set".to_owned(), format!("store.path={}", Relay::store_in(folder).display())]
}

fn verb<'a>(folder: &'a [String; 2], arguments: &[&'a str]) -> Vec<&'a str> {
    arguments.iter().copied().chain(folder.iter().map(String::as_str)).collect()
}

/// Runs a verb that must fail for want of space, with exit code 1.
fn lacks_space(folder: &Path, arguments: &[&str], input: &[u8]) -> anyhow::Result<()> {
    let set = set(folder);
    let output = try_verb(&verb(&set, arguments), input)?;
    let said = String::from_utf8_lossy(&output.stderr);
    eprintln!("{arguments:?}: {said}");
    ensure!(output.status.code() == Some(1), "{arguments:?} ended with {}: {said}", output.status);
    ensure!(said.contains("No space left"), "{arguments:?} does not say why: {said}");
    Ok(())
}

/// A verb that needs little may find it: a file that is no longer needed makes room for another. In the end it fails, and
/// says why.
fn fail_for_space(disk: &Disk, folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    for _ in 0..5 {
        disk.fill()?;
        let output = try_verb(&verb(&set(folder), arguments), b"")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            eprintln!("{arguments:?}: {said}");
            ensure!(output.status.code() == Some(1), "{arguments:?} ended with {}", output.status);
            let says_why = said.contains("No space left") || said.contains("MiB are free");
            ensure!(says_why, "{arguments:?} does not say why: {said}");
            return Ok(());
        }
        std::fs::remove_dir_all(disk.path().join("copy")).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
    }
    anyhow::bail!("{arguments:?} works on a full disk")
}

fn check(folder: &Path) -> anyhow::Result<()> {
    let said = run_verb(&verb(&set(folder), &["check"]), b"")?;
    ensure!(said.contains("are sound"), "{said}");
    Ok(())
}

/// Publishes notes until one is refused, which must be with `error:`; those that were acknowledged.
async fn fill_up(client: &mut Client, keys: &Keys) -> anyhow::Result<Vec<String>> {
    let mut acknowledged = Vec::new();
    for number in 0..5_000 {
        let note = note(keys, number, 30_000);
        let verdict = client.publish(&note).await?;
        match verdict.accepted {
            true => acknowledged.push(note.id),
            false => {
                ensure!(prefix(&verdict.text) == Some("error"), "refused with {:?}", verdict.text);
                return Ok(acknowledged);
            }
        }
    }
    anyhow::bail!("the disk is never full")
}

async fn check_served(client: &mut Client, ids: &[String]) -> anyhow::Result<()> {
    for chunk in ids.chunks(CHUNK) {
        ensure!(client.query_ids([json!({"ids": chunk})]).await?.len() == chunk.len(), "acknowledged events are lost");
        ensure!(client.count([json!({"ids": chunk})]).await? == chunk.len() as u64, "COUNT knows of fewer");
    }
    Ok(())
}

/// Publishes until it is taken.
async fn publish_at_last(client: &mut Client, event: &Event) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    loop {
        let verdict = client.publish(event).await?;
        if verdict.accepted {
            return Ok(begun.elapsed());
        }
        ensure!(prefix(&verdict.text) == Some("error"), "refused with {:?}", verdict.text);
        ensure!(begun.elapsed() < RECOVERY, "still refused: {}", verdict.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn status(relay: &Relay, path: &str) -> anyhow::Result<u16> {
    Ok(ask(relay, "GET", path, &[]).await?.status)
}

#[test]
fn a_relay_on_a_full_disk_refuses_and_serves_and_goes_on_when_there_is_space() -> anyhow::Result<()> {
    let name = "a_relay_on_a_full_disk_refuses_and_serves_and_goes_on_when_there_is_space";
    disk::with(name, DISK, |disk| block_on(full_and_free_again(disk)))
}

async fn full_and_free_again(disk: &Disk) -> anyhow::Result<()> {
    disk.load(BALLAST)?;
    let mut relay = Relay::start_in(disk.folder()?, settings())?;
    let own = relay_key(&relay).await?;
    let keys = Keys::generate();
    let (mut client, mut watcher) = (Client::connect(&relay).await?, Client::connect(&relay).await?);
    watcher.subscribe("live", [json!({"kinds": [20_001]})]).await?;
    // Two jobs for a provider that does one at a time: one runs, one waits.
    let mut provider = Provider::join(&relay, KIND).await?;
    let mut customer = Customer::join(&relay).await?;
    let job = customer.ask(request(KIND)).await?;
    let lease = provider.lease(&job).await?;
    provider.accept(&lease).await?;
    let second = request(KIND).content("the second").sign(&customer.keys);
    customer.client.store(&second).await?;

    let mut acknowledged = fill_up(&mut client, &keys).await?;
    // And now to the last block.
    disk.fill()?;
    let memory = relay.rss_bytes()?;
    let (mut refused, begun) = (0, Instant::now());
    while refused < 500 || begun.elapsed() < Duration::from_secs(3) {
        let notes: Vec<Event> = (0..50).map(|number| note(&keys, 10_000 + refused + number, 64)).collect();
        for note in &notes {
            client.offer(note).await?;
        }
        for note in &notes {
            let verdict = client.verdict(&note.id).await?;
            ensure!(!verdict.accepted, "there is no space for it");
            ensure!(prefix(&verdict.text) == Some("error"), "refused with {:?}", verdict.text);
            refused += 1;
        }
    }
    check_served(&mut client, &acknowledged).await?;
    ensure!(status(&relay, "/ready").await? == 503, "it is not ready");
    ensure!(status(&relay, "/health").await? == 200, "it lives");
    let live = Draft::new(20_001).content("not to be stored").sign(&keys);
    publish_at_last(&mut client, &live).await.context("an ephemeral event needs no disk")?;
    ensure!(watcher.live("live").await?.id == live.id, "live delivery goes on");
    let result = lease.result(KIND).sign(&provider.keys);
    let verdict = provider.client.publish(&result).await?;
    ensure!(prefix(&verdict.text) == Some("error"), "a result that cannot be stored: {verdict:?}");
    ensure!(customer.state(&own, &job).await?.value("status") == Some("running"), "the job runs all the same");
    let grown = relay.rss_bytes()?.saturating_sub(memory);
    ensure!(grown < 64 << 20, "{grown} bytes more after {refused} refusals");
    let lines = relay.log().lines().filter(|line| line.contains("ERROR")).count();
    ensure!((1..10).contains(&lines), "{lines} errors in the log for {refused} refusals");

    disk.free()?;
    let begun = Instant::now();
    // By itself: who goes by this sends nothing before.
    while status(&relay, "/ready").await? != 200 {
        ensure!(begun.elapsed() < RECOVERY, "it is not ready again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (count, waited) = (acknowledged.len(), begun.elapsed());
    eprintln!("{count} events acknowledged, {refused} refused; ready again after {waited:?}");
    let fresh = note(&keys, 9_999, 64);
    publish_at_last(&mut client, &fresh).await?;
    acknowledged.push(fresh.id);
    publish_at_last(&mut provider.client, &result).await.context("the lease is still the provider's")?;
    ensure!(customer.told_of_result(KIND).await?.id == result.id, "the customer hears of it");
    ensure!(customer.state(&own, &job).await?.value("status") == Some("succeeded"), "the job is done");
    let next = provider.lease(&second).await.context("the job that waited is leased")?;
    provider.deliver(&next).await?;
    for job in [&job, &second] {
        let told = customer.client.query([json!({"authors": [own], "kinds": [7000], "#e": [job.id]})]).await?;
        let leases = told.iter().filter_map(|event| Lease::read(event).ok().flatten()).count();
        ensure!(leases == 1, "{leases} leases of one job");
    }

    relay.stop()?;
    check(relay.folder())?;
    relay.restart()?;
    check_served(&mut Client::connect(&relay).await?, &acknowledged).await.context("after the restart")
}

#[test]
fn a_full_disk_at_the_start_is_said_and_does_no_harm() -> anyhow::Result<()> {
    disk::with("a_full_disk_at_the_start_is_said_and_does_no_harm", DISK, |disk| block_on(full_at_the_start(disk)))
}

async fn full_at_the_start(disk: &Disk) -> anyhow::Result<()> {
    disk.load(BALLAST)?;
    let mut relay = Relay::start_in(disk.folder()?, settings())?;
    let mut client = Client::connect(&relay).await?;
    let acknowledged = fill_up(&mut client, &Keys::generate()).await?;
    disk.fill()?;
    relay.stop().context("a stop needs no space")?;
    for _ in 0..3 {
        // Never half: it serves what it has, or says that it cannot.
        match relay.restart() {
            Ok(()) => {
                let mut client = Client::connect(&relay).await?;
                check_served(&mut client, &acknowledged).await?;
                client.publish(&Draft::note("once more").sign(&Keys::generate())).await?;
                relay.kill()?;
            }
            Err(error) => {
                let said = error.to_string();
                eprintln!("{said}");
                ensure!(said.contains("No space left"), "it does not say why: {said}");
            }
        }
    }
    disk.free()?;
    relay.restart()?;
    let mut client = Client::connect(&relay).await?;
    check_served(&mut client, &acknowledged).await?;
    client.store(&Draft::note("after all").sign(&Keys::generate())).await?;
    relay.stop()?;
    check(relay.folder())
}

#[test]
fn an_import_that_fills_the_disk_fails_and_leaves_a_sound_store() -> anyhow::Result<()> {
    let name = "an_import_that_fills_the_disk_fails_and_leaves_a_sound_store";
    disk::with(name, DISK, |disk| {
        disk.load(BALLAST)?;
        let folder = disk.folder()?;
        let keys = Keys::generate();
        let lines: Vec<String> = (0..1_600).map(|number| note(&keys, number, 30_000).to_json().to_string()).collect();
        let (first, all) = (lines[..100].join("\n"), lines.join("\n"));
        run_verb(&verb(&set(folder.path()), &["import"]), first.as_bytes())?;
        lacks_space(folder.path(), &["import"], all.as_bytes())?;
        disk.free()?;
        check(folder.path())?;
        let stored = run_verb(&verb(&set(folder.path()), &["export"]), b"")?.lines().count();
        ensure!((100..1_600).contains(&stored), "{stored} events are there");
        // What is left of the disk takes some more.
        let said = run_verb(&verb(&set(folder.path()), &["import"]), lines[..stored + 50].join("\n").as_bytes())?;
        eprintln!("{stored} events before it was full, then: {said}");
        check(folder.path())
    })
}

#[test]
fn a_backup_and_a_compaction_on_a_full_disk_fail_and_do_no_harm() -> anyhow::Result<()> {
    let name = "a_backup_and_a_compaction_on_a_full_disk_fail_and_do_no_harm";
    disk::with(name, DISK, |disk| block_on(backup_and_compact(disk)))
}

async fn backup_and_compact(disk: &Disk) -> anyhow::Result<()> {
    disk.load(BALLAST)?;
    let mut relay = Relay::start_in(disk.folder()?, settings())?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let notes: Vec<Event> = (0..100).map(|number| note(&keys, number, 30_000)).collect();
    for note in &notes {
        client.store(note).await?;
    }
    let acknowledged: Vec<String> = notes.iter().map(|note| note.id.clone()).collect();
    let copy = disk.path().join("copy");
    let to = copy.to_str().context("a path in UTF-8")?;
    for _ in 0..2 {
        for arguments in [&["backup", to][..], &["compact"]] {
            fail_for_space(disk, relay.folder(), arguments)?;
        }
    }
    ensure!(!copy.join("db").exists(), "half a copy");
    check_served(&mut client, &acknowledged).await?;
    let left = std::fs::read_dir(Relay::store_in(relay.folder()))?.filter_map(Result::ok);
    let left: Vec<_> =
        left.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().contains("checkpoint")).collect();
    ensure!(left.is_empty(), "{left:?} was left behind");
    disk.free()?;
    publish_at_last(&mut client, &note(&keys, 1_000, 64)).await?;
    // What the failed ones left is in nobody's way.
    let begun = Instant::now();
    while !try_verb(&verb(&set(relay.folder()), &["compact"]), b"")?.status.success() {
        ensure!(begun.elapsed() < RECOVERY, "compacting does not work again");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    run_verb(&verb(&set(relay.folder()), &["backup", to]), b"")?;
    relay.stop()?;
    check(relay.folder())?;
    check_copy(&copy)
}

/// A backup is a folder like the store's own.
fn check_copy(copy: &Path) -> anyhow::Result<()> {
    let said = run_verb(&["check", "--set", &format!("store.path={}", copy.display())], b"")?;
    ensure!(said.contains("101 events"), "{said}");
    Ok(())
}
