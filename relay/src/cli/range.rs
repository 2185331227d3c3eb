//! Ranges of time as strfry writes them: `2h-`, `1Y-6M`, `-3d`; ages, the older first.

use anyhow::{Context, bail, ensure};

use crate::nostr::Filter;

/// A range of ages in seconds, each open where it is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    oldest_s: Option<u64>,
    newest_s: Option<u64>,
}

impl Range {
    /// Lays the range, seen from `now` in seconds, over a filter that has none of its own.
    pub fn restrict(self, filter: &mut Filter, now: u64) -> anyhow::Result<()> {
        ensure!(
            filter.since.is_none() && filter.until.is_none(),
            "a range and a filter with since or until contradict each other, leave one out"
        );
        filter.since = self.oldest_s.map(|age| now.saturating_sub(age));
        filter.until = self.newest_s.map(|age| now.saturating_sub(age));
        Ok(())
    }
}

impl std::str::FromStr for Range {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (oldest, newest) = text.split_once('-').context("a range is START-END, as 2h- or 1Y-6M")?;
        let bound = |text: &str| (!text.is_empty()).then(|| age(text)).transpose();
        let range = Self { oldest_s: bound(oldest)?, newest_s: bound(newest)? };
        if let (Some(oldest), Some(newest)) = (range.oldest_s, range.newest_s) {
            ensure!(oldest >= newest, "the older end of a range comes first, as in 1Y-6M");
        }
        Ok(range)
    }
}

/// A number with its unit: s, m, h, d, w, M (months) or Y; in seconds.
pub fn age(text: &str) -> anyhow::Result<u64> {
    let unit = text.chars().next_back().context("an age is a number and its unit, as 2h")?;
    let seconds = match unit {
        's' => 1.0,
        'm' => 60.0,
        'h' => 3_600.0,
        'd' => 86_400.0,
        'w' => 7.0 * 86_400.0,
        'M' => 30.5 * 86_400.0,
        'Y' => 365.2425 * 86_400.0,
        _ => bail!("{text} has none of the units s m h d w M Y"),
    };
    let digits = &text[..text.len() - unit.len_utf8()];
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = digits.parse::<f64>().ok().filter(|_| is_number);
    Ok((number.with_context(|| format!("{text} does not begin with a number"))? * seconds) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn check(text: &str, since: Option<u64>, until: Option<u64>) {
        let mut filter = Filter::default();
        text.parse::<Range>().unwrap().restrict(&mut filter, NOW).unwrap();
        assert_eq!((filter.since, filter.until), (since, until), "{text}");
    }

    #[test]
    fn a_range_is_read_as_strfry_reads_it() {
        check("2h-", Some(NOW - 7_200), None);
        check("1Y-6M", Some(NOW - 31_556_952), Some(NOW - 15_811_200));
        check("-3d", None, Some(NOW - 259_200));
        check("-", None, None);
        check("1.5m-90s", Some(NOW - 90), Some(NOW - 90));
        check("2w-1w", Some(NOW - 1_209_600), Some(NOW - 604_800));
        check("100Y-", Some(0), None);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for bad in ["", "2h", "h-", "2-", "2x-", "1h-2h", "--", "1e3s-", "nans-", "infs-", "+1s-", "2hé-", ".s-"] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
        let mut filter = Filter { since: Some(1), ..Filter::default() };
        assert!("2h-".parse::<Range>().unwrap().restrict(&mut filter, NOW).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,8}|[0-9.]{0,30}[smhdwMY]?-[0-9.]{0,30}[smhdwMY]?") {
            let mut filter = Filter::default();
            if let Ok(range) = text.parse::<Range>() {
                range.restrict(&mut filter, NOW).unwrap();
            }
        }
    }
}
