//! Who is connected, and who may yet.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::config::{LimitsConfig, Network};
use crate::connection::Connection;
use crate::control::Peer;
use crate::metrics::TurnedAway;
use crate::outbox::Closing;
use crate::policy::rate;

#[derive(Default)]
pub struct Connections {
    total: AtomicUsize,
    last_id: AtomicU64,
    by_client: Mutex<HashMap<IpAddr, Client>>,
    present: Mutex<HashMap<u64, Weak<Connection>>>,
}

/// All connections of one address (IPv6: one /64).
#[derive(Default)]
struct Client {
    connections: usize,
    /// TCP connections that have not become WebSockets, or never will.
    handshakes: usize,
}

/// A place among the clients, given back when dropped.
pub struct Admitted {
    connections: Arc<Connections>,
    pub address: SocketAddr,
}

/// The same for a handshake.
pub struct Arrived {
    connections: Arc<Connections>,
    ip: IpAddr,
}

impl Connections {
    /// Counts a TCP connection; `None` when there are `max` from its address.
    pub fn arrive(self: &Arc<Self>, ip: IpAddr, max: usize) -> Option<Arrived> {
        let ip = rate::client(ip);
        let mut clients = self.clients();
        let client = clients.entry(ip).or_default();
        if client.handshakes >= max {
            return None;
        }
        client.handshakes += 1;
        Some(Arrived { connections: self.clone(), ip })
    }

    /// Reserves a place for one more client. Who is `exempt` is held to the relay's own bounds only.
    pub fn admit(
        self: &Arc<Self>,
        address: SocketAddr,
        limits: &LimitsConfig,
        exempt: bool,
    ) -> Result<Admitted, TurnedAway> {
        let mut clients = self.clients();
        if self.total.load(Ordering::Relaxed) >= limits.max_connections {
            return Err(TurnedAway::Full);
        }
        let client = clients.entry(rate::client(address.ip())).or_default();
        if client.connections >= limits.max_connections_per_ip && !exempt {
            return Err(TurnedAway::PerAddress);
        }
        client.connections += 1;
        self.total.fetch_add(1, Ordering::Relaxed);
        Ok(Admitted { connections: self.clone(), address })
    }

    pub fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed)
    }

    pub fn enter(&self, connection: &Arc<Connection>) {
        self.present().insert(connection.id, Arc::downgrade(connection));
    }

    pub fn leave(&self, id: u64) {
        self.present().remove(&id);
    }

    /// Clients connected now.
    pub fn count(&self) -> usize {
        self.present().len()
    }

    /// Who is connected, in the order they came.
    pub fn peers(&self) -> Vec<Peer> {
        let present: Vec<_> = self.present().values().filter_map(Weak::upgrade).collect();
        let mut peers: Vec<_> = present.iter().map(|connection| connection.peer()).collect();
        peers.sort_by_key(|peer| peer.id);
        peers
    }

    /// Ends the connections of clients from `network`.
    pub fn close_from(&self, network: Network) {
        for connection in self.present().values().filter_map(Weak::upgrade) {
            if network.contains(connection.address.ip()) {
                connection.outbox.close(Closing::Blocked);
            }
        }
    }

    pub fn close_all(&self) {
        for connection in self.present().values().filter_map(Weak::upgrade) {
            connection.outbox.close(Closing::Shutdown);
        }
    }

    /// Takes something back from a client, and forgets it once it has nothing.
    fn give_back(&self, ip: IpAddr, take: impl FnOnce(&mut Client)) {
        let mut clients = self.clients();
        if let Some(client) = clients.get_mut(&ip) {
            take(client);
            if client.connections + client.handshakes == 0 {
                clients.remove(&ip);
            }
        }
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<IpAddr, Client>> {
        self.by_client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn present(&self) -> MutexGuard<'_, HashMap<u64, Weak<Connection>>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.connections.give_back(rate::client(self.address.ip()), |client| client.connections -= 1);
        self.connections.total.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        self.connections.give_back(self.ip, |client| client.handshakes -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> LimitsConfig {
        LimitsConfig { max_connections: 3, max_connections_per_ip: 2, ..LimitsConfig::default() }
    }

    #[test]
    fn places_are_bounded_together_and_by_address_and_come_back() {
        let (connections, limits) = (Arc::new(Connections::default()), limits());
        let admit = |ip: &str, exempt| connections.admit(SocketAddr::new(ip.parse().unwrap(), 1), &limits, exempt);
        let mut held = vec![admit("192.0.2.1", false).ok(), admit("192.0.2.1", false).ok()];
        assert_eq!(admit("192.0.2.1", false).err(), Some(TurnedAway::PerAddress));
        held.push(admit("192.0.2.1", true).ok());
        assert_eq!(admit("192.0.2.2", false).err(), Some(TurnedAway::Full));
        assert!(held.iter().all(Option::is_some));
        drop(held);
        assert!(admit("192.0.2.1", false).is_ok());
        assert!(connections.clients().is_empty(), "who has gone is forgotten");
    }

    #[test]
    fn handshakes_of_one_address_are_bounded() {
        let connections = Arc::new(Connections::default());
        let ip = "192.0.2.1".parse().unwrap();
        let held = connections.arrive(ip, 1).unwrap();
        assert!(connections.arrive(ip, 1).is_none());
        drop(held);
        assert!(connections.arrive(ip, 1).is_some());
    }
}
