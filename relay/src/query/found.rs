//! Stored events that speak of something (NIP-50), best first: what the index guesses, checked in the store.

use super::Library;
use crate::connection::Connection;
use crate::nostr::Filter;
use crate::store::{Record, StoreError};

/// Candidates looked at in one slice.
const PAGE: usize = 128;
/// Candidates looked at for one filter; what ranks behind them is not found.
const MAX_CANDIDATES: usize = 10_000;

/// Where a search stands.
#[derive(Debug, Default)]
pub struct Found {
    looked_at: usize,
}

/// How a slice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Searched {
    More,
    Exhausted,
    /// There may be more, too far down to look.
    CutShort,
}

impl Found {
    /// Hands over the events of the next page that fit the filter and that this client may be told of, until `found`
    /// says that it is enough.
    pub fn advance(
        &mut self,
        library: &Library,
        connection: &Connection,
        filter: &Filter,
        max_sequence: u64,
        found: &mut dyn FnMut(Record) -> bool,
    ) -> Result<Searched, StoreError> {
        let Some(finder) = &library.finder else { return Ok(Searched::Exhausted) };
        let candidates = finder.find(filter, self.looked_at, PAGE).map_err(|error| {
            tracing::error!(%error, "the search index could not be read");
            StoreError::Damaged("the search index")
        })?;
        self.looked_at += candidates.len();
        let now = crate::clock::now_s();
        for id in &candidates {
            let Some(record) = library.store.get(id)? else { continue };
            let fits = record.sequence <= max_sequence && !record.is_expired(now) && filter.conditions(&record.view());
            if fits && library.readers.may_answer(&record.view(), filter, connection) && !found(record) {
                return Ok(Searched::CutShort);
            }
        }
        Ok(match candidates.len() {
            count if count < PAGE => Searched::Exhausted,
            _ if self.looked_at >= MAX_CANDIDATES => Searched::CutShort,
            _ => Searched::More,
        })
    }
}
