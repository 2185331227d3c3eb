//! Who is connected: authenticated connections, counted by public key.

use std::collections::HashMap;

use crate::nostr::Pubkey;

/// Counts of authenticated connections. They outlive a `Market` that had to be restored while clients stay connected.
#[derive(Debug, Clone, Default)]
pub struct Presence(HashMap<Pubkey, u32>);

impl Presence {
    /// Counts one more connection; whether it is the key's first.
    pub fn connect(&mut self, pubkey: Pubkey) -> bool {
        let count = self.0.entry(pubkey).or_default();
        *count += 1;
        *count == 1
    }

    /// Counts one less; whether it was the key's last. A key that was not counted stays at none.
    pub fn disconnect(&mut self, pubkey: &Pubkey) -> bool {
        let Some(count) = self.0.get_mut(pubkey) else { return false };
        *count -= 1;
        if *count > 0 {
            return false;
        }
        self.0.remove(pubkey);
        true
    }

    /// Whether the key has a connection.
    pub fn is_connected(&self, pubkey: &Pubkey) -> bool {
        self.0.contains_key(pubkey)
    }

    /// Every connected key, in the order of keys.
    pub fn connected(&self) -> Vec<Pubkey> {
        let mut keys: Vec<Pubkey> = self.0.keys().copied().collect();
        keys.sort_unstable();
        keys
    }
}
