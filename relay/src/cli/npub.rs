//! A public key as people pass it on (NIP-19).

use nostr::nips::nip19::ToBech32;

use crate::nostr::Pubkey;

/// A key in hex or as `npub1...`.
pub fn parse(text: &str) -> Result<Pubkey, String> {
    let key =
        nostr::PublicKey::parse(text).map_err(|_| format!("{text:?} is not a public key in hex or as npub1..."))?;
    Ok(Pubkey(key.to_bytes()))
}

/// The key's `npub1...`.
pub fn npub(key: &Pubkey) -> String {
    let encoded = nostr::PublicKey::from_slice(&key.0).ok().and_then(|key| key.to_bech32().ok());
    encoded.unwrap_or_else(|| key.to_hex())
}
