//! The examples of docs/examples run as they stand, a provider in each language and the customer in ten lines, where what they
//! need is installed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mercato_tests::client::Client;
use mercato_tests::{Keys, Relay};
use serde_json::json;

/// How long a provider may take to start, and a job to end.
const PATIENCE: Duration = Duration::from_secs(30);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where nak is: named by `$NAK`, built by `make nak`, or on the path.
fn nak() -> Option<PathBuf> {
    let built = root().join("tests/clients/bin/nak");
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::var_os("NAK").map(PathBuf::from).into_iter().chain([built]);
    let mut places = places.chain(std::env::split_paths(&on_path).map(|folder| folder.join("nak")));
    places.find(|place| place.is_file())
}

fn has(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let ran = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ran.is_ok_and(|status| status.success())
}

/// A process and those that it started, ended when dropped.
struct Group(Child);

impl Group {
    fn spawn(mut command: Command) -> anyhow::Result<Self> {
        use std::os::unix::process::CommandExt;
        let child = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        child.map(Self).with_context(|| format!("starting {command:?}"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The group has the child's number, which nobody else can have before the child is waited for.
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.0.wait();
    }
}

/// Runs a provider, waits for its advert, and has the customer of docs/examples ask it.
async fn try_out(provider: impl FnOnce(&Relay, &str) -> Command) -> anyhow::Result<()> {
    let Some(nak) = nak().filter(|_| has("jq", &["--version"])) else {
        eprintln!("skipped: the customer needs nak (`make nak` builds it) and jq");
        return Ok(());
    };
    let (relay, keys) = (Relay::settings().start()?, Keys::generate());
    let mut command = provider(&relay, &keys.secret_key().to_secret_hex());
    command.env("NAK", &nak);
    let _provider = Group::spawn(command)?;
    let mut client = Client::connect(&relay).await?;
    let advert = json!({"kinds": [31_990], "authors": [keys.public_key().to_hex()]});
    let began = Instant::now();
    while client.query([advert.clone()]).await?.is_empty() {
        ensure!(began.elapsed() < PATIENCE, "the provider does not advertise");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut customer = tokio::process::Command::new(root().join("docs/examples/customer.sh"));
    customer.args([relay.url().as_str(), "hello, relay"]).env("NAK", &nak).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, customer.output()).await.context("the customer waits in vain")??;
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(said.trim() == "HELLO, RELAY", "the customer got {said:?}; {errors}");
    ensure!(errors.contains("assigned") && errors.contains("processing"), "the customer was told {errors:?}");
    Ok(())
}

#[tokio::test]
async fn a_provider_in_shell_and_a_customer_in_ten_lines() -> anyhow::Result<()> {
    try_out(|relay, secret| {
        let mut command = Command::new(root().join("docs/examples/provider.sh"));
        command.args([&relay.url(), secret]);
        command
    })
    .await
}

#[tokio::test]
async fn a_provider_in_javascript() -> anyhow::Result<()> {
    let modules = root().join("tests/clients/js/node_modules");
    if !modules.is_dir() {
        eprintln!("skipped: {} is not there; `make test` installs it", modules.display());
        return Ok(());
    }
    // Node looks for packages beside the script.
    let folder = tempfile::tempdir()?;
    std::os::unix::fs::symlink(modules.canonicalize()?, folder.path().join("node_modules"))?;
    let script = folder.path().join("provider.mjs");
    std::fs::copy(root().join("docs/examples/provider.mjs"), &script)?;
    try_out(|relay, secret| {
        let mut command = Command::new("node");
        command.arg(&script).args([&relay.url(), secret]);
        command
    })
    .await
}

#[tokio::test]
async fn a_provider_in_python() -> anyhow::Result<()> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !has(&python, &["-c", "import coincurve, websockets"]) {
        eprintln!("skipped: {python} has no coincurve and websockets (pip install coincurve websockets)");
        return Ok(());
    }
    try_out(|relay, secret| {
        let mut command = Command::new(&python);
        command.arg(root().join("docs/examples/provider.py")).args([&relay.url(), secret]);
        command
    })
    .await
}
