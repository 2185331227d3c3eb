//! A wallet's connection string, `nostr+walletconnect://`: whoever has it may use the wallet, so it is kept like a key.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, ensure};
use nostr::nips::nip47::NostrWalletConnectURI;
use secp256k1::Keypair;

use crate::nostr::Pubkey;

/// The longest file that is read.
const LENGTH_MAX: u64 = 4_096;
/// Relays of one wallet that are tried.
const RELAYS_MAX: usize = 4;

/// Where a wallet is, and the key with which it is asked.
#[derive(Clone)]
pub struct Connection {
    pub(super) wallet: Pubkey,
    pub(super) relays: Vec<String>,
    pub(super) key: Keypair,
}

impl Connection {
    /// From a file that nobody else may read.
    ///
    /// # Errors
    /// When others may, or it holds something else. What it holds is never part of the error.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("opening the wallet file {}", path.display()))?;
        let mode = file.metadata()?.permissions().mode() & 0o777;
        ensure!(mode & 0o077 == 0, "{} has mode {mode:03o}: a wallet's connection needs 600", path.display());
        let mut text = String::new();
        file.take(LENGTH_MAX).read_to_string(&mut text).with_context(|| format!("reading {}", path.display()))?;
        let read = Self::read(text.trim());
        read.with_context(|| format!("{} holds no address as nostr+walletconnect://...", path.display()))
    }

    /// From the string itself.
    pub fn read(text: &str) -> Option<Self> {
        let uri = NostrWalletConnectURI::parse(text).ok()?;
        let key = Keypair::from_secret_bytes(uri.secret.to_secret_bytes()).ok()?;
        let relays = uri.relays.iter().take(RELAYS_MAX).map(|relay| relay.as_str().to_owned()).collect();
        Some(Self { wallet: Pubkey(uri.public_key.to_bytes()), relays, key })
    }

    /// The key that the wallet knows us by.
    pub(super) fn client(&self) -> Pubkey {
        Pubkey(self.key.x_only_public_key().0.to_byte_array())
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.wallet)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    /// The example of NIP-47.
    const NIP47: &str = "nostr+walletconnect://b889ff5b1513b641e2a139f661a661364979c5beee91842f8f0ef42ab558e9d4?relay=wss%3A%2F%2Frelay.damus.io&secret=71a8c14c1407c113601079c4302dab36460f0ccd0ad506f1f2dc73b5100e4f3c";

    #[test]
    fn a_connection_comes_from_a_private_file_only_and_is_not_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let load = || Connection::load(file.path()).map_err(|error| format!("{error:#}"));
        std::fs::write(file.path(), format!("{NIP47}\n")).unwrap();
        std::fs::set_permissions(file.path(), Permissions::from_mode(0o640)).unwrap();
        assert!(load().unwrap_err().contains("has mode 640"));
        std::fs::set_permissions(file.path(), Permissions::from_mode(0o600)).unwrap();
        let connection = load().unwrap();
        assert!(connection.wallet.to_string().starts_with("b889ff5b") && connection.relays == ["wss://relay.damus.io"]);
        assert!(!format!("{connection:?}").contains("71a8c14c"));
        let spoilt = NIP47.replace("secret=71", "secret=zz");
        std::fs::write(file.path(), &spoilt).unwrap();
        let error = load().unwrap_err();
        assert!(error.contains("nostr+walletconnect") && !error.contains("a8c14c"), "{error}");
    }

    #[test]
    fn what_is_no_connection_is_not_read() {
        for text in ["", "nostr+walletconnect://", &NIP47.replace("&secret", "&s"), &NIP47.replace("relay=", "r=")] {
            assert!(Connection::read(text).is_none(), "{text}");
        }
    }
}
