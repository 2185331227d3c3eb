//! The part of a tree that lies between two moments: a tree for a filter answers it with `since` and `until` too.

use std::ops::{ControlFlow, Range};

use super::item::Item;
use super::sum::Fingerprint;
use super::tree::Tree;
use crate::nostr::{EventId, Filter};

/// A set that never changes. Ranks count from its beginning.
#[derive(Debug, Clone, Default)]
pub struct Span {
    tree: Tree,
    /// Ranks in the tree.
    part: Range<usize>,
}

impl From<Tree> for Span {
    fn from(tree: Tree) -> Self {
        Self { part: 0..tree.len(), tree }
    }
}

impl Span {
    /// What lies between the filter's `since` and `until`, both inclusive.
    pub fn of(tree: Tree, filter: &Filter) -> Self {
        let first = |created_at| tree.rank(&Item { created_at, ..Item::FIRST });
        let start = first(filter.since.unwrap_or(0));
        let end = filter.until.and_then(|until| until.checked_add(1)).map_or(tree.len(), first);
        Self { part: start..end.max(start), tree }
    }

    pub fn len(&self) -> usize {
        self.part.len()
    }

    pub fn is_empty(&self) -> bool {
        self.part.is_empty()
    }

    /// How many items stand before this place.
    pub fn rank(&self, place: &Item) -> usize {
        self.tree.rank(place).clamp(self.part.start, self.part.end) - self.part.start
    }

    pub fn fingerprint(&self, ranks: Range<usize>) -> Fingerprint {
        self.tree.fingerprint(self.ranks(ranks))
    }

    pub fn get(&self, rank: usize) -> Option<Item> {
        if rank < self.len() { self.tree.get(self.part.start + rank) } else { None }
    }

    /// Up to `most` ids from this range, in order.
    pub fn ids(&self, ranks: Range<usize>, most: usize) -> Vec<EventId> {
        let ranks = ranks.start..ranks.end.min(ranks.start.saturating_add(most));
        let mut ids = Vec::with_capacity(ranks.len());
        let _ = self.tree.each(self.ranks(ranks), &mut |item| {
            ids.push(item.id);
            ControlFlow::Continue(())
        });
        ids
    }

    fn ranks(&self, ranks: Range<usize>) -> Range<usize> {
        self.part.start + ranks.start..self.part.start + ranks.end
    }
}
