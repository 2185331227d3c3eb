//! Whose connection it is: the client's address as trusted proxies tell it.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{FORWARDED, HeaderMap, HeaderName};

use crate::config::{Network, RealIpHeader, RelayConfig};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const CF_CONNECTING_IP: HeaderName = HeaderName::from_static("cf-connecting-ip");

/// The address of the client behind `peer`. Only what trusted proxies wrote counts, so from the right to the left, up to
/// the first address that is none of theirs; the rest anybody may have written. What cannot be read ends the walk.
pub fn client(peer: SocketAddr, headers: &HeaderMap, config: &RelayConfig) -> SocketAddr {
    if !is_trusted(&config.trusted_proxies, peer.ip()) {
        return peer;
    }
    let mut client = peer.ip();
    for hop in hops(headers, config.real_ip_header).into_iter().rev() {
        let Some(address) = address(&hop) else { break };
        client = address;
        if !is_trusted(&config.trusted_proxies, address) {
            break;
        }
    }
    SocketAddr::new(client, peer.port())
}

/// Whether a request came through any proxy at all.
pub fn is_forwarded(headers: &HeaderMap) -> bool {
    [X_FORWARDED_FOR, X_REAL_IP, CF_CONNECTING_IP, FORWARDED].iter().any(|name| headers.contains_key(name))
}

pub fn is_trusted(proxies: &[Network], ip: IpAddr) -> bool {
    proxies.iter().any(|network| network.contains(ip))
}

/// What the header says, hop by hop, the client's own claim first.
fn hops(headers: &HeaderMap, header: RealIpHeader) -> Vec<String> {
    let name = match header {
        RealIpHeader::XForwardedFor => X_FORWARDED_FOR,
        RealIpHeader::XRealIp => X_REAL_IP,
        RealIpHeader::Forwarded => FORWARDED,
        RealIpHeader::CfConnectingIp => CF_CONNECTING_IP,
    };
    // What a client wrote may be no text, but the hop that its proxy put behind it in the same line is.
    let lines: Vec<_> = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let parts = lines.iter().flat_map(|line| line.split(','));
    match header {
        RealIpHeader::Forwarded => parts.map(forwarded_for).collect(),
        RealIpHeader::XForwardedFor | RealIpHeader::XRealIp | RealIpHeader::CfConnectingIp => {
            parts.map(str::to_owned).collect()
        }
    }
}

/// The `for` of one element of a Forwarded header.
fn forwarded_for(element: &str) -> String {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let found = pairs.map(|(key, value)| (key.trim(), value.trim())).find(|(key, _)| key.eq_ignore_ascii_case("for"));
    found.map_or_else(String::new, |(_, value)| value.trim_matches('"').to_owned())
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let ip = bare.parse::<IpAddr>().ok().or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()))?;
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn found(header: RealIpHeader, peer: &str, lines: &[(&str, &str)]) -> String {
        let trusted = ["10.0.0.0/8", "2001:db8::/32", "127.0.0.1"];
        let config = RelayConfig {
            trusted_proxies: trusted.map(|text| Network::try_from(text.to_owned()).unwrap()).to_vec(),
            real_ip_header: header,
            ..RelayConfig::default()
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        client(SocketAddr::new(peer.parse().unwrap(), 1), &headers, &config).ip().to_string()
    }

    #[test]
    fn nobody_but_a_trusted_proxy_is_believed() {
        let header = ("x-forwarded-for", "192.0.2.7");
        let found = |peer| found(RealIpHeader::XForwardedFor, peer, &[header]);
        assert_eq!(found("10.1.1.1"), "192.0.2.7");
        assert_eq!(found("192.0.2.200"), "192.0.2.200");
        assert_eq!(found("::ffff:10.1.1.1"), "192.0.2.7");
    }

    #[test]
    fn the_walk_goes_from_the_right_over_trusted_hops_only() {
        let found = |lines: &[(&str, &str)]| found(RealIpHeader::XForwardedFor, "127.0.0.1", lines);
        assert_eq!(found(&[("x-forwarded-for", "127.0.0.1, 192.0.2.66, 198.51.100.1, 10.0.0.3")]), "198.51.100.1");
        assert_eq!(
            found(&[("x-forwarded-for", "192.0.2.66"), ("x-forwarded-for", "198.51.100.1,10.0.0.3")]),
            "198.51.100.1"
        );
        assert_eq!(found(&[("x-forwarded-for", "10.0.0.9, 10.0.0.3")]), "10.0.0.9");
        assert_eq!(found(&[("x-forwarded-for", "192.0.2.66, unknown, 10.0.0.3")]), "10.0.0.3");
        assert_eq!(found(&[("x-forwarded-for", "[2600::1]:443")]), "2600::1");
        assert_eq!(found(&[("x-forwarded-for", "192.0.2.66:5000")]), "192.0.2.66");
        assert_eq!(found(&[("x-forwarded-for", "\u{e9}")]), "127.0.0.1");
        assert_eq!(found(&[("x-forwarded-for", "\u{e9}, 192.0.2.66")]), "192.0.2.66");
        assert_eq!(found(&[("x-real-ip", "192.0.2.66")]), "127.0.0.1");
        assert_eq!(found(&[]), "127.0.0.1");
    }

    #[test]
    fn each_header_has_its_own_form() {
        let forwarded = |value| found(RealIpHeader::Forwarded, "10.0.0.1", &[("forwarded", value)]);
        assert_eq!(forwarded("for=192.0.2.66;proto=https, For=\"[2600::2]:47011\";by=10.0.0.1"), "2600::2");
        assert_eq!(forwarded("for=198.51.100.17, for=10.0.0.2"), "198.51.100.17");
        assert_eq!(forwarded("for=_hidden"), "10.0.0.1");
        assert_eq!(found(RealIpHeader::XRealIp, "10.0.0.1", &[("x-real-ip", " 192.0.2.66 ")]), "192.0.2.66");
        assert_eq!(found(RealIpHeader::CfConnectingIp, "10.0.0.1", &[("CF-Connecting-IP", "2600::3")]), "2600::3");
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_client_writes_an_untrusted_last_hop_is_the_answer(claim in "\\PC*", header in 0..2usize) {
            let claim: String = claim.chars().filter(|c| !c.is_control()).collect();
            let (kind, name, line) = match header {
                0 => (RealIpHeader::XForwardedFor, "x-forwarded-for", format!("{claim}, 192.0.2.9")),
                _ => (RealIpHeader::Forwarded, "forwarded", format!("{claim}, for=192.0.2.9")),
            };
            proptest::prop_assert_eq!(found(kind, "10.0.0.1", &[(name, &line)]), "192.0.2.9");
        }
    }
}
