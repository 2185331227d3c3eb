//! A relay of our own, as a child process in a folder that goes with it.

use std::fs::{DirBuilder, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::client::RelayUrl;
use super::process;

/// How long a relay may take to listen, on a large store too.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long a relay that was asked to end may take.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// A folder that is removed when dropped.
#[derive(Debug)]
pub struct TempFolder(PathBuf);

impl TempFolder {
    /// Makes a folder that only this user can enter.
    ///
    /// # Errors
    /// When it exists or cannot be made.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("mercato-{name}-{}", std::process::id()));
        let made = DirBuilder::new().mode(0o700).create(&folder);
        made.with_context(|| format!("making {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // Left behind at worst; there is nobody to tell.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A relay that runs this very binary. Killed when dropped.
#[derive(Debug)]
pub struct ChildRelay {
    child: Child,
    /// Where it listens.
    pub url: RelayUrl,
}

impl ChildRelay {
    /// Starts a relay whose store lies in `folder` and waits until it listens; `sets` are `key=value`.
    ///
    /// # Errors
    /// When it does not start; the error ends with the last lines of its log.
    pub async fn start(folder: &Path, sets: &[String]) -> anyhow::Result<Self> {
        let port = free_port()?;
        let log = folder.join("relay.log");
        let child = spawn(folder, &log, port, sets)?;
        let mut relay = Self { child, url: RelayUrl::local(port) };
        match relay.wait_until_it_listens().await {
            Ok(()) => Ok(relay),
            Err(error) => bail!("{error}; its last words:\n{}", tail(&log)),
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it end in good order.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        process::terminate(self.pid());
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() > STOP_PATIENCE {
                bail!("the relay does not end");
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn wait_until_it_listens(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        while TcpStream::connect(self.url.authority()).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the relay ended: {status}");
            }
            if started.elapsed() > START_PATIENCE {
                bail!("the relay does not listen");
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

impl Drop for ChildRelay {
    fn drop(&mut self) {
        // Both fail only when it has ended already, as after `stop`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path, log: &Path, port: u16, sets: &[String]) -> anyhow::Result<Child> {
    let config = folder.join("config.toml");
    std::fs::write(&config, "").with_context(|| format!("writing {}", config.display()))?;
    let log_file = File::create(log).with_context(|| format!("writing {}", log.display()))?;
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.arg("relay").args(["--set", &format!("store.path={}", folder.join("data").display())]);
    command.args(["--set", &format!("relay.port={port}"), "--set", "relay.bind=127.0.0.1"]);
    for set in sets {
        command.args(["--set", set]);
    }
    // An operator's own configuration has no say in what is measured here.
    command.env("MERCATO_CONFIG", &config).current_dir(folder);
    command.stdin(Stdio::null()).stdout(log_file.try_clone()?).stderr(log_file);
    command.spawn().context("starting a relay")
}

/// A port that is free now. Nobody is likely to take it in the moment until the relay does.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    const LINES: usize = 5;
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
    last.join("\n")
}
