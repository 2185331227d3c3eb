//! Nodes, shared between versions of a tree and copied by who changes one.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::super::item::Item;
use super::super::sum::Sum;

/// Items in a leaf at most.
const LEAF: usize = 64;
/// Items for which a leaf takes room at once.
const LEAF_GROWTH: usize = 16;
/// Children of an inner node at most.
const FANOUT: usize = 32;

#[derive(Debug, Clone)]
pub enum Node {
    Leaf(Arc<Vec<Item>>),
    Inner(Arc<Vec<Child>>),
}

#[derive(Debug, Clone)]
pub struct Child {
    /// Not behind any item of this child, and behind every item of the one before.
    from: Item,
    sum: Sum,
    node: Node,
}

/// At which ends of the whole tree a node stands.
///
/// Where items come in order, a full node there is left full and a fresh one begun: halves would never fill up.
/// Elsewhere a full node is halved, so that no order of insertion makes a tree of thin nodes.
#[derive(Debug, Clone, Copy)]
pub struct Edges {
    first: bool,
    last: bool,
}

impl Edges {
    pub const ALL: Self = Self { first: true, last: true };

    fn of_child(self, at: usize, children: usize) -> Self {
        Self { first: self.first && at == 0, last: self.last && at + 1 == children }
    }

    /// Where to split a node of `len` parts, the newest of which stands at `at`.
    fn split(self, at: usize, len: usize) -> usize {
        if self.last && at + 1 == len {
            len - 1
        } else if self.first && at == 0 {
            1
        } else {
            len / 2
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::Leaf(Arc::default())
    }
}

impl Node {
    pub fn contains(&self, item: &Item) -> bool {
        match self {
            Self::Leaf(items) => items.binary_search(item).is_ok(),
            Self::Inner(children) => children[child_of(children, item)].node.contains(item),
        }
    }

    /// Adds an item that is not there. `Some` when the node was too full: what now stands to its right.
    pub fn insert(&mut self, item: Item, edges: Edges) -> Option<Child> {
        match self {
            Self::Leaf(items) => insert_item(Arc::make_mut(items), item, edges),
            Self::Inner(children) => insert_below(Arc::make_mut(children), item, edges),
        }
    }

    /// Puts a root above this one and `right`, which was split off it.
    pub fn grow(&mut self, right: Child) {
        let left = std::mem::take(self);
        let left = Child { from: Item::FIRST, sum: left.sum(), node: left };
        *self = Self::Inner(Arc::new(vec![left, right]));
    }

    /// Takes off a root that has but one child.
    pub fn shrink(&mut self) {
        while let Self::Inner(children) = self
            && let [only] = children.as_slice()
        {
            *self = only.node.clone();
        }
    }

    /// Removes an item that is there.
    pub fn remove(&mut self, item: &Item) {
        match self {
            Self::Leaf(items) => {
                if let Ok(at) = items.binary_search(item) {
                    Arc::make_mut(items).remove(at);
                }
            }
            Self::Inner(children) => {
                let children = Arc::make_mut(children);
                let at = child_of(children, item);
                children[at].sum -= Sum::of(&item.id);
                children[at].node.remove(item);
                merge_around(children, at);
            }
        }
    }

    pub fn rank(&self, place: &Item) -> usize {
        match self {
            Self::Leaf(items) => items.partition_point(|item| item < place),
            Self::Inner(children) => {
                let at = child_of(children, place);
                let before: usize = children[..at].iter().map(|child| child.sum.count).sum();
                before + children[at].node.rank(place)
            }
        }
    }

    /// The sum of the first `count` items, which are fewer than there are.
    pub fn first(&self, mut count: usize) -> Sum {
        let mut total = Sum::default();
        match self {
            Self::Leaf(items) => items[..count].iter().for_each(|item| total += Sum::of(&item.id)),
            Self::Inner(children) => {
                for child in children.iter() {
                    if count < child.sum.count {
                        total += child.node.first(count);
                        break;
                    }
                    total += child.sum;
                    count -= child.sum.count;
                }
            }
        }
        total
    }

    pub fn each(&self, ranks: Range<usize>, take: &mut dyn FnMut(&Item) -> ControlFlow<()>) -> ControlFlow<()> {
        match self {
            Self::Leaf(items) => {
                let end = ranks.end.min(items.len());
                items.get(ranks.start..end).into_iter().flatten().try_for_each(take)
            }
            Self::Inner(children) => {
                let mut from = 0;
                for child in children.iter() {
                    let to = from + child.sum.count;
                    if ranks.start < to && from < ranks.end {
                        child.node.each(ranks.start.saturating_sub(from)..ranks.end - from, take)?;
                    }
                    from = to;
                }
                ControlFlow::Continue(())
            }
        }
    }

    fn sum(&self) -> Sum {
        match self {
            Self::Leaf(items) => {
                let mut total = Sum::default();
                items.iter().for_each(|item| total += Sum::of(&item.id));
                total
            }
            Self::Inner(children) => children.iter().map(|child| &child.sum).sum(),
        }
    }

    /// Items or children.
    fn parts(&self) -> usize {
        match self {
            Self::Leaf(items) => items.len(),
            Self::Inner(children) => children.len(),
        }
    }

    fn most_parts(&self) -> usize {
        match self {
            Self::Leaf(_) => LEAF,
            Self::Inner(_) => FANOUT,
        }
    }

    /// Appends what stands to its right on the same level.
    fn append(&mut self, right: &Self) {
        match (self, right) {
            (Self::Leaf(items), Self::Leaf(right)) => Arc::make_mut(items).extend_from_slice(right),
            (Self::Inner(children), Self::Inner(right)) => Arc::make_mut(children).extend_from_slice(right),
            (Self::Leaf(_), Self::Inner(_)) | (Self::Inner(_), Self::Leaf(_)) => unreachable!("of one level"),
        }
    }
}

/// Which child holds this place.
fn child_of(children: &[Child], place: &Item) -> usize {
    children.partition_point(|child| child.from <= *place).saturating_sub(1)
}

fn insert_item(items: &mut Vec<Item>, item: Item, edges: Edges) -> Option<Child> {
    if items.len() == items.capacity() {
        // Doubling would leave half of the memory unused.
        items.reserve_exact(LEAF_GROWTH);
    }
    let at = items.partition_point(|other| *other < item);
    items.insert(at, item);
    if items.len() <= LEAF {
        return None;
    }
    let right = items.split_off(edges.split(at, items.len()));
    items.shrink_to(items.len() + LEAF_GROWTH);
    let node = Node::Leaf(Arc::new(right));
    Some(Child { from: first_of(&node), sum: node.sum(), node })
}

fn insert_below(children: &mut Vec<Child>, item: Item, edges: Edges) -> Option<Child> {
    let at = child_of(children, &item);
    let last = children.len();
    let child = &mut children[at];
    child.from = child.from.min(item);
    child.sum += Sum::of(&item.id);
    let right = child.node.insert(item, edges.of_child(at, last))?;
    child.sum -= right.sum;
    children.insert(at + 1, right);
    if children.len() <= FANOUT {
        return None;
    }
    // At the first edge it is the left of the two that items go on to.
    let newest = if edges.first && at == 0 { 0 } else { at + 1 };
    let right = children.split_off(edges.split(newest, children.len()));
    let (from, node) = (right[0].from, Node::Inner(Arc::new(right)));
    Some(Child { from, sum: node.sum(), node })
}

fn first_of(leaf: &Node) -> Item {
    match leaf {
        Node::Leaf(items) => items[0],
        Node::Inner(children) => children[0].from,
    }
}

/// Keeps neighbours from being thin both: any two together have more parts than fit into one.
fn merge_around(children: &mut Vec<Child>, at: usize) {
    if children[at].node.parts() == 0 {
        children.remove(at);
        return;
    }
    for left in [at, at.wrapping_sub(1)] {
        let Some([a, b]) = children.get_mut(left..).and_then(<[_]>::first_chunk_mut::<2>) else { continue };
        if a.node.parts() + b.node.parts() <= a.node.most_parts() {
            a.node.append(&b.node);
            a.sum += b.sum;
            children.remove(left + 1);
            return;
        }
    }
}
