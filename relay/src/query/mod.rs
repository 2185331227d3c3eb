//! Questions about stored events: answered in slices, in turn, and never faster than the client reads.
//!
//! Every connection has one lane of work, done in order. Lanes that have work stand in one queue; a
//! thread takes the first, runs one slice of its first work, and puts the lane at the end: a deep query
//! of one client costs another no more than a slice. A lane whose client is behind with reading rests
//! until it has caught up.

mod count;
mod found;
mod hll;
mod negentropy;
mod pool;
mod req;

pub use count::Count;
pub use negentropy::{NegMsg, NegOpen};
pub use pool::{Lane, QueryPool};
pub use req::Req;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::connection::Connection;
use crate::metrics::Asked;
use crate::nostr::{EventId, Filter};
use crate::policy::Readers;
use crate::store::{Store, StoreError};

/// Index entries looked at in one slice.
pub const SLICE: u32 = 512;

/// What every question is answered from.
pub struct Library {
    pub store: Arc<dyn Store>,
    pub readers: Arc<Readers>,
    /// Stored events answered to one filter at most.
    pub max_limit: u64,
    /// Stored events counted in answer to one COUNT at most.
    pub max_count: u64,
    /// The index for searches (NIP-50), where there is one.
    pub finder: Option<Arc<dyn Finder>>,
}

/// Guesses which stored events speak of what a filter searches.
pub trait Finder: Send + Sync {
    /// Up to `limit` ids, best first, behind the first `offset`. Some may have gone, or not fit the filter.
    fn find(&self, filter: &Filter, offset: usize, limit: usize) -> anyhow::Result<Vec<EventId>>;

    /// Ends once what was handed over is in the index, and lets go of the store.
    fn stop(&self);
}

/// A question on its way, for the pool to run in slices.
pub trait Work: Send + std::fmt::Debug {
    /// Does a bounded part of the work; what there is to say goes to the outbox of `connection`. True when it is done.
    fn advance(&mut self, library: &Library, connection: &Connection) -> Result<bool, StoreError>;

    /// Tells the client, with an `error:`, that the store could not be read.
    fn fail(&self, connection: &Connection);

    /// What it counts as.
    fn asked(&self) -> Asked {
        Asked::Req
    }

    /// Whether the client has given up on it: nothing more is said.
    fn cancelled(&self) -> &Cancelled;
}

/// The client's side of giving up on a question.
#[derive(Debug, Clone, Default)]
pub struct Cancelled(Arc<AtomicBool>);

impl Cancelled {
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
