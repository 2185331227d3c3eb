//! Which index answers a filter.

use super::keys::{Index, Prefix};
use crate::nostr::{EventId, Filter};

/// How many ranges one scan may merge. Each costs a seek per slice, and memory while the slice runs.
const MAX_RANGES: usize = 4096;
/// How many ranges it is worth to leave out other kinds already in the index.
const MAX_RANGES_BY_KIND: usize = 1024;

/// Where to look. Whatever it yields is checked against the whole filter afterwards, so a plan has to
/// cover every match, and may cover more.
#[derive(Debug, PartialEq, Eq)]
pub enum Plan<'a> {
    /// No event can match.
    Nothing,
    /// Point lookups.
    Ids(&'a [EventId]),
    /// These ranges, merged.
    Ranges(Index, Vec<Prefix>),
    /// The events themselves, in order of time.
    Events,
}

/// Chooses by how few events a condition usually leaves: an id, then a tag value, an author, a kind.
pub fn plan(filter: &Filter) -> Plan<'_> {
    if filter.is_never() {
        return Plan::Nothing;
    }
    if let Some(ids) = &filter.ids {
        return Plan::Ids(ids);
    }
    by_tag(filter).or_else(|| by_author(filter)).or_else(|| by_kind(filter)).unwrap_or(Plan::Events)
}

fn by_tag(filter: &Filter) -> Option<Plan<'_>> {
    let (name, values) = filter.tags.iter().min_by_key(|(_, values)| values.len())?;
    let prefixes = values.iter().map(|value| Prefix::tag(*name, value)).collect();
    narrow(filter, (Index::Tag, Index::TagKind), prefixes)
}

fn by_author(filter: &Filter) -> Option<Plan<'_>> {
    let prefixes = filter.authors.as_ref()?.iter().map(Prefix::author).collect();
    narrow(filter, (Index::Author, Index::AuthorKind), prefixes)
}

fn by_kind(filter: &Filter) -> Option<Plan<'_>> {
    let prefixes = filter.kinds.as_ref()?.iter().map(|kind| Prefix::kind(*kind)).collect();
    bounded(Index::Kind, prefixes)
}

/// Takes the index that also holds the kind when the filter names kinds and few enough.
fn narrow(filter: &Filter, (wide, by_kind): (Index, Index), prefixes: Vec<Prefix>) -> Option<Plan<'_>> {
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

/// No plan at all when there are too many ranges: a coarser one is taken.
fn bounded<'a>(index: Index, mut prefixes: Vec<Prefix>) -> Option<Plan<'a>> {
    // Shortened keys may coincide, and a range is walked once.
    prefixes.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    prefixes.dedup();
    (prefixes.len() <= MAX_RANGES).then_some(Plan::Ranges(index, prefixes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nostr::FilterLimits;

    fn check(json: &str, expected: Option<(Index, usize)>) {
        let limits = FilterLimits { max_elements: 100_000, max_tags: 8 };
        let filter = Filter::parse(json, limits).unwrap();
        let chosen = match plan(&filter) {
            Plan::Ranges(index, prefixes) => Some((index, prefixes.len())),
            Plan::Nothing | Plan::Ids(_) | Plan::Events => None,
        };
        assert_eq!(chosen, expected, "{json}");
    }

    #[test]
    fn the_rarest_condition_is_searched() {
        let key = "ab".repeat(32);
        check(r##"{"kinds":[1,2]}"##, Some((Index::Kind, 2)));
        check(&format!(r##"{{"authors":["{key}"]}}"##), Some((Index::Author, 1)));
        check(&format!(r##"{{"authors":["{key}"],"kinds":[1,2]}}"##), Some((Index::AuthorKind, 2)));
        check(r##"{"#t":["a","b"],"#p":["c"]}"##, Some((Index::Tag, 1)));
        check(r##"{"#t":["a","b"],"kinds":[1]}"##, Some((Index::TagKind, 2)));
        check(&format!(r##"{{"authors":["{key}"],"#t":["a"]}}"##), Some((Index::Tag, 1)));
        check(r##"{"since":5}"##, None);
    }

    #[test]
    fn a_product_of_many_values_and_kinds_takes_the_coarser_index() {
        let kinds: Vec<String> = (0..100).map(|kind| kind.to_string()).collect();
        let values: Vec<String> = (0..100).map(|value| format!("\"{value}\"")).collect();
        let (kinds, values) = (kinds.join(","), values.join(","));
        check(&format!(r##"{{"kinds":[{kinds}],"#t":[{values}]}}"##), Some((Index::Tag, 100)));
    }

    #[test]
    fn too_many_ranges_are_never_merged() {
        let values: Vec<String> = (0..5000).map(|value| format!("\"{value}\"")).collect();
        let values = values.join(",");
        check(&format!(r##"{{"kinds":[1],"#t":[{values}]}}"##), Some((Index::Kind, 1)));
        check(&format!(r##"{{"#t":[{values}]}}"##), None);
    }
}
