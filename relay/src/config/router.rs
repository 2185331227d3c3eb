//! Links to other relays that the relay itself keeps.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Links to other relays (docs/operators.md).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouterConfig {
    /// Router file as strfry's; empty: none.
    pub file: PathBuf,
    /// Secret key that links authenticate with (NIP-42), 64 hex digits in a file of mode 600; empty: they do not.
    pub key_file: PathBuf,
}
