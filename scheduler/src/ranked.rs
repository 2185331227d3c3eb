//! A sorted set that knows the place of each member: what seeded draws are made from.
//!
//! Members lie in sorted blocks of up to [`BLOCK_MAX`], so a change moves a few kilobytes at most. How many members lie before each block is
//! kept beside them: finding the n-th is a binary search, and a change adds one to the counts behind it, some hundred in a set of 100,000, several at
//! a time. Where the blocks are cut depends on the past, the members and their places do not; equality looks at members only.

use std::ops::Range;

/// Members of a block; a full one is halved.
const BLOCK_MAX: usize = 256;
/// Two neighbours that together have no more than this become one.
const BLOCK_MIN: usize = 96;

/// A sorted set with places.
#[derive(Clone, Debug)]
pub(crate) struct Ranked<K> {
    /// None is empty.
    blocks: Vec<Vec<K>>,
    /// For each block, how many members lie before it.
    starts: Vec<usize>,
    len: usize,
}

impl<K> Default for Ranked<K> {
    fn default() -> Self {
        Self { blocks: Vec::new(), starts: Vec::new(), len: 0 }
    }
}

impl<K: PartialEq> PartialEq for Ranked<K> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.blocks.iter().flatten().eq(other.blocks.iter().flatten())
    }
}

impl<K: Eq> Eq for Ranked<K> {}

impl<K: Ord> Ranked<K> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it was new.
    pub fn insert(&mut self, key: K) -> bool {
        let last = self.blocks.len().saturating_sub(1);
        let at = self.block_of(&key).min(last);
        let Some(block) = self.blocks.get_mut(at) else {
            self.blocks.push(vec![key]);
            self.starts.push(0);
            self.len = 1;
            return true;
        };
        let Err(place) = block.binary_search(&key) else {
            return false;
        };
        block.insert(place, key);
        self.len += 1;
        self.starts.iter_mut().skip(at + 1).for_each(|start| *start += 1);
        if block.len() >= BLOCK_MAX {
            let upper = block.split_off(BLOCK_MAX / 2);
            self.blocks.insert(at + 1, upper);
            let start = self.starts.get(at).map_or(0, |start| start + BLOCK_MAX / 2);
            self.starts.insert(at + 1, start);
        }
        true
    }

    /// Whether it was there.
    pub fn remove(&mut self, key: &K) -> bool {
        let at = self.block_of(key);
        let Some(block) = self.blocks.get_mut(at) else {
            return false;
        };
        let Ok(place) = block.binary_search(key) else {
            return false;
        };
        block.remove(place);
        self.len -= 1;
        self.starts.iter_mut().skip(at + 1).for_each(|start| *start -= 1);
        let left = block.len();
        if left == 0 {
            self.blocks.remove(at);
            self.starts.remove(at);
        } else if self.blocks.get(at + 1).is_some_and(|next| next.len() + left <= BLOCK_MIN) {
            self.starts.remove(at + 1);
            let mut next = self.blocks.remove(at + 1);
            self.blocks.get_mut(at).into_iter().for_each(|block| block.append(&mut next));
        }
        true
    }

    /// How many members are less than this.
    pub fn rank(&self, key: &K) -> usize {
        self.rank_by(|member| member < key)
    }

    /// How many members are `less`, which must hold for the first ones and for none after.
    pub fn rank_by(&self, less: impl Fn(&K) -> bool) -> usize {
        let at = self.blocks.partition_point(|block| block.last().is_some_and(&less));
        let within = self.blocks.get(at).map_or(0, |block| block.partition_point(less));
        self.starts.get(at).copied().unwrap_or(self.len) + within
    }

    /// The member at this place, from 0.
    pub fn get(&self, rank: usize) -> Option<&K> {
        let (at, within) = self.find(rank)?;
        self.blocks.get(at)?.get(within)
    }

    /// The members at these places.
    pub fn slice(&self, ranks: Range<usize>) -> impl Iterator<Item = &K> {
        let (at, within) = self.find(ranks.start).unwrap_or((self.blocks.len(), 0));
        let blocks = self.blocks.get(at..).unwrap_or_default();
        blocks.iter().flatten().skip(within).take(ranks.len())
    }

    /// The block of a place, and the place in it.
    fn find(&self, rank: usize) -> Option<(usize, usize)> {
        let at = self.starts.partition_point(|start| *start <= rank).checked_sub(1)?;
        self.starts.get(at).map(|start| (at, rank - start))
    }

    /// The first block whose last member is not less.
    fn block_of(&self, key: &K) -> usize {
        self.blocks.partition_point(|block| block.last().is_some_and(|last| last < key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

        #[test]
        fn it_is_a_sorted_vector(changes in vec((any::<bool>(), 0..1_500_u32), 0..4_000), span in (0..2_000_usize, 0..2_000_usize)) {
            let (mut ranked, mut twin) = (Ranked::default(), BTreeSet::new());
            // More come than go, so that blocks are cut; in the end more go, so that they are joined.
            for phase in [true, false] {
                for (other, key) in &changes {
                    let comes = if *other { phase } else { key % 3 == 0 };
                    let (changed, twin_changed) =
                        if comes { (ranked.insert(*key), twin.insert(*key)) } else { (ranked.remove(key), twin.remove(key)) };
                    prop_assert_eq!(changed, twin_changed);
                }
                let sorted: Vec<u32> = twin.iter().copied().collect();
                prop_assert_eq!(ranked.len(), sorted.len());
                prop_assert_eq!(ranked.is_empty(), sorted.is_empty());
                let places: Vec<u32> = (0..sorted.len() + 1).filter_map(|rank| ranked.get(rank).copied()).collect();
                prop_assert_eq!(&places, &sorted);
                let range = span.0.min(span.1)..span.0.max(span.1);
                let slice: Vec<u32> = ranked.slice(range.clone()).copied().collect();
                let twin_slice: Vec<u32> = sorted.iter().skip(range.start).take(range.len()).copied().collect();
                prop_assert_eq!(slice, twin_slice);
                for key in [0, 1, 700, 1_499, 1_500] {
                    prop_assert_eq!(ranked.rank(&key), sorted.partition_point(|member| *member < key));
                }
                let mut anew = Ranked::default();
                sorted.into_iter().for_each(|key| { anew.insert(key); });
                prop_assert_eq!(&anew, &ranked);
            }
        }
    }
}
