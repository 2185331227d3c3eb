//! What links follow: every public event that was just committed, in the order of storing.
//!
//! It holds the last `KEPT` events for all links together. A link that falls further behind is told so, and finds what
//! it missed in the store, by sequence: nothing is lost, and nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::broadcast;

use super::recent::Recent;
use crate::nostr::{Event, EventId};

/// Events kept for links that are behind.
const KEPT: usize = 1_024;
/// Ephemeral events remembered, so that a ring of links does not hand one round for ever.
const EPHEMERAL: usize = 16_384;

/// An event that everyone may read.
#[derive(Debug, Clone)]
pub struct Fed {
    pub sequence: u64,
    pub event: Arc<Event>,
}

#[derive(Debug)]
pub struct Feed {
    sender: broadcast::Sender<Fed>,
    /// Links of any direction.
    links: AtomicUsize,
    passed: Recent,
}

impl Feed {
    pub fn new() -> Self {
        Self { sender: broadcast::Sender::new(KEPT), links: AtomicUsize::new(0), passed: Recent::new(EPHEMERAL) }
    }

    /// Whether there is no link, and so nobody to tell.
    pub fn is_idle(&self) -> bool {
        self.links.load(Ordering::SeqCst) == 0
    }

    /// Hands on a public event that was committed, or that passes without being kept.
    pub fn publish(&self, event: &Event, sequence: u64) {
        if self.is_idle() {
            return;
        }
        if self.sender.receiver_count() > 0 {
            // Nobody listens any more: nobody misses it.
            let _ = self.sender.send(Fed { sequence, event: Arc::new(event.clone()) });
        }
    }

    /// Whether an ephemeral event passed here lately. Only the store knows others again.
    pub fn has_passed(&self, id: &EventId) -> bool {
        self.passed.contains(id)
    }

    /// Notes an ephemeral event whose signature was checked; false when it passed before, by another link.
    pub fn note(&self, id: EventId) -> bool {
        self.passed.note(id)
    }

    /// A link's place: while it is held, events are handed on.
    pub fn join(self: &Arc<Self>) -> Joined {
        self.links.fetch_add(1, Ordering::SeqCst);
        Joined(self.clone())
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self::new()
    }
}

/// See `Feed::join`.
#[derive(Debug)]
pub struct Joined(Arc<Feed>);

impl Joined {
    /// Events committed from now on.
    pub fn follow(&self) -> broadcast::Receiver<Fed> {
        self.0.sender.subscribe()
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.0.links.fetch_sub(1, Ordering::SeqCst);
    }
}
