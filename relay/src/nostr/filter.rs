//! NIP-01 filters: what a subscription asks for.

use std::collections::BTreeMap;

use super::event::{EventId, EventView, Pubkey};
use super::json::{Cursor, JsonError};
use super::kind;

/// Of a search: each word of it costs the index a look.
const MAX_SEARCH_BYTES: usize = 512;

/// Why an object is not a filter, worded for the `invalid:` prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("{0}")]
    Json(#[from] JsonError),
    #[error("unknown filter key {0}")]
    UnknownKey(String),
    #[error("filter key {0} stands twice")]
    Twice(String),
    #[error("{0} must hold 64 lower-case hex digits each")]
    NotHex(&'static str),
    #[error("kinds must be between 0 and 65535")]
    Kind,
    #[error("a filter may hold {0} elements at most")]
    TooManyElements(usize),
    #[error("a filter may name {0} tags at most")]
    TooManyTags(usize),
    #[error("a search may have {MAX_SEARCH_BYTES} bytes at most")]
    LongSearch,
}

/// Bounds on what one filter may hold.
#[derive(Debug, Clone, Copy)]
pub struct FilterLimits {
    /// Elements of all its lists together.
    pub max_elements: usize,
    /// Different tag names.
    pub max_tags: usize,
}

/// A conjunction of conditions; a list is a disjunction of its elements. Lists are sorted and unique.
///
/// An absent list asks nothing; an empty one matches nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub ids: Option<Vec<EventId>>,
    pub authors: Option<Vec<Pubkey>>,
    pub kinds: Option<Vec<u16>>,
    /// By single-letter name: values of which one must be there.
    pub tags: BTreeMap<u8, Vec<Box<[u8]>>>,
    /// Seconds, inclusive.
    pub since: Option<u64>,
    /// Seconds, inclusive.
    pub until: Option<u64>,
    /// How many stored events at most, newest first.
    pub limit: Option<u64>,
    /// What the content is to speak of (NIP-50).
    pub search: Option<String>,
}

impl Filter {
    pub fn parse(text: &str, limits: FilterLimits) -> Result<Self, FilterError> {
        let mut cursor = Cursor::new(text);
        let filter = Self::read(&mut cursor, limits)?;
        cursor.end()?;
        Ok(filter)
    }

    pub fn read(cursor: &mut Cursor<'_>, limits: FilterLimits) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        let mut room = limits.max_elements;
        cursor.object(|key, cursor| {
            let key = key.decode()?;
            filter.read_member(&key, cursor, limits, &mut room)
        })?;
        Ok(filter)
    }

    fn read_member(
        &mut self,
        key: &str,
        cursor: &mut Cursor<'_>,
        limits: FilterLimits,
        room: &mut usize,
    ) -> Result<(), FilterError> {
        let max = limits.max_elements;
        match key.as_bytes() {
            b"ids" => set(&mut self.ids, key, list(cursor, max, room, read_id)?),
            b"authors" => set(&mut self.authors, key, list(cursor, max, room, read_author)?),
            b"kinds" => set(&mut self.kinds, key, list(cursor, max, room, read_kind)?),
            b"since" => set(&mut self.since, key, cursor.unsigned()?),
            b"until" => set(&mut self.until, key, cursor.unsigned()?),
            b"limit" => set(&mut self.limit, key, cursor.unsigned()?),
            b"search" => set(&mut self.search, key, read_search(cursor)?),
            [b'#', name] if name.is_ascii_alphabetic() => {
                let values = list(cursor, max, room, read_tag_value)?;
                if self.tags.insert(*name, values).is_some() {
                    return Err(FilterError::Twice(key.to_owned()));
                }
                if self.tags.len() > limits.max_tags {
                    return Err(FilterError::TooManyTags(limits.max_tags));
                }
                Ok(())
            }
            _ => Err(FilterError::UnknownKey(key.chars().take(32).collect())),
        }
    }

    /// Whether `event` fulfils every condition; `limit` is not one.
    ///
    /// No view shows the content, so a search matches nothing here: who can search asks for the other `conditions`.
    pub fn matches(&self, event: &EventView<'_>) -> bool {
        self.search.is_none() && self.conditions(event)
    }

    /// Whether `event` fulfils every condition but `search`.
    pub fn conditions(&self, event: &EventView<'_>) -> bool {
        self.since.is_none_or(|since| since <= event.created_at)
            && self.until.is_none_or(|until| event.created_at <= until)
            && self.kinds.as_ref().is_none_or(|kinds| kinds.binary_search(&event.kind).is_ok())
            && self.authors.as_ref().is_none_or(|keys| keys.binary_search(event.pubkey).is_ok())
            && self.ids.as_ref().is_none_or(|ids| ids.binary_search(event.id).is_ok())
            && self.tags.iter().all(|(name, values)| {
                event.index_tags.named(*name).any(|value| values.binary_search_by(|v| v.as_ref().cmp(value)).is_ok())
            })
    }

    /// The filter as NIP-01 writes it.
    pub fn to_json(&self) -> String {
        let mut members = serde_json::Map::new();
        let mut put = |name: &str, value: Option<serde_json::Value>| {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        };
        put("ids", self.ids.as_ref().map(|ids| ids.iter().map(EventId::to_hex).collect()));
        put("authors", self.authors.as_ref().map(|keys| keys.iter().map(Pubkey::to_hex).collect()));
        put("kinds", self.kinds.as_ref().map(|kinds| kinds.iter().copied().collect()));
        put("since", self.since.map(Into::into));
        put("until", self.until.map(Into::into));
        put("limit", self.limit.map(Into::into));
        put("search", self.search.as_deref().map(Into::into));
        for (name, values) in &self.tags {
            let values = values.iter().map(|value| String::from_utf8_lossy(value).into_owned());
            put(&format!("#{}", *name as char), Some(values.collect()));
        }
        serde_json::Value::Object(members).to_string()
    }

    /// Whether it asks for events that it names, or that refer to ones it names.
    pub fn names_events(&self) -> bool {
        self.ids.is_some() || self.tags.contains_key(&b'e')
    }

    /// Whether nothing but private kinds can match.
    pub fn is_private(&self) -> bool {
        self.kinds.as_ref().is_some_and(|kinds| !kinds.is_empty() && kinds.iter().all(|kind| kind::is_private(*kind)))
    }

    /// Whether every event that can match is for everybody, whoever asks: none is private, none a request that may be leased
    /// or a result that may be withheld.
    pub fn is_public(&self) -> bool {
        let closed = |kind: u16| kind::is_private(kind) || kind::is_job_request(kind) || kind::is_job_result(kind);
        let public = |kind: &u16| !closed(*kind);
        self.kinds.as_ref().is_some_and(|kinds| kinds.iter().all(public))
    }

    /// Whether no stored event is asked for, so that there is nothing to search.
    pub fn is_never(&self) -> bool {
        let empty_range = matches!((self.since, self.until), (Some(since), Some(until)) if since > until);
        empty_range
            || self.limit == Some(0)
            || self.ids.as_ref().is_some_and(Vec::is_empty)
            || self.authors.as_ref().is_some_and(Vec::is_empty)
            || self.kinds.as_ref().is_some_and(Vec::is_empty)
            || self.tags.values().any(Vec::is_empty)
    }
}

fn set<T>(slot: &mut Option<T>, key: &str, value: T) -> Result<(), FilterError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(FilterError::Twice(key.to_owned())),
    }
}

/// Reads a list, sorted and without repetition, counting its elements against `room`.
fn list<'a, T: Ord>(
    cursor: &mut Cursor<'a>,
    max: usize,
    room: &mut usize,
    read: impl Fn(&mut Cursor<'a>) -> Result<T, FilterError>,
) -> Result<Vec<T>, FilterError> {
    let mut values = Vec::new();
    cursor.array::<FilterError>(|cursor| {
        *room = room.checked_sub(1).ok_or(FilterError::TooManyElements(max))?;
        values.push(read(cursor)?);
        Ok(())
    })?;
    values.sort_unstable();
    values.dedup();
    // Kept for as long as a subscription is open.
    values.shrink_to_fit();
    Ok(values)
}

fn read_id(cursor: &mut Cursor<'_>) -> Result<EventId, FilterError> {
    EventId::from_hex(cursor.string()?.raw).ok_or(FilterError::NotHex("ids"))
}

fn read_author(cursor: &mut Cursor<'_>) -> Result<Pubkey, FilterError> {
    Pubkey::from_hex(cursor.string()?.raw).ok_or(FilterError::NotHex("authors"))
}

fn read_kind(cursor: &mut Cursor<'_>) -> Result<u16, FilterError> {
    u16::try_from(cursor.unsigned()?).map_err(|_| FilterError::Kind)
}

fn read_search(cursor: &mut Cursor<'_>) -> Result<String, FilterError> {
    let text = cursor.string()?.decode()?;
    match text.len() > MAX_SEARCH_BYTES {
        true => Err(FilterError::LongSearch),
        false => Ok(text.into_owned()),
    }
}

fn read_tag_value(cursor: &mut Cursor<'_>) -> Result<Box<[u8]>, FilterError> {
    Ok(cursor.string()?.decode()?.as_bytes().into())
}
