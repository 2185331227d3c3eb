//! Where somebody's lightning server tells about itself: a lightning address (`lud16`) or an encoded URL (`lud06`) of his profile.

use hyper::Uri;
use serde::Deserialize;

/// The longest that is read.
const LENGTH_MAX: usize = 512;

/// The URL of an lnurlp document (LUD-06, LUD-16).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address(String);

#[derive(Deserialize)]
struct Profile {
    #[serde(default)]
    lud16: Option<String>,
    #[serde(default)]
    lud06: Option<String>,
}

impl Address {
    /// What a profile names, as the content of kind 0 and of adverts has it; the lightning address goes before.
    pub fn of_profile(content: &str) -> Option<Self> {
        let profile: Profile = serde_json::from_str(content).ok()?;
        let named = profile.lud16.as_deref().and_then(Self::of_name);
        named.or_else(|| profile.lud06.as_deref().and_then(Self::of_bech32))
    }

    /// `name@host`.
    fn of_name(text: &str) -> Option<Self> {
        let text = text.trim();
        let (name, host) = text.split_once('@')?;
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
        // A path of its own would make it an address of something else.
        let is_host = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte));
        if name.is_empty() || text.len() > LENGTH_MAX || !name.bytes().all(is_letter) || !is_host {
            return None;
        }
        Self::read(&format!("https://{host}/.well-known/lnurlp/{}", name.to_ascii_lowercase()))
    }

    /// `lnurl1...`.
    fn of_bech32(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("lightning:").unwrap_or(text);
        if text.len() > LENGTH_MAX {
            return None;
        }
        let (prefix, bytes) = bech32::decode(text).ok()?;
        let is_lnurl = prefix.as_str().eq_ignore_ascii_case("lnurl");
        Self::read(std::str::from_utf8(&bytes).ok().filter(|_| is_lnurl)?)
    }

    fn read(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let is_web = matches!(uri.scheme_str(), Some("https" | "http"));
        let is_plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        (is_web && is_plain && uri.host().is_some_and(|host| !host.is_empty())).then(|| Self(url.to_owned()))
    }

    /// The same for a client of HTTP.
    pub fn uri(&self) -> Option<Uri> {
        self.0.parse().ok()
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(content: &str) -> Option<String> {
        Address::of_profile(content).map(|address| address.to_string())
    }

    #[test]
    fn a_profile_names_a_document() {
        let named = |url: &str| Some(url.to_owned());
        assert_eq!(url(r#"{"lud16":"Ann@pay.example"}"#), named("https://pay.example/.well-known/lnurlp/ann"));
        // The example of LUD-01.
        let lud06 = "LNURL1DP68GURN8GHJ7UM9WFMXJCM99E3K7MF0V9CXJ0M385EKVCENXC6R2C35XVUKXEFCV5MKVV34X5EKZD3EV56NYD3HXQURZEPEXEJXXEPNXSCRVWFNV9NXZCN9XQ6XYEFHVGCXXCMYXYMNSERXFQ5FNS";
        let decoded = "https://service.com/api?q=3fc3645b439ce8e7f2553a69e5267081d96dcd340693afabe04be7b0ccd178df";
        assert_eq!(url(&format!(r#"{{"lud06":"{lud06}"}}"#)), named(decoded));
        assert_eq!(url(&format!(r#"{{"lud06":"{lud06}","lud16":""}}"#)), named(decoded));
        assert_eq!(url(r#"{"lud06":"x","lud16":"a@[::1]:9"}"#), named("https://[::1]:9/.well-known/lnurlp/a"));
    }

    #[test]
    fn what_is_no_address_names_nothing() {
        for content in [
            "",
            "{}",
            "[]",
            r#"{"lud16":5}"#,
            r#"{"lud16":"ann"}"#,
            r#"{"lud16":"@pay.example"}"#,
            r#"{"lud16":"ann@"}"#,
            r#"{"lud16":"a b@pay.example"}"#,
            r#"{"lud16":"a/../b@pay.example"}"#,
            r#"{"lud16":"ann@a@b"}"#,
            r#"{"lud16":"ann@pay.example/secret?"}"#,
            r#"{"lud16":"ann@pay.example#"}"#,
            r#"{"lud06":"lnurl1"}"#,
            r#"{"lud06":"https://x"}"#,
        ] {
            assert_eq!(url(content), None, "{content}");
        }
        assert_eq!(url(&format!(r#"{{"lud16":"{}@pay.example"}}"#, "a".repeat(LENGTH_MAX))), None);
    }

    proptest::proptest! {
        #[test]
        fn whatever_it_is_reading_it_does_no_harm(name in "\\PC{0,40}", host in "\\PC{0,40}") {
            let content = serde_json::json!({ "lud16": format!("{name}@{host}"), "lud06": name }).to_string();
            if let Some(address) = Address::of_profile(&content) {
                proptest::prop_assert!(address.uri().is_some_and(|uri| uri.host().is_some()));
            }
        }
    }
}
