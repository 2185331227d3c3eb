//! Spans of time before now, as strfry writes them.

use std::str::FromStr;

use anyhow::ensure;

use crate::nostr::Filter;

/// `START-END`, each a number and a unit, or nothing: `2h-` is the last two hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Seconds ago.
    since: Option<u64>,
    until: Option<u64>,
}

impl Range {
    /// The filter within this range before `now`, in seconds.
    pub fn of(self, filter: Filter, now: u64) -> anyhow::Result<Filter> {
        ensure!(
            filter.since.is_none() && filter.until.is_none(),
            "--range and a filter with since or until exclude each other"
        );
        let ago = |seconds: Option<u64>| seconds.map(|seconds| now.saturating_sub(seconds));
        Ok(Filter { since: ago(self.since), until: ago(self.until), ..filter })
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (start, end) = text.split_once('-').ok_or("a range is written START-END, as in 2h-")?;
        let (since, until) = (span(start)?, span(end)?);
        match (since, until) {
            (Some(since), Some(until)) if since < until => Err(format!("{start} ago is after {end} ago")),
            _ => Ok(Self { since, until }),
        }
    }
}

fn span(text: &str) -> Result<Option<u64>, String> {
    let Some(unit) = text.chars().last() else { return Ok(None) };
    let unit_s = match unit {
        's' => 1.0,
        'm' => 60.0,
        'h' => 3_600.0,
        'd' => 86_400.0,
        'w' => 86_400.0 * 7.0,
        'M' => 86_400.0 * 30.5,
        'Y' => 86_400.0 * 365.2425,
        _ => return Err(format!("{text}: the units are s m h d w M Y")),
    };
    let number = text.trim_end_matches(unit).parse::<f64>().ok().filter(|number| (0.0..1e9).contains(number));
    Ok(Some((number.ok_or_else(|| format!("{text} is no span of time"))? * unit_s) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_strfry_reads_them() {
        let range = |text: &str| text.parse::<Range>().map(|range| (range.since, range.until));
        assert_eq!(range("2h-"), Ok((Some(7_200), None)));
        assert_eq!(range("-1d"), Ok((None, Some(86_400))));
        assert_eq!(range("1Y-6M"), Ok((Some(31_556_952), Some(15_811_200))));
        assert_eq!(range("1.5m-30s"), Ok((Some(90), Some(30))));
        for bad in ["2h", "2x-", "h-", "1d-2d", "-1d-", "nans-", ""] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_range_counts_back_from_now_and_tolerates_no_other_times() {
        let range: Range = "2h-1h".parse().unwrap();
        let filter = range.of(Filter::default(), 10_000).unwrap();
        assert_eq!((filter.since, filter.until), (Some(2_800), Some(6_400)));
        assert!(range.of(Filter { since: Some(1), ..Filter::default() }, 10_000).is_err());
    }
}
