//! Who may read and write.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessConfig {
    /// Whether only clients that have proved to hold some key (NIP-42) are answered.
    pub auth_to_read: bool,
    /// Whether events are taken only from such clients.
    pub auth_to_write: bool,
}
