//! Where the relay listens, and what it says of itself.

use std::net::IpAddr;

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

use super::Network;

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
    /// Address of a wide picture.
    pub banner: String,
    pub terms_of_service: String,
    pub privacy_policy: String,
    pub posting_policy: String,
    pub payments_url: String,
    /// Whose law the relay is under: ISO 3166 codes of two letters.
    pub relay_countries: Vec<String>,
    /// Languages spoken here, as IETF tags.
    pub language_tags: Vec<String>,
    /// What the relay is about.
    pub tags: Vec<String>,
    /// Price list, told as it stands.
    pub fees: toml::Table,
    /// What is kept how long, told as it stands.
    pub retention: Vec<toml::Table>,
    /// Proxies whose word on the client's address is taken.
    pub trusted_proxies: Vec<Network>,
    pub real_ip_header: RealIpHeader,
    /// Lets another process listen on the same port, so that one takes over from the other.
    pub reuse_port: bool,
    /// How long clients may stay after SIGUSR1.
    pub drain_s: u64,
    /// How long a start waits for another process to close the store.
    pub lock_wait_s: u64,
    /// Free space on the store's disk below which `/ready` says no, in MiB.
    pub ready_free_mib: u64,
    /// Threads that serve connections; 0: one a core.
    pub threads: usize,
    /// Seconds between pings, and how long a silent connection lives twice over.
    pub ping_s: u64,
    /// Whether to compress messages for clients that ask for it (permessage-deflate).
    pub compression: bool,
}

/// Where a proxy writes the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum RealIpHeader {
    #[serde(rename = "X-Forwarded-For")]
    XForwardedFor,
    #[serde(rename = "X-Real-IP")]
    XRealIp,
    /// RFC 7239.
    Forwarded,
    #[serde(rename = "CF-Connecting-IP")]
    CfConnectingIp,
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
            banner: String::new(),
            terms_of_service: String::new(),
            privacy_policy: String::new(),
            posting_policy: String::new(),
            payments_url: String::new(),
            relay_countries: Vec::new(),
            language_tags: Vec::new(),
            tags: Vec::new(),
            fees: toml::Table::new(),
            retention: Vec::new(),
            trusted_proxies: Vec::new(),
            real_ip_header: RealIpHeader::XForwardedFor,
            reuse_port: false,
            drain_s: 30,
            lock_wait_s: 60,
            ready_free_mib: 256,
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
