//! Who may read and write.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessConfig {
    /// Whether every client gets the AUTH challenge as it connects, so that it may authenticate by itself; else only who is
    /// told to authenticate gets it.
    pub greet: bool,
    /// Whether only clients that have proved to hold some key (NIP-42) are answered.
    pub auth_to_read: bool,
    /// Whether events are taken only from such clients.
    pub auth_to_write: bool,
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self { greet: true, auth_to_read: false, auth_to_write: false }
    }
}
