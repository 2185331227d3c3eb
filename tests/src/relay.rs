//! The real binary, started in a folder of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

/// How long the relay may take to listen, and to stop.
const START: Duration = Duration::from_secs(30);
/// Lines of the log kept for whoever has to read why a test failed.
const LOG_LINES: usize = 200;

/// A running relay; killed when dropped.
pub struct Relay {
    settings: Settings,
    port: u16,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// Last, so that the process is gone before its folder is.
    folder: TempDir,
}

/// What a relay is started with.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    sets: Vec<String>,
    file: Option<PathBuf>,
    variables: Vec<(String, PathBuf)>,
}

impl Settings {
    /// Adds `--set key=value`.
    pub fn set(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.sets.push(format!("{key}={value}"));
        self
    }

    /// Adds `--config file`.
    pub fn config(mut self, file: &Path) -> Self {
        self.file = Some(file.to_owned());
        self
    }

    /// Sets a variable of the process's environment to a path.
    pub fn variable(mut self, name: &str, path: &Path) -> Self {
        self.variables.push((name.to_owned(), path.to_owned()));
        self
    }

    pub fn start(self) -> anyhow::Result<Relay> {
        Relay::start(self)
    }
}

/// One relay for all tests of a file, for as long as any of them runs.
///
/// A static would never be dropped, and its process would outlive the tests.
pub struct Shared(Mutex<Weak<Relay>>);

impl Shared {
    pub const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    pub fn get(&self) -> anyhow::Result<Lent> {
        self.get_with(Settings::default)
    }

    /// Starts the relay if none runs; every caller must give the same settings.
    pub fn get_with(&self, settings: impl FnOnce() -> Settings) -> anyhow::Result<Lent> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(relay) = running.upgrade() {
            return Ok(Lent(relay));
        }
        let relay = Arc::new(settings().start()?);
        *running = Arc::downgrade(&relay);
        Ok(Lent(relay))
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self::new()
    }
}

/// A shared relay in the hands of one test, which shows the log should it fail.
pub struct Lent(Arc<Relay>);

impl std::ops::Deref for Lent {
    type Target = Relay;

    fn deref(&self) -> &Relay {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.show_log();
    }
}

impl Relay {
    pub fn settings() -> Settings {
        Settings::default()
    }

    pub fn start(settings: Settings) -> anyhow::Result<Self> {
        Self::start_in(tempfile::tempdir().context("making a folder for the relay")?, settings)
    }

    /// Starts on a folder that may hold a store already.
    pub fn start_in(folder: TempDir, settings: Settings) -> anyhow::Result<Self> {
        let log = Arc::default();
        let (child, port) = launch(folder.path(), 0, &settings, &log)?;
        Ok(Self { settings, port, child, log, folder })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it runs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the store of a relay that runs in `folder`.
    pub fn store_in(folder: &Path) -> PathBuf {
        folder.join("store")
    }

    /// Ends the process as a power cut would.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().context("killing the relay")?;
        self.child.wait().context("waiting for the killed relay")?;
        Ok(())
    }

    /// Starts the process again on the same store and port.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let (child, port) = launch(self.folder.path(), self.port, &self.settings, &self.log)?;
        ensure!(port == self.port, "the relay came back on another port");
        self.child = child;
        Ok(())
    }

    /// Asks the process to end, waits until it has, and fails if it does not end well.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().context("running kill")?;
        ensure!(sent.success(), "kill failed");
        self.await_end()
    }

    /// The lines of the log that are kept.
    pub fn log(&self) -> String {
        lock(&self.log).join("\n")
    }

    /// Waits until the process has ended, and fails if it does not end well.
    pub fn await_end(&mut self) -> anyhow::Result<()> {
        let asked = Instant::now();
        while asked.elapsed() < START {
            if let Some(status) = self.child.try_wait().context("waiting for the relay")? {
                ensure!(status.success(), "the relay ended with {status}");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the relay did not stop")
    }

    /// Fails when the process has ended.
    pub fn check_alive(&self) -> anyhow::Result<()> {
        self.rss_bytes().map(drop)
    }

    /// Memory that the process holds.
    pub fn rss_bytes(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(&path).with_context(|| format!("the relay is gone: {path}"))?;
        // A process that has ended but was not waited for has no such line.
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the relay has ended")?;
        let kib = line.trim().strip_suffix("kB").context("VmRSS in another unit")?;
        Ok(kib.trim().parse::<u64>().context("VmRSS is not a number")? * 1_024)
    }

    /// Captured by the test harness, which shows it for tests that fail.
    fn show_log(&self) {
        let lines = lock(&self.log);
        eprintln!("-- the relay's log, last {} lines", lines.len());
        for line in lines.iter() {
            eprintln!("{line}");
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may have ended already; there is nothing more to do about it here.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.show_log();
    }
}

/// The binary that was built beside these tests.
pub fn binary() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("asking for the path of the test itself")?;
    let profile = own.parent().and_then(Path::parent).context("the test lies in no target folder")?;
    let binary = profile.join("mercato");
    let text = "is not there; build it first: cargo build --release --locked --workspace";
    ensure!(binary.is_file(), "{} {text}", binary.display());
    Ok(binary)
}

/// A process that ends when it is dropped.
pub struct Running(Child);

impl Running {
    /// A verb of the binary.
    pub fn new(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(binary()?);
        command.args(arguments).env_remove("MERCATO_CONFIG").stdout(Stdio::null());
        Self::start(command)
    }

    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).spawn().map(Self).context("starting a process")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; there is nothing more to do about it here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs another verb of the binary to its end with `input` on its stdin; its stdout.
pub fn run_verb(arguments: &[&str], input: &[u8]) -> anyhow::Result<String> {
    let output = try_verb(arguments, input)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "mercato {arguments:?} ended with {}: {errors}", output.status);
    eprintln!("{errors}");
    String::from_utf8(output.stdout).context("the binary wrote something that is not UTF-8")
}

/// The same for a verb that may fail.
pub fn try_verb(arguments: &[&str], input: &[u8]) -> anyhow::Result<Output> {
    let mut command = Command::new(binary()?);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("starting the binary")?;
    let mut stdin = child.stdin.take().context("no way to the binary's stdin")?;
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output()
    });
    output.context("waiting for the binary")
}

fn launch(
    folder: &Path,
    port: u16,
    settings: &Settings,
    log: &Arc<Mutex<Vec<String>>>,
) -> anyhow::Result<(Child, u16)> {
    let mut command = Command::new(binary()?);
    command.arg("relay").args(["--set", &format!("store.path={}", Relay::store_in(folder).display())]);
    command.args(["--set", &format!("relay.port={port}")]);
    if let Some(file) = &settings.file {
        command.arg("--config").arg(file);
    }
    for set in &settings.sets {
        command.args(["--set", set]);
    }
    command.envs(settings.variables.iter().cloned());
    // A configuration of the machine must not change what is tested.
    command.current_dir(folder).env_remove("MERCATO_CONFIG").env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("starting the relay")?;
    let errors = child.stderr.take().context("no way to the relay's stderr")?;
    let (listening, heard) = sync_channel(1);
    let keep = log.clone();
    std::thread::spawn(move || follow(BufReader::new(errors), &listening, &keep));
    match heard.recv_timeout(START) {
        Ok(port) => Ok((child, port)),
        Err(error) => {
            let _ = child.kill();
            let status = child.wait();
            let what = match error {
                RecvTimeoutError::Timeout => "does not listen",
                RecvTimeoutError::Disconnected => "ended at once",
            };
            bail!("the relay {what} ({status:?}), its log: {}", lock(log).join("\n"))
        }
    }
}

/// Keeps the log and tells the port once it is there.
fn follow(lines: impl BufRead, listening: &SyncSender<u16>, log: &Mutex<Vec<String>>) {
    for line in lines.lines().map_while(Result::ok) {
        if let Some(port) = listening_port(&line) {
            // Nobody waits any more after the first.
            let _ = listening.try_send(port);
        }
        let mut kept = lock(log);
        if kept.len() == LOG_LINES {
            kept.remove(0);
        }
        kept.push(line);
    }
}

fn listening_port(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("listening on ws")?;
    let rest = rest.trim_start_matches('s').strip_prefix("://127.0.0.1:")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
