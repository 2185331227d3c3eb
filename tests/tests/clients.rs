//! Clients that others wrote, each as its users use it, against the real relay: publish, query, subscribe live,
//! authenticate. Nothing of them is adapted to this relay.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use mercato_tests::client::PATIENCE;
use mercato_tests::event::Event;
use mercato_tests::market::{Lease, advert, request};
use mercato_tests::relay::Shared;
use mercato_tests::{Draft, Keys, Relay};
use nostr_sdk::prelude::{
    Client, EventBuilder, Filter, JsonUtil, Kind, RelayPoolNotification, SingleLetterTag, Tag, Timestamp,
};
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

static RELAY: Shared = Shared::new();

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/js")
}

/// Runs a script under Node and fails with what it printed.
fn run_script(script: &str) -> anyhow::Result<()> {
    let folder = scripts();
    let modules = folder.join("node_modules");
    ensure!(
        modules.is_dir(),
        "{} is not there; `make test` installs it (npm ci --prefix tests/clients/js)",
        modules.display()
    );
    let relay = RELAY.get()?;
    let output = Command::new("node").arg(folder.join(script)).arg(relay.url()).env("DEBUG", "ndk:*").output();
    check(&output.context("node cannot be started; `make test` installs it")?)
}

fn check(output: &Output) -> anyhow::Result<()> {
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{}\n{said}{errors}", output.status);
    Ok(())
}

#[test]
fn nostr_tools_publishes_queries_subscribes_and_authenticates() -> anyhow::Result<()> {
    run_script("nostr-tools.mjs")
}

#[test]
fn ndk_publishes_queries_subscribes_and_authenticates() -> anyhow::Result<()> {
    run_script("ndk.mjs")
}

#[test]
fn ws_and_node_itself_send_and_take_compressed_messages() -> anyhow::Result<()> {
    run_script("deflate.mjs")
}

#[test]
fn private_jobs_are_read_by_their_customer_and_leaseholder_only() -> anyhow::Result<()> {
    run_script("private.mjs")
}

/// The client of rust-nostr, connected. It answers the relay's challenge by itself.
async fn sdk(relay: &Relay, keys: &Keys) -> anyhow::Result<Client> {
    let client = Client::builder().signer(keys.clone()).build();
    client.add_relay(relay.url()).await?;
    client.connect().await;
    client.wait_for_connection(PATIENCE).await;
    Ok(client)
}

/// Waits for an event of any subscription that fulfils a condition.
async fn next_event(
    notifications: &mut Receiver<RelayPoolNotification>,
    what: &str,
    is_it: impl Fn(&Event) -> bool,
) -> anyhow::Result<Event> {
    let wait = async {
        loop {
            if let RelayPoolNotification::Event { event, .. } = notifications.recv().await? {
                let event = Event::from_json(&serde_json::from_str(&event.as_json())?)?;
                if is_it(&event) {
                    return anyhow::Ok(event);
                }
            }
        }
    };
    timeout(PATIENCE, wait).await.with_context(|| format!("waiting for {what}"))?
}

fn to_sdk(event: &Event) -> anyhow::Result<nostr_sdk::Event> {
    Ok(nostr_sdk::Event::from_json(event.to_json().to_string())?)
}

async fn send(client: &Client, event: &Event) -> anyhow::Result<()> {
    let output = client.send_event(&to_sdk(event)?).await?;
    ensure!(output.failed.is_empty() && output.success.len() == 1, "not taken: {:?}", output.failed);
    Ok(())
}

#[tokio::test]
async fn nostr_sdk_publishes_queries_subscribes_and_authenticates() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let (keys, other) = (Keys::generate(), Keys::generate());
    let (client, publisher) = (sdk(&relay, &keys).await?, sdk(&relay, &other).await?);

    let output = client.send_event_builder(EventBuilder::text_note("hello").tag(Tag::hashtag("sdk"))).await?;
    ensure!(output.failed.is_empty(), "{:?}", output.failed);
    let filter = Filter::new().author(keys.public_key()).hashtag("sdk");
    let found = client.fetch_events(filter, PATIENCE).await?;
    ensure!(found.len() == 1 && found.first().is_some_and(|event| event.id == output.val), "{found:?}");

    let mut notifications = client.notifications();
    client
        .subscribe(Filter::new().author(other.public_key()).kind(Kind::TextNote).since(Timestamp::now()), None)
        .await?;
    let live = Draft::note("live").sign(&other);
    send(&publisher, &live).await?;
    next_event(&mut notifications, "the live note", |event| *event == live).await?;

    let protected = Draft::note("for me to publish only").tag(["-"]).sign(&keys);
    send(&client, &protected).await?;
    let refused = client.send_event(&to_sdk(&Draft::note("not mine").tag(["-"]).sign(&other))?).await;
    ensure!(refused.is_err() || refused.is_ok_and(|output| output.success.is_empty()), "taken from a stranger");
    client.shutdown().await;
    publisher.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn nostr_sdk_takes_a_job_from_advert_to_result() -> anyhow::Result<()> {
    const KIND: u16 = 5_050;
    let relay = RELAY.get()?;
    let (provider_keys, customer_keys) = (Keys::generate(), Keys::generate());
    let (provider, customer) = (sdk(&relay, &provider_keys).await?, sdk(&relay, &customer_keys).await?);

    let mut to_provider = provider.notifications();
    let own = Filter::new().kind(Kind::from(7_000)).pubkey(provider_keys.public_key());
    provider.subscribe(own, None).await?;
    provider.subscribe(Filter::new().kind(Kind::from(KIND)).limit(0), None).await?;
    send(&provider, &advert(KIND).sign(&provider_keys)).await?;

    let job = request(KIND).tag(["param", "language", "en"]).sign(&customer_keys);
    let mut to_customer = customer.notifications();
    customer
        .subscribe(Filter::new().custom_tag(SingleLetterTag::lowercase(nostr_sdk::Alphabet::E), &job.id), None)
        .await?;
    send(&customer, &job).await?;

    let told = next_event(&mut to_provider, "the lease", |event| event.value("status") == Some("assigned")).await?;
    let lease = Lease::read(&told)?.context("a lease")?;
    ensure!(lease.job == job.id && lease.provider == provider_keys.public_key().to_hex(), "another lease: {lease:?}");
    next_event(&mut to_customer, "the lease, at the customer", |event| *event == told).await?;

    send(&provider, &lease.feedback("processing").sign(&provider_keys)).await?;
    next_event(&mut to_customer, "processing", |event| event.value("status") == Some("processing")).await?;
    let result = lease.result(KIND).sign(&provider_keys);
    send(&provider, &result).await?;
    next_event(&mut to_customer, "the result", |event| *event == result).await?;
    let is_end = |event: &Event| event.value("result") == Some(&*result.id) && event.kind == 7_000;
    next_event(&mut to_customer, "the end", is_end).await?;
    provider.shutdown().await;
    customer.shutdown().await;
    Ok(())
}

/// Where nak is: named by `$NAK`, built by `make nak`, or on the path.
fn nak() -> Option<PathBuf> {
    let named = std::env::var_os("NAK").map(PathBuf::from);
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/bin/nak");
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut places =
        named.into_iter().chain([built]).chain(std::env::split_paths(&on_path).map(|folder| folder.join("nak")));
    places.find(|place| place.is_file())
}

/// Runs nak with nothing on its stdin, bounded in time; what it printed.
async fn run_nak(nak: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = tokio::process::Command::new(nak);
    command.args(arguments).stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = timeout(Duration::from_secs(30), command.output()).await;
    let output = output.with_context(|| format!("nak {arguments:?} does not end"))?.context("starting nak")?;
    check(&output).with_context(|| format!("nak {arguments:?}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn nak_publishes_queries_and_authenticates() -> anyhow::Result<()> {
    let Some(nak) = nak() else {
        eprintln!("nak is absent; `make nak` builds it");
        return Ok(());
    };
    let relay = RELAY.get()?;
    let (secret, url) = (Keys::generate().secret_key().to_secret_hex(), relay.url());
    let published = run_nak(&nak, &["event", "--sec", &secret, "-c", "from nak", "-t", "t=nak", &url]).await?;
    let event = Event::from_json(&serde_json::from_str(published.trim()).context("nak prints what it published")?)?;
    for filter in [vec!["-i", &event.id], vec!["-a", &event.pubkey, "-t", "t=nak", "-k", "1"]] {
        let found = run_nak(&nak, &[vec!["req"], filter, vec![&url]].concat()).await?;
        let lines: Vec<&str> = found.lines().filter(|line| line.starts_with('{')).collect();
        let [line] = lines[..] else { bail!("one event was expected: {found}") };
        ensure!(Event::from_json(&serde_json::from_str(line)?)? == event, "another event came back: {line}");
    }
    let guarded = run_nak(&nak, &["event", "--auth", "--sec", &secret, "-c", "guarded", "-t", "-", &url]).await?;
    let guarded = Event::from_json(&serde_json::from_str(guarded.trim()).context("nak prints what it published")?)?;
    let found = run_nak(&nak, &["req", "-i", &guarded.id, &url]).await?;
    ensure!(found.contains(&guarded.id), "nak did not authenticate: {found}");
    Ok(())
}
