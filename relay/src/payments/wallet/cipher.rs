//! How a wallet's messages are encrypted: NIP-44 where it says that it can, else NIP-04, as NIP-47 asks.

use anyhow::Context;
use nostr::nips::{nip04, nip44};
use nostr::{PublicKey, SecretKey};
use secp256k1::Keypair;

use crate::nostr::Pubkey;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    Nip44,
    Nip04,
}

impl Cipher {
    /// The better one of those that a wallet names; without a word it is the old one.
    pub fn best(named: Option<&str>) -> Self {
        let has_new = named.is_some_and(|named| named.split_whitespace().any(|one| one == "nip44_v2"));
        if has_new { Self::Nip44 } else { Self::Nip04 }
    }

    /// What a request says of it.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Nip44 => Some("nip44_v2"),
            Self::Nip04 => None,
        }
    }

    pub fn encrypt(self, own: &Keypair, other: &Pubkey, text: &str) -> anyhow::Result<String> {
        let (own, other) = keys(own, other)?;
        match self {
            Self::Nip44 => nip44::encrypt(&own, &other, text, nip44::Version::V2).context("encrypting by NIP-44"),
            Self::Nip04 => nip04::encrypt(&own, &other, text).context("encrypting by NIP-04"),
        }
    }

    pub fn decrypt(self, own: &Keypair, other: &Pubkey, text: &str) -> anyhow::Result<String> {
        let (own, other) = keys(own, other)?;
        match self {
            Self::Nip44 => nip44::decrypt(&own, &other, text).context("decrypting by NIP-44"),
            Self::Nip04 => nip04::decrypt(&own, &other, text).context("decrypting by NIP-04"),
        }
    }
}

/// In the library's terms.
fn keys(own: &Keypair, other: &Pubkey) -> anyhow::Result<(SecretKey, PublicKey)> {
    let own = SecretKey::from_slice(&own.to_secret_bytes()).context("our key")?;
    Ok((own, PublicKey::from_slice(&other.0).context("the other key")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_cipher_is_taken_and_each_reads_its_own() {
        assert_eq!(Cipher::best(Some("nip44_v2 nip04")), Cipher::Nip44);
        for old in [None, Some("nip04"), Some("nip44_v3"), Some("")] {
            assert_eq!(Cipher::best(old), Cipher::Nip04);
        }
        let pair = |byte| Keypair::from_secret_bytes([byte; 32]).unwrap();
        let public = |pair: &Keypair| Pubkey(pair.x_only_public_key().0.to_byte_array());
        let (one, two) = (pair(1), pair(2));
        for cipher in [Cipher::Nip44, Cipher::Nip04] {
            let sealed = cipher.encrypt(&one, &public(&two), "{}").unwrap();
            assert_eq!(cipher.decrypt(&two, &public(&one), &sealed).unwrap(), "{}");
            assert!(
                cipher
                    .decrypt(&pair(3), &public(&one), &sealed)
                    .is_err_and(|error| error.to_string().contains("decrypting"))
            );
        }
    }
}
