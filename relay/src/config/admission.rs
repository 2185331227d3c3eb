//! Who may publish, and who may manage the relay.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::RelayConfig;
use crate::nostr::Pubkey;

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdmissionConfig {
    /// Public keys, in hex, that may manage the relay (NIP-86), besides `relay.pubkey`.
    pub admins: Vec<String>,
    /// Ways to be allowed to publish; empty: everybody is.
    pub admit: Vec<Way>,
    /// Whose follows are trusted, besides `relay.pubkey`.
    pub trust_roots: Vec<String>,
    /// Steps from a root: 1 its follows, 2 theirs too.
    pub trust_depth: u32,
    /// How many trusted keys must follow one that is farther than one step.
    pub trust_min_followers: u32,
    /// What admission costs, once.
    pub fee_msat: u64,
    /// The key that signs zap receipts to `relay.pubkey` (`nostrPubkey` of its LNURL).
    pub zapper: String,
    /// Seconds between two looks at follows and payments.
    pub refresh_s: u64,
}

/// A way to be allowed to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// By the operator's list (NIP-86 `allowpubkey`, or a role).
    Listed,
    /// By being followed, directly or not, by a root.
    Trusted,
    /// By zaps to the operator that come to the fee.
    Paid,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self {
            admins: Vec::new(),
            admit: Vec::new(),
            trust_roots: Vec::new(),
            trust_depth: 2,
            trust_min_followers: 1,
            fee_msat: 0,
            zapper: String::new(),
            refresh_s: 60,
        }
    }
}

impl AdmissionConfig {
    pub(super) fn check(&self, relay: &RelayConfig) -> anyhow::Result<()> {
        let is_key = |text: &String| Pubkey::from_hex(text).is_some();
        ensure!(self.admins.iter().all(is_key), "admission.admins must hold 64 lower-case hex digits each");
        ensure!(self.trust_roots.iter().all(is_key), "admission.trust_roots must hold 64 lower-case hex digits each");
        ensure!(self.refresh_s >= 1, "admission.refresh_s must be 1 or more");
        if self.admit.contains(&Way::Trusted) {
            ensure!(
                !self.trust_roots.is_empty() || !relay.pubkey.is_empty(),
                "admission.admit = \"trusted\" needs admission.trust_roots or relay.pubkey"
            );
        }
        if self.admit.contains(&Way::Paid) {
            ensure!(
                is_key(&self.zapper),
                "admission.admit = \"paid\" needs admission.zapper, 64 lower-case hex digits"
            );
            ensure!(!relay.pubkey.is_empty(), "admission.admit = \"paid\" needs relay.pubkey");
            ensure!(self.fee_msat >= 1, "admission.admit = \"paid\" needs admission.fee_msat");
        }
        Ok(())
    }
}
