//! A set of items in order that knows how many stand before a place and what their ids add up to: a B+tree with a sum
//! at every child. Insertion, removal, rank and the sum of any range take one walk from the root.
//!
//! A clone costs nothing and never changes: nodes are shared until one side writes to them. So a reconciliation works on
//! the set as it was when it began, while the writer goes on.

mod node;

use std::ops::{ControlFlow, Range};

use self::node::{Edges, Node};
use super::item::Item;
use super::sum::{Fingerprint, Sum};

/// Bytes of memory that an item takes, for budgets: 42 where items came in order, up to 90 where they did not.
pub const ITEM_BYTES: usize = 64;

#[derive(Debug, Clone, Default)]
pub struct Tree {
    root: Node,
    sum: Sum,
}

impl Tree {
    pub fn len(&self) -> usize {
        self.sum.count
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn contains(&self, item: &Item) -> bool {
        self.root.contains(item)
    }

    /// False when it was there.
    pub fn insert(&mut self, item: Item) -> bool {
        // Asked first, so that nothing shared is copied in vain.
        if self.contains(&item) {
            return false;
        }
        let id = Sum::of(&item.id);
        if let Some(right) = self.root.insert(item, Edges::ALL) {
            self.root.grow(right);
        }
        self.sum += id;
        true
    }

    /// False when it was not there.
    pub fn remove(&mut self, item: &Item) -> bool {
        if !self.contains(item) {
            return false;
        }
        self.root.remove(item);
        self.root.shrink();
        self.sum -= Sum::of(&item.id);
        true
    }

    /// How many items stand before this place.
    pub fn rank(&self, place: &Item) -> usize {
        self.root.rank(place)
    }

    /// Of the items with these ranks.
    pub fn sum(&self, ranks: Range<usize>) -> Sum {
        self.first(ranks.end) - self.first(ranks.start)
    }

    pub fn fingerprint(&self, ranks: Range<usize>) -> Fingerprint {
        self.sum(ranks).fingerprint()
    }

    /// Hands over the items with these ranks, in order, until told to stop.
    pub fn each(&self, ranks: Range<usize>, take: &mut dyn FnMut(&Item) -> ControlFlow<()>) -> ControlFlow<()> {
        self.root.each(ranks, take)
    }

    /// The item of this rank.
    pub fn get(&self, rank: usize) -> Option<Item> {
        let mut found = None;
        let _ = self.each(rank..rank + 1, &mut |item| {
            found = Some(*item);
            ControlFlow::Break(())
        });
        found
    }

    fn first(&self, count: usize) -> Sum {
        if count >= self.len() { self.sum } else { self.root.first(count) }
    }
}

impl Extend<Item> for Tree {
    fn extend<I: IntoIterator<Item = Item>>(&mut self, items: I) {
        for item in items {
            self.insert(item);
        }
    }
}

impl FromIterator<Item> for Tree {
    fn from_iter<I: IntoIterator<Item = Item>>(items: I) -> Self {
        let mut tree = Self::default();
        tree.extend(items);
        tree
    }
}
