//! Encryption by the relay itself, without a proxy.

use std::path::PathBuf;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificate and what leads to its root, as PEM; empty: no TLS.
    pub cert: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

impl TlsConfig {
    pub fn is_on(&self) -> bool {
        !self.cert.as_os_str().is_empty()
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        let key = !self.key.as_os_str().is_empty();
        ensure!(self.is_on() == key, "tls.cert and tls.key go together");
        Ok(())
    }
}
