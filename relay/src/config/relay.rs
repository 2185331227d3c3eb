//! Where the relay listens, and what it says of itself.

use std::net::IpAddr;

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

/// Where the relay listens, and what it says of itself (NIP-11).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelayConfig {
    pub bind: IpAddr,
    /// 0 takes any free port; the log says which.
    pub port: u16,
    /// Public address, as clients type it; empty: the Host header of each connection stands in for it.
    pub url: String,
    pub name: String,
    pub description: String,
    /// Operator's public key, 64 hex digits, or empty.
    pub pubkey: String,
    pub contact: String,
    pub icon: String,
    /// Threads that serve connections; 0: one a core.
    pub threads: usize,
    /// Seconds between pings, and how long a silent connection lives twice over.
    pub ping_s: u64,
    /// Whether to compress messages for clients that ask for it (permessage-deflate).
    pub compression: bool,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            bind: IpAddr::from([127, 0, 0, 1]),
            port: 7777,
            url: String::new(),
            name: "Mercato".to_owned(),
            description: "A Nostr relay that runs a compute market".to_owned(),
            pubkey: String::new(),
            contact: String::new(),
            icon: String::new(),
            threads: 0,
            ping_s: 55,
            compression: true,
        }
    }
}

impl RelayConfig {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.ping_s >= 1, "relay.ping_s must be 1 or more");
        if !self.pubkey.is_empty() && crate::nostr::Pubkey::from_hex(&self.pubkey).is_none() {
            bail!("relay.pubkey must be 64 lower-case hex digits");
        }
        Ok(())
    }
}
