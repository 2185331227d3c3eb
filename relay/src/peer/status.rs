//! What a link has done, for whoever asks.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::{Deserialize, Serialize};

use super::router::file::Direction;
use crate::clock::now_s;
use crate::nostr::EventId;

/// One link, now.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct LinkInfo {
    /// Section of the router file.
    pub stream: String,
    pub url: String,
    pub dir: Direction,
    pub state: LinkState,
    /// Seconds since 1970, when it came into this state.
    pub since_s: u64,
    /// Connections that opened so far.
    pub connections: u64,
    pub down: DownCounts,
    pub up: UpCounts,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    Connecting,
    /// Connected, and fetching or sending what was missed.
    CatchingUp,
    Live,
    /// Not connected, and why; tries again by itself.
    Waiting(String),
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("connecting"),
            Self::CatchingUp => f.write_str("connected"),
            Self::Live => f.write_str("in sync"),
            Self::Waiting(why) => write!(f, "not connected: {why}"),
        }
    }
}

/// Events from the peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct DownCounts {
    pub received: u64,
    pub stored: u64,
    /// Already here.
    pub known: u64,
    /// Not what we keep.
    pub refused: u64,
    /// Not valid, or not asked for.
    pub bad: u64,
}

/// Events to the peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct UpCounts {
    pub accepted: u64,
    pub refused: u64,
}

/// Counts of one link, bumped from its own task.
#[derive(Debug)]
pub struct Status {
    stream: String,
    url: String,
    dir: Direction,
    state: Mutex<(LinkState, u64)>,
    /// Whether each event that is refused is worth a line of the log.
    verbose: AtomicBool,
    connections: AtomicU64,
    received: AtomicU64,
    stored: AtomicU64,
    known: AtomicU64,
    refused_down: AtomicU64,
    bad: AtomicU64,
    accepted: AtomicU64,
    refused_up: AtomicU64,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    Received,
    Stored,
    Known,
    RefusedDown,
    Bad,
    Accepted,
    RefusedUp,
}

impl Status {
    pub fn new(stream: &str, url: &str, dir: Direction) -> Self {
        Self {
            stream: stream.to_owned(),
            url: url.to_owned(),
            dir,
            state: Mutex::new((LinkState::Connecting, now_s())),
            verbose: AtomicBool::new(false),
            connections: AtomicU64::default(),
            received: AtomicU64::default(),
            stored: AtomicU64::default(),
            known: AtomicU64::default(),
            refused_down: AtomicU64::default(),
            bad: AtomicU64::default(),
            accepted: AtomicU64::default(),
            refused_up: AtomicU64::default(),
        }
    }

    /// Counts one more; how many that makes.
    pub fn count(&self, what: Count) -> u64 {
        let counter = match what {
            Count::Received => &self.received,
            Count::Stored => &self.stored,
            Count::Known => &self.known,
            Count::RefusedDown => &self.refused_down,
            Count::Bad => &self.bad,
            Count::Accepted => &self.accepted,
            Count::RefusedUp => &self.refused_up,
        };
        counter.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn set_verbose(&self, verbose: bool) {
        self.verbose.store(verbose, Ordering::Relaxed);
    }

    /// Logs what became of one event.
    pub fn tell(&self, what: &'static str, id: &EventId, text: &str) {
        if self.verbose.load(Ordering::Relaxed) {
            tracing::info!(stream = self.stream, url = self.url, %id, text, "{what}");
        } else {
            tracing::debug!(stream = self.stream, url = self.url, %id, text, "{what}");
        }
    }

    /// Changes the state, and logs the change.
    pub fn enter(&self, state: LinkState) {
        let mut current = self.lock();
        if current.0 == state {
            return;
        }
        match &state {
            LinkState::Connecting => {
                tracing::debug!(stream = self.stream, url = self.url, "connecting");
            }
            LinkState::CatchingUp => {
                self.connections.fetch_add(1, Ordering::Relaxed);
                tracing::info!(stream = self.stream, url = self.url, "connected");
            }
            LinkState::Live => tracing::info!(stream = self.stream, url = self.url, "in sync"),
            LinkState::Waiting(why) => tracing::warn!(stream = self.stream, url = self.url, why, "not connected"),
        }
        *current = (state, now_s());
    }

    pub fn info(&self) -> LinkInfo {
        let (state, since_s) = self.lock().clone();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LinkInfo {
            stream: self.stream.clone(),
            url: self.url.clone(),
            dir: self.dir,
            state,
            since_s,
            connections: read(&self.connections),
            down: DownCounts {
                received: read(&self.received),
                stored: read(&self.stored),
                known: read(&self.known),
                refused: read(&self.refused_down),
                bad: read(&self.bad),
            },
            up: UpCounts { accepted: read(&self.accepted), refused: read(&self.refused_up) },
        }
    }

    fn lock(&self) -> MutexGuard<'_, (LinkState, u64)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every link of a process.
#[derive(Debug, Default)]
pub struct Links(Mutex<Vec<Weak<Status>>>);

impl Links {
    pub fn add(&self, status: &Arc<Status>) {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|link| link.strong_count() > 0);
        links.push(Arc::downgrade(status));
    }

    pub fn info(&self) -> Vec<LinkInfo> {
        let links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.iter().filter_map(Weak::upgrade).map(|status| status.info()).collect()
    }
}
