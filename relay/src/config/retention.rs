//! How long events are kept: rules by kind and author, of which the first that names an event decides.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::nostr::Pubkey;

/// One `[[retention]]`. An event that no rule names is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct RetentionRule {
    /// Empty: any kind.
    kinds: Vec<RangeInclusive<u16>>,
    /// Empty: any author.
    pubkeys: Vec<Pubkey>,
    /// Seconds after `created_at`; `None`: for ever.
    pub max_age_s: Option<u64>,
}

/// A rule as the operator writes it.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kinds: Vec<Kinds>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pubkeys: Vec<String>,
    max_age_s: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    keep: bool,
}

/// `1` or `"5000-5999"`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(untagged)]
enum Kinds {
    One(u16),
    Range(String),
}

impl RetentionRule {
    /// Whether it is this rule's business.
    pub fn names(&self, kind: u16, pubkey: &Pubkey) -> bool {
        (self.kinds.is_empty() || self.kinds.iter().any(|kinds| kinds.contains(&kind)))
            && (self.pubkeys.is_empty() || self.pubkeys.contains(pubkey))
    }

    /// The kinds it names, sorted; `None`: any.
    pub fn kinds(&self) -> Option<Vec<u16>> {
        let mut kinds: Vec<u16> = self.kinds.iter().cloned().flatten().collect();
        kinds.sort_unstable();
        kinds.dedup();
        (!kinds.is_empty()).then_some(kinds)
    }

    /// The authors it names, sorted; `None`: any.
    pub fn authors(&self) -> Option<Vec<Pubkey>> {
        let mut pubkeys = self.pubkeys.clone();
        pubkeys.sort_unstable();
        pubkeys.dedup();
        (!pubkeys.is_empty()).then_some(pubkeys)
    }
}

impl TryFrom<Written> for RetentionRule {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let max_age_s = match (written.keep, written.max_age_s) {
            (true, None) => None,
            (false, Some(seconds)) if seconds > 0 => Some(seconds),
            (false, Some(_)) => return Err("retention: max_age_s must be 1 or more".to_owned()),
            (true, Some(_)) | (false, None) => {
                return Err("retention: a rule has either max_age_s or keep = true".to_owned());
            }
        };
        let kinds = written.kinds.iter().map(Kinds::range).collect::<Result<_, _>>()?;
        let key = |text: &String| {
            Pubkey::from_hex(text).ok_or_else(|| format!("retention: {text} is not 64 lower-case hex digits"))
        };
        let pubkeys = written.pubkeys.iter().map(key).collect::<Result<_, _>>()?;
        Ok(Self { kinds, pubkeys, max_age_s })
    }
}

impl Kinds {
    fn range(&self) -> Result<RangeInclusive<u16>, String> {
        let text = match self {
            Self::One(kind) => return Ok(*kind..=*kind),
            Self::Range(text) => text,
        };
        let ends = text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        match ends {
            Some((first, last)) if first <= last => Ok(first..=last),
            _ => Err(format!("retention: {text:?} is not a range of kinds, as \"5000-5999\"")),
        }
    }
}

impl From<RetentionRule> for Written {
    fn from(rule: RetentionRule) -> Self {
        let written = |kinds: RangeInclusive<u16>| match kinds.start() == kinds.end() {
            true => Kinds::One(*kinds.start()),
            false => Kinds::Range(format!("{}-{}", kinds.start(), kinds.end())),
        };
        Self {
            kinds: rule.kinds.into_iter().map(written).collect(),
            pubkeys: rule.pubkeys.iter().map(Pubkey::to_hex).collect(),
            max_age_s: rule.max_age_s,
            keep: rule.max_age_s.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RetentionRule, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn a_rule_names_kinds_and_authors() {
        let key = "ab".repeat(32);
        let rule = read(&format!("kinds = [1, \"30-32\", 31]\npubkeys = [\"{key}\"]\nmax_age_s = 5")).unwrap();
        let (author, other) = (Pubkey([0xab; 32]), Pubkey([1; 32]));
        assert!(rule.names(1, &author) && rule.names(32, &author));
        assert!(!rule.names(2, &author) && !rule.names(1, &other));
        assert_eq!(rule.kinds(), Some(vec![1, 30, 31, 32]));
        let every = read("keep = true").unwrap();
        assert!(every.names(9, &other) && every.kinds().is_none() && every.max_age_s.is_none());
        for rule in [rule, every] {
            assert_eq!(read(&toml::to_string(&rule).unwrap()).unwrap(), rule);
        }
    }

    #[test]
    fn what_is_not_a_rule_is_refused() {
        for text in [
            "",
            "max_age_s = 0",
            "max_age_s = 1\nkeep = true",
            "max_age_s = 1\nkinds = [70000]",
            "max_age_s = 1\nkinds = [\"5-3\"]",
            "max_age_s = 1\nkinds = [\"x\"]",
            "max_age_s = 1\npubkeys = [\"AB\"]",
            "max_age_s = 1\nmax_agee = 2",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
