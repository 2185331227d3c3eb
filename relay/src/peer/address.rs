//! Addresses of relays.

use tokio_tungstenite::tungstenite::http::Uri;

/// Refuses what is not `ws://host...` or `wss://host...`.
pub fn check(url: &str) -> Result<(), String> {
    let known = url.parse::<Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("ws" | "wss")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    known.map(drop).ok_or_else(|| format!("{url} is not the address of a relay, as wss://relay.example.com"))
}

/// One spelling of an address for what is remembered of it: scheme and host in lower case, no slash at the end.
pub fn normal(url: &str) -> String {
    let Ok(uri) = url.parse::<Uri>() else { return url.to_owned() };
    let scheme = uri.scheme_str().unwrap_or("ws").to_ascii_lowercase();
    let authority = uri.authority().map_or("", |authority| authority.as_str()).to_ascii_lowercase();
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    format!("{scheme}://{authority}{}", path.strip_suffix('/').unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_websocket_addresses_are_taken() {
        for good in ["ws://localhost", "wss://relay.example.com/path?x=1", "ws://[::1]:7777"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "relay.example.com", "http://h", "ws://", "wss:///x", "ws://a b", "WS://h"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spellings_of_one_address_are_one() {
        assert_eq!(normal("WSS://Relay.Example.com/"), "wss://relay.example.com");
        assert_eq!(normal("ws://h:1/Path/"), "ws://h:1/Path");
    }
}
