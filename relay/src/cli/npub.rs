//! A public key as people pass it on (NIP-19).

use nostr::nips::nip19::ToBech32;

use crate::nostr::Pubkey;

/// The key's `npub1...`.
pub fn npub(key: &Pubkey) -> String {
    let encoded = nostr::PublicKey::from_slice(&key.0).ok().and_then(|key| key.to_bech32().ok());
    encoded.unwrap_or_else(|| key.to_hex())
}
