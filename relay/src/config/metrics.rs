//! Who may read the relay's figures, and where.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Network;

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    pub enabled: bool,
    /// Networks that may read `/metrics` on the relay's own port.
    pub allow: Vec<Network>,
    pub bind: IpAddr,
    /// A port for metrics alone; 0: they are on the relay's own.
    pub port: u16,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { enabled: true, allow: Network::loopback(), bind: IpAddr::from([127, 0, 0, 1]), port: 0 }
    }
}
