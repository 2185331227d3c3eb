//! Full-text search (NIP-50): an index of its own beside the store, which follows what the writer commits.
//!
//! The store is the truth and the index a guess at where to look: what it finds is fetched from the store and checked
//! there, so an event that has gone, or may not be read, is never shown. The index is brought up to date a moment after
//! the commit, off the writer's thread; one that has fallen behind, or is new, is filled from the store.

mod feed;
mod fields;
mod text;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tantivy::collector::TopDocs;
use tantivy::directory::MmapDirectory;
use tantivy::query::{BooleanQuery, Occur, Query, QueryParser, RangeQuery, TermQuery};
use tantivy::schema::{IndexRecordOption, Term};
use tantivy::{Index, IndexReader, ReloadPolicy};

use self::feed::Feed;
use self::fields::Fields;
use crate::config::SearchConfig;
use crate::nostr::{EventId, Filter, search};
use crate::query::Finder;
use crate::store::{Changes, Follower, Store};

/// Format of the index: one of another is thrown away and made anew.
const FORMAT: u32 = 1;

pub struct Search {
    index: Index,
    fields: Fields,
    reader: IndexReader,
    feed: Feed,
}

impl Search {
    /// Opens the index in the folder `path`, or makes it, and begins to follow `store`.
    pub fn open(config: &SearchConfig, path: &Path, store: Arc<dyn Store>) -> anyhow::Result<Self> {
        let folder = path.join(format!("format-{FORMAT}"));
        std::fs::create_dir_all(&folder).with_context(|| format!("making the folder {}", folder.display()))?;
        let (schema, fields) = Fields::schema();
        let open = || Index::open_or_create(MmapDirectory::open(&folder)?, schema.clone());
        let index = open().with_context(|| format!("opening the search index in {}", folder.display()))?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::OnCommitWithDelay).try_into()?;
        let feed = Feed::start(config, &index, fields.clone(), store)?;
        Ok(Self { index, fields, reader, feed })
    }

    /// What tantivy is asked: the words, and those conditions of the filter that the index knows.
    fn query(&self, filter: &Filter) -> Option<Box<dyn Query>> {
        let words = search::words(filter.search.as_deref()?).collect::<Vec<_>>().join(" ");
        let mut parser = QueryParser::for_index(&self.index, vec![self.fields.text]);
        parser.set_conjunction_by_default();
        // What is no query in tantivy's language is still words to look for.
        let (spoken, _) = parser.parse_query_lenient(&words);
        let mut parts = vec![(Occur::Must, spoken)];
        if let Some(kinds) = &filter.kinds {
            parts.push((
                Occur::Must,
                any(kinds.iter().map(|kind| Term::from_field_u64(self.fields.kind, u64::from(*kind)))),
            ));
        }
        if let Some(authors) = &filter.authors {
            parts
                .push((Occur::Must, any(authors.iter().map(|key| Term::from_field_bytes(self.fields.author, &key.0)))));
        }
        if filter.since.is_some() || filter.until.is_some() {
            use std::ops::Bound::{Included, Unbounded};
            let bound = |seconds: Option<u64>| {
                seconds.map_or(Unbounded, |seconds| Included(Term::from_field_u64(self.fields.created_at, seconds)))
            };
            parts.push((Occur::Must, Box::new(RangeQuery::new(bound(filter.since), bound(filter.until)))));
        }
        Some(Box::new(BooleanQuery::new(parts)))
    }
}

impl Finder for Search {
    fn find(&self, filter: &Filter, offset: usize, limit: usize) -> anyhow::Result<Vec<EventId>> {
        let Some(query) = self.query(filter) else { return Ok(Vec::new()) };
        let searcher = self.reader.searcher();
        let found = searcher.search(&query, &TopDocs::with_limit(limit.max(1)).and_offset(offset).order_by_score())?;
        let mut ids = Vec::with_capacity(found.len());
        for (_, address) in found {
            ids.extend(self.fields.id_of(&searcher.doc(address)?));
        }
        Ok(ids)
    }

    fn stop(&self) {
        self.feed.stop();
    }
}

impl Follower for Search {
    fn committed(&self, changes: &Changes) {
        self.feed.push(changes);
    }
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Search")
    }
}

/// One of these terms.
fn any(terms: impl Iterator<Item = Term>) -> Box<dyn Query> {
    let one =
        |term| -> (Occur, Box<dyn Query>) { (Occur::Should, Box::new(TermQuery::new(term, IndexRecordOption::Basic))) };
    Box::new(BooleanQuery::new(terms.map(one).collect()))
}
