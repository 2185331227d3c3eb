//! Networks, as the configuration names them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// An address range in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Both of the machine itself.
    pub fn loopback() -> Vec<Self> {
        let v4 = Self { address: IpAddr::from([127, 0, 0, 0]), bits: 8 };
        vec![v4, Self { address: IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), bits: 128 }]
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.bits);
                u32::from(net).checked_shr(shift) == u32::from(ip).checked_shr(shift)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.bits);
                u128::from(net).checked_shr(shift) == u128::from(ip).checked_shr(shift)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').unwrap_or((&text, ""));
        let address: IpAddr = address.parse().map_err(|_| format!("{text} is not a network, as 10.0.0.0/8"))?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = if bits.is_empty() { Ok(width) } else { bits.parse() };
        match bits {
            Ok(bits) if bits <= width => Ok(Self { address, bits }),
            _ => Err(format!("{text} is not a network, as 10.0.0.0/8")),
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_own_addresses_only() {
        let network = |text: &str| Network::try_from(text.to_owned()).unwrap();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(network("127.0.0.0/8").contains(ip("127.9.9.9")));
        assert!(network("127.0.0.0/8").contains(ip("::ffff:127.0.0.1")));
        assert!(!network("127.0.0.0/8").contains(ip("128.0.0.1")));
        assert!(network("0.0.0.0/0").contains(ip("8.8.8.8")));
        assert!(network("2001:db8::/32").contains(ip("2001:db8::1")));
        assert!(!network("::1").contains(ip("::2")));
        assert!(Network::try_from("10.0.0.0/33".to_owned()).is_err());
    }
}
