//! What the relay asks others about payments.

use std::path::PathBuf;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::Network;
use crate::nostr::Pubkey;

/// What the relay asks others about payments (docs/market.md). Nothing, unless the operator says so: a relay that opens connections to
/// whatever host a stranger's profile names is not what its operator expects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PaymentsConfig {
    /// Whether lightning servers are asked who signs their zap receipts.
    pub lnurl: bool,
    /// Networks besides the public internet in which such servers may be, also without TLS.
    pub lnurl_networks: Vec<Network>,
    /// Connection to a wallet (NIP-47) in a file of mode 600; empty: none.
    pub wallet_file: PathBuf,
    /// Public keys of the providers that are paid into it.
    pub wallet_providers: Vec<String>,
}

impl PaymentsConfig {
    /// Who is paid into the wallet.
    pub fn wallet_providers(&self) -> Vec<Pubkey> {
        self.wallet_providers.iter().filter_map(|key| Pubkey::from_hex(key)).collect()
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        for key in &self.wallet_providers {
            ensure!(
                Pubkey::from_hex(key).is_some(),
                "payments.wallet_providers: {key} is not a public key of 64 hex digits"
            );
        }
        // Whose invoices a wallet pays attention to decides whose word it is.
        let is_whole = self.wallet_file.as_os_str().is_empty() == self.wallet_providers.is_empty();
        ensure!(
            is_whole,
            "payments.wallet_file needs payments.wallet_providers, who are paid into it, and the other way round"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wallet_is_somebodys() {
        let config = |file: &str, providers: &[&str]| PaymentsConfig {
            wallet_file: file.into(),
            wallet_providers: providers.iter().map(|key| (*key).to_owned()).collect(),
            ..PaymentsConfig::default()
        };
        let key = "11".repeat(32);
        assert!(config("", &[]).check().is_ok() && config("w", &[&key]).check().is_ok());
        for bad in [config("w", &[]), config("", &[&key]), config("w", &["npub1"])] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        assert_eq!(config("w", &[&key]).wallet_providers(), [Pubkey([0x11; 32])]);
    }
}
