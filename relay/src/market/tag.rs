//! Tags of an event, read by name; and what a tag that cannot be read is answered.

use crate::nostr::{Event, Pubkey};

/// All tags of an event, decoded.
pub struct Tags(Vec<Vec<String>>);

/// A tag that does not say what it should. Its text is the answer, machine prefix included.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid: {tag}: {what}")]
pub struct Malformed {
    /// The tag's name.
    pub tag: &'static str,
    /// What is wrong with it.
    pub what: String,
}

impl Malformed {
    /// A tag and what is wrong with it.
    pub fn new(tag: &'static str, what: impl Into<String>) -> Self {
        Self { tag, what: what.into() }
    }
}

impl Tags {
    /// The tags of `event`.
    pub fn of(event: &Event) -> Self {
        Self(event.tags())
    }

    /// The elements after the name of every tag of this name, in order.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [String]> {
        self.0.iter().filter_map(move |tag| tag.split_first().filter(|(first, _)| *first == name)).map(|(_, rest)| rest)
    }

    /// The first value of every tag of this name; a tag without one counts as empty.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.named(name).map(|tag| tag.first().map_or("", String::as_str))
    }

    /// The tag of this name, which may stand only once.
    pub fn only(&self, name: &'static str) -> Result<Option<&[String]>, Malformed> {
        let mut named = self.named(name);
        match (named.next(), named.next()) {
            (first, None) => Ok(first),
            (_, Some(_)) => Err(Malformed::new(name, "stands twice")),
        }
    }

    /// As `only`, for a tag whose first value is a whole number.
    pub fn only_whole<T: std::str::FromStr>(&self, name: &'static str) -> Result<Option<T>, Malformed> {
        let value = self.only(name)?.map(|tag| tag.first().map_or("", String::as_str));
        value.map(|value| whole(name, value)).transpose()
    }
}

/// Reads a whole number in decimal digits.
pub fn whole<T: std::str::FromStr>(tag: &'static str, text: &str) -> Result<T, Malformed> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| Malformed::new(tag, format!("{} is not a whole number that fits", shown(text))))
}

/// Reads a public key.
pub fn pubkey(tag: &'static str, text: &str) -> Result<Pubkey, Malformed> {
    let key = Pubkey::from_hex(text);
    key.ok_or_else(|| Malformed::new(tag, format!("{} is not a public key in 64 lower-case hex digits", shown(text))))
}

/// What somebody wrote, quoted and cut for an answer.
pub fn shown(text: &str) -> String {
    const MAX: usize = 40;
    let cut: String = text.chars().take(MAX).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{dots}")
}
