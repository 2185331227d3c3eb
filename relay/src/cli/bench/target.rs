//! The relay that is measured: one of our own, or another at `--url`.

use std::time::{Duration, Instant};

use super::Common;
use super::child::{ChildRelay, TempFolder};
use super::client::RelayUrl;
use super::process;

/// How long a relay may take to come to rest.
const SETTLING: Duration = Duration::from_secs(120);
/// How long it is looked at, and what part of a core it may use then.
const GLANCE: Duration = Duration::from_millis(500);
const QUIET: f64 = 0.05;

/// The relay under test; ends and vanishes with this value when it is our own.
pub struct Target {
    pub url: RelayUrl,
    /// Its process, when known.
    pid: Option<u32>,
    /// Dropped in this order: the relay first, then its folder.
    _own: Option<(ChildRelay, TempFolder)>,
}

impl Target {
    /// Takes the relay at `--url`, or starts one on an empty store.
    ///
    /// # Errors
    /// When a relay cannot be started.
    pub async fn open(common: &Common) -> anyhow::Result<Self> {
        if let Some(url) = &common.url {
            return Ok(Self { url: url.clone(), pid: common.pid, _own: None });
        }
        let folder = TempFolder::new("bench")?;
        let relay = ChildRelay::start(folder.path(), &common.set).await?;
        Ok(Self { url: relay.url.clone(), pid: Some(relay.pid()), _own: Some((relay, folder)) })
    }

    /// Its process, when known.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Anonymous memory in MiB, when the process is known and ours to look at.
    pub fn anonymous_mib(&self) -> Option<f64> {
        self.pid.and_then(|pid| process::anonymous_mib(pid).ok())
    }

    /// Waits until the relay has done what it puts off, as merging files: that belongs to the load, not to what is measured
    /// next. Not for ever, and not at all when its process is not known.
    pub async fn settle(&self) {
        let begun = Instant::now();
        while begun.elapsed() < SETTLING {
            let watch = self.watch();
            tokio::time::sleep(GLANCE).await;
            if watch.read().cpu_s.is_none_or(|cpu_s| cpu_s < GLANCE.as_secs_f64() * QUIET) {
                return;
            }
        }
    }

    /// Starts counting time and processor time.
    pub fn watch(&self) -> Watch {
        Watch { pid: self.pid, cpu_s: cpu_s(self.pid), started: Instant::now() }
    }
}

/// A stop-watch for a relay's work.
pub struct Watch {
    pid: Option<u32>,
    cpu_s: Option<f64>,
    started: Instant,
}

/// What a piece of work took.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    pub wall_s: f64,
    /// The relay's processor time; `None` when its process is not known.
    pub cpu_s: Option<f64>,
}

impl Watch {
    /// What was spent since the start.
    pub fn read(&self) -> Spent {
        let wall_s = self.started.elapsed().as_secs_f64();
        let cpu_s = self.cpu_s.zip(cpu_s(self.pid)).map(|(before_s, now_s)| now_s - before_s);
        Spent { wall_s, cpu_s }
    }
}

impl Spent {
    /// Processor time of one of `count` pieces, in microseconds.
    pub fn cpu_us_each(&self, count: u64) -> Option<f64> {
        self.cpu_s.filter(|_| count > 0).map(|cpu_s| cpu_s * 1e6 / count as f64)
    }

    /// Pieces a second.
    pub fn rate(&self, count: u64) -> f64 {
        count as f64 / self.wall_s
    }
}

fn cpu_s(pid: Option<u32>) -> Option<f64> {
    pid.and_then(|pid| process::cpu_s(pid).ok())
}
