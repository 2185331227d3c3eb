//! The key with which links authenticate (NIP-42).

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, ensure};
use secp256k1::Keypair;

use crate::clock::now_s;
use crate::config::RouterConfig;
use crate::nostr::{Event, hex, kind};

/// A secret key from a file that nobody else may read: 64 hex digits.
#[derive(Clone)]
pub struct LinkKey(Keypair);

impl LinkKey {
    /// The one that the configuration names.
    pub fn configured(config: &RouterConfig) -> anyhow::Result<Option<Self>> {
        let file = &config.key_file;
        (!file.as_os_str().is_empty()).then(|| Self::load(file)).transpose()
    }

    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("opening the key file {}", path.display()))?;
        let mode = file.metadata()?.permissions().mode() & 0o777;
        ensure!(mode & 0o077 == 0, "{} has mode {mode:03o}: a secret key needs 600", path.display());
        let mut text = String::new();
        file.take(128).read_to_string(&mut text).with_context(|| format!("reading {}", path.display()))?;
        let secret = hex::decode(text.trim()).and_then(|secret| Keypair::from_secret_bytes(secret).ok());
        Ok(Self(secret.with_context(|| format!("{} holds no secret key of 64 hex digits", path.display()))?))
    }

    /// One that somebody has already.
    pub fn of(key: Keypair) -> Self {
        Self(key)
    }

    /// The answer to a relay's challenge.
    pub fn answer(&self, url: &str, challenge: &str) -> Event {
        let tag = |name: &str, value: &str| vec![name.to_owned(), value.to_owned()];
        Event::sign(&self.0, now_s(), kind::AUTH, &[tag("relay", url), tag("challenge", challenge)], "")
    }
}

impl std::fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_key_comes_from_a_private_file_only() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let load = || LinkKey::load(file.path()).map_err(|error| error.to_string());
        std::fs::write(file.path(), format!("{}\n", "11".repeat(32))).unwrap();
        std::fs::set_permissions(file.path(), Permissions::from_mode(0o640)).unwrap();
        assert!(load().unwrap_err().contains("has mode 640"));
        std::fs::set_permissions(file.path(), Permissions::from_mode(0o600)).unwrap();
        let event = load().unwrap().answer("wss://r", "c");
        assert!(event.verify_signature().is_ok() && event.kind == kind::AUTH);
        assert!(!format!("{:?}", load().unwrap()).contains("11"));
        std::fs::write(file.path(), "nsec1").unwrap();
        assert!(load().unwrap_err().contains("64 hex digits"));
    }
}
