//! Who is connected: authenticated connections, counted by public key, and the job kinds that they listen for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::nostr::Pubkey;

/// Authenticated connections. They outlive a `Market` that had to be restored while clients stay connected.
#[derive(Debug, Clone, Default)]
pub struct Presence(HashMap<Pubkey, Held>);

/// What a key holds.
#[derive(Debug, Clone, Default)]
struct Held {
    connections: u32,
    /// Job kinds of the live subscriptions of each connection that has any.
    listens: BTreeMap<u64, Vec<u16>>,
}

impl Presence {
    /// Counts one more connection; whether it is the key's first.
    pub fn connect(&mut self, pubkey: Pubkey) -> bool {
        let held = self.0.entry(pubkey).or_default();
        held.connections += 1;
        held.connections == 1
    }

    /// Counts one less; whether it was the key's last. A key that was not counted stays at none.
    pub fn disconnect(&mut self, pubkey: &Pubkey) -> bool {
        let Some(held) = self.0.get_mut(pubkey) else { return false };
        held.connections -= 1;
        if held.connections > 0 {
            return false;
        }
        self.0.remove(pubkey);
        true
    }

    /// Notes what a connection listens for now, in place of what it did before. Nothing happens for a key that is not here.
    pub fn listen(&mut self, pubkey: &Pubkey, connection: u64, kinds: Vec<u16>) {
        let Some(held) = self.0.get_mut(pubkey) else { return };
        if kinds.is_empty() {
            held.listens.remove(&connection);
        } else {
            held.listens.insert(connection, kinds);
        }
    }

    /// Every kind that a key listens for, in order.
    pub fn listened(&self, pubkey: &Pubkey) -> Vec<u16> {
        let kinds = self.0.get(pubkey).into_iter().flat_map(|held| held.listens.values().flatten().copied());
        kinds.collect::<BTreeSet<u16>>().into_iter().collect()
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
