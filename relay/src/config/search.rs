//! Full-text search.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

/// Memory that the index's writer needs at least, in MiB.
const MIN_MEMORY_MIB: usize = 15;

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchConfig {
    /// Whether there is an index (NIP-50).
    pub enabled: bool,
    /// Which kinds are indexed; empty: all that are public.
    pub kinds: Vec<u16>,
    /// Memory for what is not yet on disk, in MiB.
    pub memory_mib: usize,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self { enabled: false, kinds: vec![0, 1, 11, 1111, 9802, 30_023, 30_402, 31_990], memory_mib: 32 }
    }
}

impl SearchConfig {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.memory_mib >= MIN_MEMORY_MIB, "search.memory_mib must be {MIN_MEMORY_MIB} or more");
        ensure!(
            !self.enabled || cfg!(feature = "search"),
            "search.enabled needs a program built with its search feature"
        );
        Ok(())
    }
}
