//! Which indexes can answer a filter.

use super::super::keys::{Index, Prefix};
use crate::nostr::{EventId, Filter};

/// How many ranges one scan may merge. Each costs a seek per slice, and memory while the slice runs.
const MAX_RANGES: usize = 4096;
/// How many ranges it is worth to leave out other kinds already in the index.
const MAX_RANGES_BY_KIND: usize = 1024;

/// How many ranges make it worth to look whether walking whole kinds is cheaper.
const MANY_RANGES: usize = 16;

/// Where to look. Whatever it yields is checked against the whole filter afterwards, so a plan has to
/// cover every match, and may cover more.
#[derive(Debug, PartialEq, Eq)]
pub enum Plan<'a> {
    /// No event can match.
    Nothing,
    /// Point lookups.
    Ids(&'a [EventId]),
    /// The ranges of one of these candidates, merged; which one, `probe` tells. There is at least one.
    Ranges(Vec<Candidate>),
    /// The events themselves, in order of time.
    Events,
}

/// Ranges of one index that together hold every match.
pub type Candidate = (Index, Vec<Prefix>);

/// An id leaves fewest events; whether a tag value, an author or a kind does, depends on what is stored.
pub fn plan(filter: &Filter) -> Plan<'_> {
    if filter.is_never() {
        return Plan::Nothing;
    }
    if let Some(ids) = &filter.ids {
        return Plan::Ids(ids);
    }
    let by_tag = filter.tags.iter().filter_map(|(name, values)| by_tag(filter, *name, values));
    let mut candidates: Vec<Candidate> = by_tag.chain(by_author(filter)).collect();
    if candidates.iter().all(|(_, prefixes)| prefixes.len() > MANY_RANGES) {
        candidates.extend(by_kind(filter));
    }
    if candidates.is_empty() { Plan::Events } else { Plan::Ranges(candidates) }
}

/// The ranges that hold every match of a filter and nothing else, if one index has them: all that the filter asks for stands
/// in its keys. Of a tag's value they hold 64 bits of a hash: somebody with much time may find two of his own values that
/// are taken for one.
pub fn exact(filter: &Filter) -> Option<Candidate> {
    if filter.ids.is_some() || filter.search.is_some() || filter.kinds.is_none() {
        return None;
    }
    let mut tags = filter.tags.iter();
    let candidate = match (tags.next(), &filter.authors) {
        (None, None) => by_kind(filter),
        (None, Some(_)) => by_author(filter),
        (Some((name, values)), None) if tags.next().is_none() => by_tag(filter, *name, values),
        (Some(_), _) => None,
    };
    candidate.filter(|(index, _)| matches!(index, Index::Kind | Index::AuthorKind | Index::TagKind))
}

fn by_tag(filter: &Filter, name: u8, values: &[Box<[u8]>]) -> Option<Candidate> {
    let prefixes = values.iter().map(|value| Prefix::tag(name, value)).collect();
    narrow(filter, (Index::Tag, Index::TagKind), prefixes)
}

fn by_author(filter: &Filter) -> Option<Candidate> {
    let prefixes = filter.authors.as_ref()?.iter().map(Prefix::author).collect();
    narrow(filter, (Index::Author, Index::AuthorKind), prefixes)
}

fn by_kind(filter: &Filter) -> Option<Candidate> {
    let prefixes = filter.kinds.as_ref()?.iter().map(|kind| Prefix::kind(*kind)).collect();
    bounded(Index::Kind, prefixes)
}

/// Takes the index that also holds the kind when the filter names kinds and few enough.
fn narrow(filter: &Filter, (wide, by_kind): (Index, Index), prefixes: Vec<Prefix>) -> Option<Candidate> {
    match &filter.kinds {
        Some(kinds) if kinds.len().saturating_mul(prefixes.len()) <= MAX_RANGES_BY_KIND => {
            let of_kinds = |prefix: &Prefix| {
                let prefix = *prefix;
                kinds.iter().map(move |kind| prefix.with_kind(*kind))
            };
            bounded(by_kind, prefixes.iter().flat_map(of_kinds).collect())
        }
        _ => bounded(wide, prefixes),
    }
}

/// None when there are too many ranges: a coarser candidate is taken.
fn bounded(index: Index, mut prefixes: Vec<Prefix>) -> Option<Candidate> {
    // Shortened keys may coincide, and a range is walked once.
    prefixes.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    prefixes.dedup();
    (prefixes.len() <= MAX_RANGES).then_some((index, prefixes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nostr::FilterLimits;

    fn check(json: &str, expected: &[(Index, usize)]) {
        let limits = FilterLimits { max_elements: 100_000, max_tags: 8 };
        let filter = Filter::parse(json, limits).unwrap();
        let candidates = match plan(&filter) {
            Plan::Ranges(candidates) => candidates,
            Plan::Nothing | Plan::Ids(_) | Plan::Events => Vec::new(),
        };
        let candidates: Vec<(Index, usize)> = candidates.iter().map(|(index, ranges)| (*index, ranges.len())).collect();
        assert_eq!(candidates, expected, "{json}");
    }

    #[test]
    fn what_is_named_is_looked_up_and_a_choice_is_left_only_where_there_is_one() {
        let key = "ab".repeat(32);
        check(r##"{"kinds":[1,2]}"##, &[(Index::Kind, 2)]);
        check(&format!(r##"{{"authors":["{key}"]}}"##), &[(Index::Author, 1)]);
        check(&format!(r##"{{"authors":["{key}"],"kinds":[1,2]}}"##), &[(Index::AuthorKind, 2)]);
        check(r##"{"#t":["a","b"],"#p":["c"]}"##, &[(Index::Tag, 1), (Index::Tag, 2)]);
        check(r##"{"#t":["a","b"],"kinds":[1]}"##, &[(Index::TagKind, 2)]);
        check(&format!(r##"{{"authors":["{key}"],"#t":["a"]}}"##), &[(Index::Tag, 1), (Index::Author, 1)]);
        check(r##"{"since":5}"##, &[]);
    }

    #[test]
    fn a_product_of_many_values_and_kinds_takes_the_coarser_index_or_the_kinds() {
        let kinds: Vec<String> = (0..100).map(|kind| kind.to_string()).collect();
        let values: Vec<String> = (0..100).map(|value| format!("\"{value}\"")).collect();
        let (kinds, values) = (kinds.join(","), values.join(","));
        let json = format!(r##"{{"kinds":[{kinds}],"#t":[{values}]}}"##);
        check(&json, &[(Index::Tag, 100), (Index::Kind, 100)]);
    }

    #[test]
    fn an_index_is_exact_when_its_keys_hold_all_that_is_asked_for() {
        let limits = FilterLimits { max_elements: 100_000, max_tags: 8 };
        let exact = |json: &str| super::exact(&Filter::parse(json, limits).unwrap()).map(|(index, _)| index);
        let key = "ab".repeat(32);
        assert_eq!(exact(r##"{"kinds":[1,2],"since":5,"limit":3}"##), Some(Index::Kind));
        assert_eq!(exact(&format!(r##"{{"authors":["{key}"],"kinds":[1]}}"##)), Some(Index::AuthorKind));
        assert_eq!(exact(r##"{"#t":["a","b"],"kinds":[1]}"##), Some(Index::TagKind));
        for inexact in [
            r##"{"#t":["a"]}"##,
            r##"{"#t":["a"],"#p":["b"],"kinds":[1]}"##,
            &format!(r##"{{"authors":["{key}"]}}"##),
            &format!(r##"{{"authors":["{key}"],"kinds":[1],"#t":["a"]}}"##),
            &format!(r##"{{"ids":["{key}"],"kinds":[1]}}"##),
            r##"{"kinds":[1],"search":"word"}"##,
            "{}",
        ] {
            assert_eq!(exact(inexact), None, "{inexact}");
        }
    }

    #[test]
    fn too_many_ranges_are_never_merged() {
        let values: Vec<String> = (0..5000).map(|value| format!("\"{value}\"")).collect();
        let values = values.join(",");
        check(&format!(r##"{{"kinds":[1],"#t":[{values}]}}"##), &[(Index::Kind, 1)]);
        check(&format!(r##"{{"#t":[{values}]}}"##), &[]);
    }
}
