//! What the operator wrote, checked once: `Config` holds only values that the relay can run with.
//!
//! A file for each section. `config.toml` at the root of the project names every key with its default; a test keeps it
//! equal.

mod access;
mod admission;
mod limits;
mod load;
mod log;
mod market;
mod metrics;
mod negentropy;
mod network;
mod payments;
mod plugins;
mod relay;
mod retention;
mod router;
mod search;
mod store;
mod tls;

use serde::{Deserialize, Serialize};

pub use access::AccessConfig;
pub use admission::{AdmissionConfig, Way};
pub use limits::LimitsConfig;
pub use log::{LogConfig, LogFormat};
pub use market::{Dispatch, MarketConfig};
pub use metrics::MetricsConfig;
pub use negentropy::{NegentropyConfig, tree_filter};
pub use network::Network;
pub use payments::PaymentsConfig;
pub use plugins::PluginsConfig;
pub use relay::{RealIpHeader, RelayConfig};
pub use retention::RetentionRule;
pub use router::RouterConfig;
pub use search::SearchConfig;
pub use store::StoreConfig;
pub use tls::TlsConfig;

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub relay: RelayConfig,
    pub store: StoreConfig,
    pub limits: LimitsConfig,
    pub access: AccessConfig,
    pub admission: AdmissionConfig,
    pub search: SearchConfig,
    pub negentropy: NegentropyConfig,
    pub market: MarketConfig,
    pub payments: PaymentsConfig,
    pub plugins: PluginsConfig,
    /// Left out when empty: a file that adds `[[retention]]` must not name it twice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retention: Vec<RetentionRule>,
    pub router: RouterConfig,
    pub tls: TlsConfig,
    pub metrics: MetricsConfig,
    pub log: LogConfig,
}

impl Config {
    /// Refuses values that the relay cannot run with.
    fn check(&self) -> anyhow::Result<()> {
        self.relay.check()?;
        self.limits.check()?;
        self.admission.check(&self.relay)?;
        self.search.check()?;
        self.negentropy.check()?;
        self.market.check()?;
        self.payments.check()?;
        self.plugins.check()?;
        self.tls.check()?;
        self.log.check()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
}
