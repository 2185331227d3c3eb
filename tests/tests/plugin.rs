//! The operator's programs decide what is stored and answered, in strfry's protocol, and none of them stalls the relay.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mercato_tests::client::PATIENCE;
use mercato_tests::relay::Settings;
use mercato_tests::said::prefix;
use mercato_tests::{Client, Draft, Keys, Relay, Said};
use serde_json::{Value, json};

const INTERNAL: &str = "error: internal error";

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins").join(name)
}

fn with_plugin(name: &str) -> Settings {
    Relay::settings().set("plugins.write", script(name).display())
}

fn puppet() -> Settings {
    with_plugin("puppet.mjs")
}

fn exists(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("{program} is not there: its plugin is not tested");
    }
    found
}

/// A policy whose scripts are of the same shape as the examples that strfry comes with.
async fn whitelist_decides(name: &str) -> anyhow::Result<()> {
    let relay = with_plugin(name).start()?;
    let (mut client, mut reader, keys) =
        (Client::connect(&relay).await?, Client::connect(&relay).await?, Keys::generate());
    reader.subscribe("live", [json!({"kinds": [1]})]).await?;
    let fine = Draft::note("a \"note\"\n\u{1F980}").sign(&keys);
    client.store(&fine).await?;
    let spam = Draft::note("spam").sign(&keys);
    assert_eq!(client.refused(&spam, "blocked").await?, "blocked: no spam");
    let shadow = Draft::note("shadow").sign(&keys);
    let verdict = client.publish(&shadow).await?;
    assert!(verdict.accepted && verdict.text.is_empty(), "{verdict:?}");
    let last = Draft::note("last").sign(&keys);
    client.store(&last).await?;
    assert_eq!([reader.live("live").await?, reader.live("live").await?], [fine, last], "neither spam nor shadow");
    assert_eq!(client.query([json!({})]).await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_plugin_in_shell_decides() -> anyhow::Result<()> {
    whitelist_decides("whitelist.sh").await
}

#[tokio::test]
async fn a_plugin_in_python_decides() -> anyhow::Result<()> {
    if !exists("python3") {
        return Ok(());
    }
    whitelist_decides("whitelist.py").await
}

#[tokio::test]
async fn a_plugin_in_node_decides() -> anyhow::Result<()> {
    whitelist_decides("whitelist.mjs").await
}

#[tokio::test]
async fn many_events_of_one_connection_are_before_the_plugin_at_once() -> anyhow::Result<()> {
    let relay = puppet().start()?;
    let mut client = Client::connect(&relay).await?;
    let notes: Vec<_> = (0..60).map(|_| Draft::note("batch 60").sign(&Keys::generate())).collect();
    for note in &notes {
        client.offer(note).await?;
    }
    // The plugin answers the first only when it has seen the last, and in reverse.
    for note in &notes {
        assert!(client.verdict(&note.id).await?.accepted);
    }
    Ok(())
}

#[tokio::test]
async fn more_events_than_may_be_in_flight_come_through() -> anyhow::Result<()> {
    let relay = puppet().set("plugins.max_in_flight", 2).set("plugins.write_processes", 3).start()?;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::connect(&relay).await?);
    }
    let mut offered = Vec::new();
    for at in 0..400 {
        let note = Draft::note(format!("note {at}")).sign(&Keys::generate());
        clients[at % 4].offer(&note).await?;
        offered.push(note.id);
    }
    for (at, id) in offered.iter().enumerate() {
        assert!(clients[at % 4].verdict(id).await?.accepted);
    }
    Ok(())
}

#[tokio::test]
async fn one_slow_author_does_not_stall_others() -> anyhow::Result<()> {
    let relay = puppet().start()?;
    let (mut slow, mut quick) = (Client::connect(&relay).await?, Client::connect(&relay).await?);
    let held = Draft::note("hold").sign(&Keys::generate());
    slow.offer(&held).await?;
    let keys = Keys::generate();
    for at in 0..20 {
        quick.store(&Draft::note(format!("quick {at}")).sign(&keys)).await?;
    }
    // Nor another author on the same connection.
    slow.store(&Draft::note("other").sign(&Keys::generate())).await?;
    quick.store(&Draft::note("release").sign(&Keys::generate())).await?;
    assert!(slow.verdict(&held.id).await?.accepted);
    Ok(())
}

#[tokio::test]
async fn events_of_one_author_keep_their_order() -> anyhow::Result<()> {
    let relay = puppet().start()?;
    let (mut client, keys) = (Client::connect(&relay).await?, Keys::generate());
    let first = Draft::note("hold").sign(&keys);
    let second = Draft::note("answered at once").sign(&keys);
    client.offer(&first).await?;
    client.offer(&second).await?;
    client.store(&Draft::note("release").sign(&Keys::generate())).await?;
    let mut order = Vec::new();
    while order.len() < 2 {
        if let Said::Ok { id, accepted, .. } = client.next().await? {
            ensure!(accepted, "{id} was refused");
            order.push(id);
        }
    }
    assert_eq!(order, [first.id, second.id]);
    Ok(())
}

#[tokio::test]
async fn the_same_event_of_two_clients_is_answered_to_both() -> anyhow::Result<()> {
    let relay = puppet().start()?;
    let (mut one, mut other) = (Client::connect(&relay).await?, Client::connect(&relay).await?);
    let note = Draft::note("hold").sign(&Keys::generate());
    one.offer(&note).await?;
    // What follows on the same connection is asked about later, so the first is with the plugin by then.
    one.store(&Draft::note("next").sign(&Keys::generate())).await?;
    other.offer(&note).await?;
    other.store(&Draft::note("release").sign(&Keys::generate())).await?;
    assert!(one.verdict(&note.id).await?.accepted && other.verdict(&note.id).await?.accepted);
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_fails_refuses_the_event_and_is_back_for_the_next() -> anyhow::Result<()> {
    let relay = puppet().set("plugins.timeout_s", 2).start()?;
    let (mut client, keys) = (Client::connect(&relay).await?, Keys::generate());
    for fault in ["exit", "silence", "stranger", "dance", "array", "flood", "endless", "deaf"] {
        let verdict = client.publish(&Draft::note(fault).sign(&keys)).await?;
        assert!(!verdict.accepted && verdict.text == INTERNAL, "{fault}: {verdict:?}");
        let note = Draft::note(format!("after {fault}")).sign(&keys);
        let verdict = client.publish(&note).await?;
        assert!(verdict.accepted, "after {fault}: {verdict:?}");
    }
    relay.check_alive()
}

#[tokio::test]
async fn what_is_no_answer_is_passed_over_and_long_answers_are_read() -> anyhow::Result<()> {
    let relay = puppet().start()?;
    let (mut client, keys) = (Client::connect(&relay).await?, Keys::generate());
    client.store(&Draft::note("junk").sign(&keys)).await?;
    let text = client.refused(&Draft::note("long").sign(&keys), "blocked").await?;
    assert_eq!(text.len(), "blocked: ".len() + 64 * 1024);
    let text = client.refused(&Draft::note("reject because").sign(&keys), "blocked").await?;
    assert_eq!(text, "blocked: because", "a machine prefix is added where there is none");
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_cannot_be_started_refuses_everything() -> anyhow::Result<()> {
    for command in ["/nowhere/plugin", "exit 1", "exec cat"] {
        let relay = Relay::settings().set("plugins.write", command).start()?;
        let (mut client, keys) = (Client::connect(&relay).await?, Keys::generate());
        for at in 0..5 {
            assert_eq!(client.refused(&Draft::note(format!("{at}")).sign(&keys), "error").await?, INTERNAL);
        }
        assert!(client.query([json!({})]).await?.is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn a_plugin_is_told_where_an_event_comes_from_and_who_sends_it() -> anyhow::Result<()> {
    let relay = puppet().start()?;
    let (mut client, keys, other) = (Client::connect(&relay).await?, Keys::generate(), Keys::generate());
    let mut at = 0;
    let mut told = async |client: &mut Client| {
        at += 1;
        let text = client.refused(&Draft::note(format!("tell {at}")).sign(&keys), "blocked").await?;
        anyhow::Ok(serde_json::from_str::<Value>(text.trim_start_matches("blocked: "))?)
    };
    let anonymous = json!({"sourceType": "IP4", "sourceInfo": "127.0.0.1", "receivedAt": "number"});
    assert_eq!(told(&mut client).await?, anonymous);
    client.authenticate(&other).await?;
    assert_eq!(told(&mut client).await?["authed"], other.public_key().to_hex());
    client.authenticate(&keys).await?;
    client.authenticate(&Keys::generate()).await?;
    assert_eq!(told(&mut client).await?["authed"], keys.public_key().to_hex(), "the author says most");
    Ok(())
}

#[tokio::test]
async fn a_changed_script_is_read_anew() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("plugin.sh");
    let source = std::fs::read_to_string(self::script("whitelist.sh"))?;
    let write = |text: &str| -> anyhow::Result<()> {
        // Moved into place, as deployments do it: nobody ever sees half of it.
        let fresh = folder.path().join("fresh");
        std::fs::write(&fresh, text)?;
        let mode = std::fs::metadata(self::script("whitelist.sh"))?.permissions();
        std::fs::set_permissions(&fresh, mode)?;
        Ok(std::fs::rename(&fresh, &script)?)
    };
    write(&source)?;
    let relay = Relay::settings().set("plugins.write", script.display()).start()?;
    let (mut client, keys) = (Client::connect(&relay).await?, Keys::generate());
    client.store(&Draft::note("ham").sign(&keys)).await?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    write(&source.replace("spam", "ham"))?;
    assert_eq!(client.refused(&Draft::note("more ham").sign(&keys), "blocked").await?, "blocked: no ham");
    client.store(&Draft::note("spam").sign(&keys)).await?;
    Ok(())
}

#[tokio::test]
async fn several_processes_share_the_authors() -> anyhow::Result<()> {
    let relay = puppet().set("plugins.write_processes", 3).start()?;
    let mut client = Client::connect(&relay).await?;
    let mut processes = std::collections::HashSet::new();
    for _ in 0..40 {
        let keys = Keys::generate();
        let mut own = std::collections::HashSet::new();
        for at in 0..2 {
            own.insert(client.refused(&Draft::note(format!("process {at}")).sign(&keys), "blocked").await?);
        }
        assert_eq!(own.len(), 1, "one author has one process");
        processes.extend(own);
    }
    assert_eq!(processes.len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_read_plugin_decides_which_questions_are_answered() -> anyhow::Result<()> {
    let relay = Relay::settings().set("plugins.read", script("puppet.mjs").display()).start()?;
    let (mut client, keys) = (Client::connect(&relay).await?, Keys::generate());
    let note = Draft::note("note").tag(["x", "fine"]).sign(&keys);
    client.store(&note).await?;
    assert_eq!(client.query([json!({"#x": ["fine"]})]).await?, [note]);
    client.request("no", &[json!({"#x": ["reject restricted: members only"]})]).await?;
    assert_eq!(client.closed("no").await?, "restricted: members only");
    client.authenticate(&keys).await?;
    client.request("why", &[json!({"#x": ["tell"]})]).await?;
    let text = client.closed("why").await?;
    let told: Value = serde_json::from_str(text.trim_start_matches("blocked: "))?;
    let expected = json!({"sourceType": "IP4", "sourceInfo": "127.0.0.1", "receivedAt": "number", "verb": "REQ",
        "subscription": "why", "authed": keys.public_key().to_hex()});
    assert_eq!(told, expected);
    client.request("broken", &[json!({"#x": ["exit"]})]).await?;
    let text = client.closed("broken").await?;
    assert_eq!((text.as_str(), prefix(&text)), (INTERNAL, Some("error")));
    assert_eq!(client.query([json!({"#x": ["fine"]})]).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn whom_a_plugin_tells_to_authenticate_gets_the_challenge_where_nobody_is_greeted() -> anyhow::Result<()> {
    let puppet = script("puppet.mjs");
    let settings = Relay::settings().set("plugins.write", puppet.display()).set("plugins.read", puppet.display());
    let relay = settings.set("access.greet", false).start()?;
    let keys = Keys::generate();
    let mut writes = Client::connect_ungreeted(relay.port()).await?;
    let text = writes.refused(&Draft::note("reject auth-required: members only").sign(&keys), "auth-required").await?;
    assert_eq!(text, "auth-required: members only");
    writes.challenged().await?;
    writes.authenticate(&keys).await?;
    let mut reads = Client::connect_ungreeted(relay.port()).await?;
    reads.request("s", &[json!({"#x": ["reject auth-required: members only"]})]).await?;
    assert_eq!(reads.closed("s").await?, "auth-required: members only");
    reads.challenged().await?;
    reads.authenticate(&keys).await?;
    Ok(())
}

#[tokio::test]
async fn plugins_end_with_the_relay_however_it_ends() -> anyhow::Result<()> {
    for stops_well in [true, false] {
        let mut relay = puppet().start()?;
        let mut client = Client::connect(&relay).await?;
        let text = client.refused(&Draft::note("process").sign(&Keys::generate()), "blocked").await?;
        let process = Path::new("/proc").join(text.trim_start_matches("blocked: "));
        assert!(process.exists());
        if stops_well {
            relay.stop()?
        } else {
            relay.kill()?
        }
        let start = Instant::now();
        while process.exists() {
            ensure!(start.elapsed() < PATIENCE, "the plugin lives on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_plugins_of_a_running_relay_can_be_changed() -> anyhow::Result<()> {
    use mercato::{config::Config, policy::Policies, store::memory::MemoryStore};
    let mut config = Config::default();
    (config.relay.port, config.market.enabled) = (0, false);
    let store = std::sync::Arc::new(MemoryStore::default());
    let relay = mercato::relay::Relay::start(config.clone(), store, Policies::default()).await?;
    let mut client = Client::connect_to(relay.address.port()).await?;
    let keys = Keys::generate();
    client.store(&Draft::note("spam 1").sign(&keys)).await?;
    config.plugins.write = script("whitelist.sh").display().to_string();
    relay.shared.policies.configure(&config.plugins);
    client.refused(&Draft::note("spam 2").sign(&keys), "blocked").await?;
    config.plugins.write = String::new();
    relay.shared.policies.configure(&config.plugins);
    client.store(&Draft::note("spam 3").sign(&keys)).await?;
    relay.stop().await
}

#[tokio::test]
async fn a_policy_can_be_asked_from_elsewhere_in_order() -> anyhow::Result<()> {
    use mercato::config::PluginsConfig;
    use mercato::policy::{Channel, Policies, Source, Verdict};
    let policies = Policies::default();
    let write = script("puppet.mjs").display().to_string();
    policies.configure(&PluginsConfig { write, ..PluginsConfig::default() });
    let event = |draft: Draft| mercato::nostr::Event::parse(&draft.sign(&Keys::generate()).to_json().to_string());
    let source = Source::link(Channel::Sync("wss://elsewhere.example"));
    let (told, held, release) =
        (event(Draft::note("tell"))?, event(Draft::note("hold"))?, event(Draft::note("release"))?);
    let Verdict::Reject(text) = policies.admit_event(&told, &source).await else { anyhow::bail!("not refused") };
    let told: Value = serde_json::from_str(text.trim_start_matches("blocked: "))?;
    assert_eq!((&told["sourceType"], &told["sourceInfo"]), (&json!("Sync"), &json!("wss://elsewhere.example")));
    let both = async { tokio::join!(policies.admit_event(&held, &source), policies.admit_event(&release, &source)) };
    let both = tokio::time::timeout(PATIENCE, both).await.context("no verdicts")?;
    assert_eq!(both, (Verdict::Accept, Verdict::Accept));
    policies.stop().await;
    Ok(())
}
