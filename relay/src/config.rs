//! What the operator wrote, checked once: `Config` holds only values that the relay can run with.
//!
//! `config.toml` at the root of the project names every key with its default; a test keeps it equal.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::nostr::{FilterLimits, MessageLimits};

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub relay: RelayConfig,
    pub store: StoreConfig,
    pub limits: LimitsConfig,
    pub market: MarketConfig,
}

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
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Folder of the database, the keys and the control socket.
    pub path: PathBuf,
    /// Memory for blocks read from disk, in MiB.
    pub block_cache_mib: usize,
    /// Memory for event bodies ready to be sent, in MiB.
    pub body_cache_mib: usize,
}

/// Bounds on what one client may ask; rates are a second, 0 turns a rate off.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    pub max_connections: usize,
    pub max_connections_per_ip: usize,
    pub max_message_bytes: usize,
    pub max_event_bytes: usize,
    pub max_tags: usize,
    pub max_tag_value_bytes: usize,
    pub max_subscriptions: usize,
    pub max_filters: usize,
    pub max_filter_elements: usize,
    pub max_filter_tags: usize,
    /// Events answered to one filter.
    pub max_limit: u64,
    /// Bytes waiting for one client before it is closed as too slow.
    pub max_outbound_bytes: usize,
    /// Events of all clients waiting for the writer; who publishes more is read more slowly.
    pub max_pending_events: usize,
    /// How far ahead of the clock `created_at` may be.
    pub created_at_future_s: u64,
    /// How old an event may be; 0: any age.
    pub created_at_past_s: u64,
    /// How old an ephemeral event may be.
    pub ephemeral_past_s: u64,
    pub event_rate_ip: u32,
    pub event_burst_ip: u32,
    pub event_rate_pubkey: u32,
    pub event_burst_pubkey: u32,
    pub job_rate_pubkey: u32,
    pub job_burst_pubkey: u32,
    pub req_rate_ip: u32,
    pub req_burst_ip: u32,
    pub auth_rate_ip: u32,
    pub auth_burst_ip: u32,
    /// Networks whose clients have no rate or connection limit, as `address/bits`.
    pub exempt: Vec<Network>,
}

/// How jobs are scheduled (docs/market.md).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MarketConfig {
    pub enabled: bool,
    /// Dispatch of requests that do not say: `leased` or `open`.
    pub dispatch: Dispatch,
    pub accept_timeout_s: u64,
    pub run_timeout_s: u64,
    pub max_run_timeout_s: u64,
    pub pay_timeout_s: u64,
    pub job_timeout_s: u64,
    pub max_job_timeout_s: u64,
    /// How long a provider that lost its connection keeps its lease.
    pub disconnect_grace_s: u64,
    /// The same after a restart of the relay, when everybody has to connect anew.
    pub restart_grace_s: u64,
    /// How long a provider that does not authenticate counts as alive after a sign of life.
    pub liveness_s: u64,
    pub attempts: u32,
    pub max_attempts: u32,
    /// Slots of a provider that does not name them.
    pub slots: u32,
    pub max_slots: u32,
    pub max_providers: usize,
    pub max_open_jobs: usize,
    pub max_open_jobs_per_customer: usize,
    /// How long an ended job is remembered by the scheduler itself.
    pub ended_retention_s: u64,
    pub max_ended_jobs: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dispatch {
    Leased,
    Open,
}

/// An address range in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
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
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { path: PathBuf::from("data"), block_cache_mib: 64, body_cache_mib: 64 }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_connections_per_ip: 200,
            max_message_bytes: 131_072,
            max_event_bytes: 65_536,
            max_tags: 2_000,
            max_tag_value_bytes: 1_024,
            max_subscriptions: 200,
            max_filters: 200,
            max_filter_elements: 4_096,
            max_filter_tags: 3,
            max_limit: 500,
            max_outbound_bytes: 33_554_432,
            max_pending_events: 20_000,
            created_at_future_s: 900,
            created_at_past_s: 94_608_000,
            ephemeral_past_s: 60,
            event_rate_ip: 100,
            event_burst_ip: 2_000,
            event_rate_pubkey: 50,
            event_burst_pubkey: 1_000,
            job_rate_pubkey: 10,
            job_burst_pubkey: 500,
            req_rate_ip: 50,
            req_burst_ip: 500,
            auth_rate_ip: 5,
            auth_burst_ip: 50,
            exempt: vec![
                Network { address: IpAddr::from([127, 0, 0, 0]), bits: 8 },
                Network { address: IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), bits: 128 },
            ],
        }
    }
}

impl Default for MarketConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            dispatch: Dispatch::Leased,
            accept_timeout_s: 10,
            run_timeout_s: 600,
            max_run_timeout_s: 86_400,
            pay_timeout_s: 600,
            job_timeout_s: 3_600,
            max_job_timeout_s: 604_800,
            disconnect_grace_s: 5,
            restart_grace_s: 15,
            liveness_s: 900,
            attempts: 5,
            max_attempts: 20,
            slots: 1,
            max_slots: 1_000,
            max_providers: 100_000,
            max_open_jobs: 100_000,
            max_open_jobs_per_customer: 10_000,
            ended_retention_s: 3_600,
            max_ended_jobs: 100_000,
        }
    }
}

impl Config {
    /// Reads `file`, lays each `key=value` of `sets` over it, and checks the whole.
    pub fn load(file: Option<&Path>, sets: &[String]) -> anyhow::Result<Self> {
        let mut table = match file {
            Some(file) => std::fs::read_to_string(file)
                .with_context(|| format!("reading {}", file.display()))?
                .parse::<toml::Table>()
                .with_context(|| format!("in {}", file.display()))?,
            None => toml::Table::new(),
        };
        for set in sets {
            lay_over(&mut table, set).with_context(|| format!("in --set {set}"))?;
        }
        let config: Self = table.try_into().context("in the configuration")?;
        config.check()?;
        Ok(config)
    }

    /// The file to read when the command line names none: `$MERCATO_CONFIG`, else
    /// `/etc/mercato/config.toml`, else `config.toml` in the working folder.
    pub fn search() -> Option<PathBuf> {
        if let Some(named) = std::env::var_os("MERCATO_CONFIG") {
            return Some(PathBuf::from(named));
        }
        let usual = ["/etc/mercato/config.toml", "config.toml"];
        usual.iter().map(PathBuf::from).find(|path| path.is_file())
    }

    fn check(&self) -> anyhow::Result<()> {
        let limits = &self.limits;
        ensure!(limits.max_message_bytes >= 1_024, "limits.max_message_bytes must be 1024 or more");
        ensure!(
            limits.max_event_bytes <= limits.max_message_bytes,
            "limits.max_event_bytes must not be above limits.max_message_bytes"
        );
        ensure!(limits.max_limit >= 1, "limits.max_limit must be 1 or more");
        ensure!(limits.max_connections >= 1, "limits.max_connections must be 1 or more");
        ensure!(limits.max_pending_events >= 1, "limits.max_pending_events must be 1 or more");
        ensure!(
            limits.max_outbound_bytes >= 2 * limits.max_message_bytes,
            "limits.max_outbound_bytes must hold two messages of limits.max_message_bytes"
        );
        ensure!(self.relay.ping_s >= 1, "relay.ping_s must be 1 or more");
        if !self.relay.pubkey.is_empty() && crate::nostr::Pubkey::from_hex(&self.relay.pubkey).is_none() {
            bail!("relay.pubkey must be 64 lower-case hex digits");
        }
        let market = &self.market;
        ensure!(market.attempts >= 1, "market.attempts must be 1 or more");
        ensure!(market.attempts <= market.max_attempts, "market.attempts must not be above market.max_attempts");
        ensure!(market.slots >= 1, "market.slots must be 1 or more");
        ensure!(market.slots <= market.max_slots, "market.slots must not be above market.max_slots");
        Ok(())
    }
}

/// Sets `a.b.c=value` in a table. A value that is not TOML is taken as a string.
fn lay_over(table: &mut toml::Table, set: &str) -> anyhow::Result<()> {
    let (key, value) = set.split_once('=').context("expected key=value")?;
    let value = match format!("value = {value}").parse::<toml::Table>() {
        Ok(mut parsed) => parsed.remove("value").context("expected a value")?,
        Err(_) => toml::Value::String(value.to_owned()),
    };
    let mut names: Vec<&str> = key.trim().split('.').collect();
    let last = names.pop().filter(|last| !last.is_empty()).context("expected key=value")?;
    let mut inner = table;
    for name in names {
        inner = inner
            .entry(name)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()))
            .as_table_mut()
            .with_context(|| format!("{name} is not a section"))?;
    }
    inner.insert(last.to_owned(), value);
    Ok(())
}

impl LimitsConfig {
    pub fn message(&self) -> MessageLimits {
        MessageLimits {
            max_filters: self.max_filters,
            filter: FilterLimits { max_elements: self.max_filter_elements, max_tags: self.max_filter_tags },
        }
    }
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.bits);
                u32::from(net).checked_shr(shift) == u32::from(ip).checked_shr(shift)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.bits);
                u128::from(net).checked_shr(shift) == u128::from(ip).checked_shr(shift)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').unwrap_or((&text, ""));
        let address: IpAddr = address.parse().map_err(|_| format!("{text} is not a network, as 10.0.0.0/8"))?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = if bits.is_empty() { Ok(width) } else { bits.parse() };
        match bits {
            Ok(bits) if bits <= width => Ok(Self { address, bits }),
            _ => Err(format!("{text} is not a network, as 10.0.0.0/8")),
        }
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        format!("{}/{}", network.address, network.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_names_every_key_with_its_default() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config.toml");
        let written: toml::Table = std::fs::read_to_string(file).unwrap().parse().unwrap();
        let defaults = toml::Table::try_from(Config::default()).unwrap();
        assert_eq!(written, defaults);
    }

    #[test]
    fn a_set_lays_over_the_file_and_bad_ones_are_refused() {
        let config = |set: &str| Config::load(None, &[set.to_owned()]);
        assert_eq!(config("relay.port=9").unwrap().relay.port, 9);
        assert_eq!(config("store.path=/tmp/x").unwrap().store.path, Path::new("/tmp/x"));
        assert_eq!(config("market.dispatch=open").unwrap().market.dispatch, Dispatch::Open);
        for bad in ["relay.prot=9", "relay.port", "relay.port=70000", "market.slots=0", "=1"] {
            assert!(config(bad).is_err(), "{bad} must be refused");
        }
    }

    #[test]
    fn a_network_holds_its_own_addresses_only() {
        let network = |text: &str| Network::try_from(text.to_owned()).unwrap();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(network("127.0.0.0/8").contains(ip("127.9.9.9")));
        assert!(network("127.0.0.0/8").contains(ip("::ffff:127.0.0.1")));
        assert!(!network("127.0.0.0/8").contains(ip("128.0.0.1")));
        assert!(network("0.0.0.0/0").contains(ip("8.8.8.8")));
        assert!(network("2001:db8::/32").contains(ip("2001:db8::1")));
        assert!(!network("::1").contains(ip("::2")));
        assert!(Network::try_from("10.0.0.0/33".to_owned()).is_err());
    }
}
