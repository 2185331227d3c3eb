//! Which addresses a request of ours may go to: the public internet, and networks that the operator names.
//!
//! Strangers say where lightning addresses lead. Without this a profile could have the relay speak with its own machine, its
//! neighbours, or the address at which clouds tell their secrets. It judges addresses, never names: what a name means
//! is looked up once, and that very address is connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::Network;

/// The rule.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// Allowed although they are not public; only to these without TLS.
    pub own: Vec<Network>,
}

impl Reach {
    /// Whether a request may go there.
    pub fn allows(&self, address: IpAddr, is_encrypted: bool) -> bool {
        let is_own = self.own.iter().any(|network| network.contains(address));
        is_own || is_encrypted && is_public(address)
    }
}

fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// IANA's registry of special addresses, all that is not global.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = match (a, b, c) {
        // This network, private use, loopback; multicast and what is reserved.
        (0 | 10 | 127 | 224.., _, _) => true,
        // Shared by carriers; link-local, where clouds put their metadata; private use.
        (100, 64..=127, _) | (169, 254, _) | (172, 16..=31, _) | (192, 168, _) => true,
        // Protocols, documentation, relays to IPv6, measuring.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) => true,
        _ => false,
    };
    !is_special
}

/// Only global unicast, 2000::/3, and of that not what leads to an IPv4 address or is special.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let is_global = first & 0xe000 == 0x2000;
    let is_special = match (first, second) {
        // Protocols (Teredo among them), documentation.
        (0x2001, 0..=0x1ff | 0xdb8) => true,
        // 6to4; documentation.
        (0x2002, _) | (0x3fff, 0..=0xfff) => true,
        _ => false,
    };
    is_global && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_reached_and_only_encrypted() {
        let reach = Reach::default();
        for public in ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "2a00:1450::1", "::ffff:1.1.1.1"] {
            assert!(reach.allows(public.parse().unwrap(), true), "{public}");
            assert!(!reach.allows(public.parse().unwrap(), false), "{public}");
        }
        for special in [
            "0.0.0.0",
            "10.1.2.3",
            "127.0.0.1",
            "127.9.9.9",
            "100.64.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "100::1",
            "3fff::1",
        ] {
            assert!(!reach.allows(special.parse().unwrap(), true), "{special}");
        }
    }

    #[test]
    fn an_operators_own_network_is_reached_as_it_likes() {
        let reach = Reach { own: vec!["10.0.0.0/8".to_owned().try_into().unwrap()] };
        for is_encrypted in [true, false] {
            assert!(reach.allows("10.9.9.9".parse().unwrap(), is_encrypted));
            assert!(!reach.allows("127.0.0.1".parse().unwrap(), is_encrypted));
        }
    }
}
