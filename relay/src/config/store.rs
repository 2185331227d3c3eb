//! Where the store lies, and the memory it may take.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Folder of the database, the keys and the control socket.
    pub path: PathBuf,
    /// Memory for blocks read from disk, in MiB; 0: an eighth of the machine's.
    pub block_cache_mib: usize,
    /// Memory for event bodies ready to be sent, in MiB; 0: a 32nd of the machine's.
    pub body_cache_mib: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { path: PathBuf::from("data"), block_cache_mib: 0, body_cache_mib: 0 }
    }
}
