//! Set reconciliation (NIP-77).

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::negentropy::reconcile::MIN_FRAME_BYTES;
use crate::negentropy::trees::MAX_TREES;
use crate::nostr::{Filter, FilterLimits};

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct NegentropyConfig {
    /// Whether clients may reconcile with this relay.
    pub enabled: bool,
    /// Filters for which a tree is kept, as JSON.
    pub filters: Vec<String>,
    /// Memory for all trees, in MiB.
    pub max_tree_mib: usize,
    /// Reconciliations open on one connection.
    pub max_sessions: usize,
    /// Memory for the sets of all reconciliations under way, in MiB.
    pub max_session_mib: usize,
    /// How long a client may take for its next message.
    pub idle_s: u64,
    /// Bytes of one message of the relay; hex doubles them.
    pub frame_bytes: usize,
}

impl Default for NegentropyConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            filters: vec!["{}".to_owned()],
            max_tree_mib: 512,
            max_sessions: 20,
            max_session_mib: 256,
            idle_s: 120,
            frame_bytes: 60_000,
        }
    }
}

impl NegentropyConfig {
    /// The filters of trees, each of which was checked.
    pub fn tree_filters(&self) -> anyhow::Result<Vec<Filter>> {
        self.filters.iter().map(|text| tree_filter(text)).collect()
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.filters.len() <= MAX_TREES, "negentropy.filters may hold {MAX_TREES} filters at most");
        ensure!(self.max_sessions >= 1, "negentropy.max_sessions must be 1 or more");
        ensure!(self.idle_s >= 1, "negentropy.idle_s must be 1 or more");
        ensure!(self.frame_bytes >= MIN_FRAME_BYTES, "negentropy.frame_bytes must be {MIN_FRAME_BYTES} or more");
        self.tree_filters().map(drop)
    }
}

/// A filter that a tree may be kept for: one without times and limit, which a tree answers by itself.
pub fn tree_filter(text: &str) -> anyhow::Result<Filter> {
    let limits = FilterLimits { max_elements: usize::MAX, max_tags: usize::MAX };
    let filter = Filter::parse(text, limits).with_context(|| format!("negentropy filter {text}"))?;
    let timeless = filter.since.is_none() && filter.until.is_none() && filter.limit.is_none();
    ensure!(timeless, "negentropy filter {text}: a tree has no since, until or limit");
    Ok(filter)
}
