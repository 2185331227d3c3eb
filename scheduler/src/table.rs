//! A table of rows by id: looked up in one step, told in the order of the ids.
//!
//! A hash map from ids to places underneath, as most steps look up a dozen rows and none goes over all of them. Its own order decides nothing: whoever wants
//! all rows gets them sorted, which takes its time and is for checkpoints, checks and restarts. Ids are hashes and public keys, so
//! their first eight bytes are the hash. Who makes ids that share a bucket on purpose makes look-ups slower, as far as the tables' bounds go.

use std::collections::{BTreeMap, hash_map};
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::ops::Index;

#[expect(clippy::disallowed_types, reason = "its order of iteration, which is fixed at that, is never seen")]
type Places<K> = std::collections::HashMap<K, Handle, BuildHasherDefault<Head>>;

/// The place of a row in its table while it is there; another row may have it later. It depends on the past, so nothing is decided by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle(pub u32);

impl Handle {
    pub fn place(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Rows by id.
#[derive(Clone)]
pub struct Table<K, V> {
    places: Places<K>,
    /// By handle.
    rows: Vec<Option<Box<V>>>,
    free: Vec<Handle>,
}

impl<K: Copy + Ord + Hash, V> Table<K, V> {
    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The row of an id.
    pub fn get(&self, id: &K) -> Option<&V> {
        self.at(self.handle(id)?)
    }

    /// Whether there is a row of this id.
    pub fn contains_key(&self, id: &K) -> bool {
        self.places.contains_key(id)
    }

    /// All rows, in the order of their ids. Sorts them: takes time in proportion to the table.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let mut rows: Vec<_> = self.places.iter().filter_map(|(id, place)| Some((id, self.at(*place)?))).collect();
        rows.sort_unstable_by_key(|(id, _)| **id);
        rows.into_iter()
    }

    /// As [`Table::iter`], the ids alone.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(id, _)| id)
    }

    /// As [`Table::iter`], the rows alone.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, row)| row)
    }

    /// How many rows there are of each sort, in one pass: the order of the rows cannot show in it.
    pub fn tally<S: Ord>(&self, sort: impl Fn(&V) -> Option<S>) -> BTreeMap<S, usize> {
        let mut counts = BTreeMap::new();
        for sort in self.rows.iter().flatten().filter_map(|row| sort(row)) {
            *counts.entry(sort).or_default() += 1;
        }
        counts
    }

    /// The ids of some rows, in their order. Only these are sorted.
    pub fn ids_of(&self, is_meant: impl Fn(&V) -> bool) -> Vec<K> {
        let mut ids: Vec<K> = self
            .places
            .iter()
            .filter(|(_, place)| self.at(**place).is_some_and(&is_meant))
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        ids
    }

    pub(crate) fn get_mut(&mut self, id: &K) -> Option<&mut V> {
        self.at_mut(self.handle(id)?)
    }

    pub(crate) fn handle(&self, id: &K) -> Option<Handle> {
        self.places.get(id).copied()
    }

    pub(crate) fn at(&self, place: Handle) -> Option<&V> {
        self.rows.get(place.place())?.as_deref()
    }

    pub(crate) fn at_mut(&mut self, place: Handle) -> Option<&mut V> {
        self.rows.get_mut(place.place())?.as_deref_mut()
    }

    /// The row of an id, which is made when there is none.
    pub(crate) fn get_or_insert_with(&mut self, id: K, row: impl FnOnce() -> V) -> &mut V {
        let place = match self.places.entry(id) {
            hash_map::Entry::Occupied(place) => *place.get(),
            hash_map::Entry::Vacant(free) => *free.insert(enter(&mut self.rows, &mut self.free, Box::new(row()))),
        };
        self.at_mut(place).expect("an id that is known has a row")
    }

    /// Puts in a row whose id is not known; `None`: it is.
    pub(crate) fn insert_new(&mut self, id: K, row: Box<V>) -> Option<Handle> {
        match self.places.entry(id) {
            hash_map::Entry::Vacant(free) => Some(*free.insert(enter(&mut self.rows, &mut self.free, row))),
            hash_map::Entry::Occupied(_) => None,
        }
    }

    pub(crate) fn remove(&mut self, id: &K) -> Option<Box<V>> {
        let place = self.places.remove(id)?;
        self.free.push(place);
        self.rows.get_mut(place.place())?.take()
    }
}

/// Gives a row a place.
fn enter<V>(rows: &mut Vec<Option<Box<V>>>, free: &mut Vec<Handle>, row: Box<V>) -> Handle {
    let last = || Handle(u32::try_from(rows.len()).expect("tables are bounded far below"));
    let place = free.pop().unwrap_or_else(last);
    match rows.get_mut(place.place()) {
        Some(empty) => *empty = Some(row),
        None => rows.push(Some(row)),
    }
    place
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { places: Places::default(), rows: Vec::new(), free: Vec::new() }
    }
}

impl<K: Copy + Ord + Hash, V: PartialEq> PartialEq for Table<K, V> {
    /// The same rows, wherever they lie.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<K: Copy + Ord + Hash, V: Eq> Eq for Table<K, V> {}

impl<K: Copy + Ord + Hash, V> Index<&K> for Table<K, V> {
    type Output = V;

    /// # Panics
    /// When there is no such row.
    fn index(&self, id: &K) -> &V {
        self.get(id).expect("there is no row of this id")
    }
}

impl<K: Copy + Ord + Hash + fmt::Debug, V: fmt::Debug> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// The hash of an id: its first eight bytes, mixed so that ids made by hand spread too.
#[derive(Default)]
struct Head(u64);

impl Hasher for Head {
    fn write_u64(&mut self, head: u64) {
        // The golden ratio; the upper half of the product depends on all bits.
        let product = u128::from(head ^ self.0) * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        let [low, high] = [product, product >> 64].map(|half| u64::try_from(half & u128::from(u64::MAX)).unwrap_or(0));
        self.0 = low ^ high;
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, byte)| *to = *byte);
            self.write_u64(u64::from_be_bytes(word));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::JobId;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_an_ordered_map(changes in vec((any::<bool>(), any::<u8>(), any::<u8>()), 0..400)) {
            let (mut table, mut twin) = (Table::default(), BTreeMap::new());
            for (comes, head, tail) in changes {
                // Some share their first eight bytes.
                let id = JobId(std::array::from_fn(|at| if at < 8 { head % 8 } else { tail % 16 }));
                if comes {
                    prop_assert_eq!(table.insert_new(id, Box::new(tail)).is_some(), !twin.contains_key(&id));
                    twin.entry(id).or_insert(tail);
                } else {
                    prop_assert_eq!(table.remove(&id).map(|row| *row), twin.remove(&id));
                }
                prop_assert_eq!(table.get(&id), twin.get(&id));
                prop_assert_eq!(table.len(), twin.len());
            }
            prop_assert!(table.iter().eq(twin.iter()));
            prop_assert!(table.keys().eq(twin.keys()) && table.values().eq(twin.values()));
            let odd: Vec<JobId> = twin.iter().filter(|(_, row)| **row % 2 == 1).map(|(id, _)| *id).collect();
            let counted = table.tally(|row| Some(row % 2)).get(&1).copied().unwrap_or(0);
            prop_assert_eq!((table.ids_of(|row| row % 2 == 1), counted), (odd.clone(), odd.len()));
            let mut anew = Table::default();
            twin.iter().rev().for_each(|(id, row)| *anew.get_or_insert_with(*id, || 0) = *row);
            prop_assert_eq!(format!("{anew:?}"), format!("{table:?}"));
            prop_assert_eq!(anew, table);
        }
    }

    #[test]
    fn ids_made_by_hand_spread() {
        let hash = |id: JobId| {
            let mut hasher = Head::default();
            id.hash(&mut hasher);
            hasher.finish()
        };
        let hashes = (0..=u8::MAX).map(|n| hash(JobId([n; 32])));
        let buckets: std::collections::BTreeSet<u64> = hashes.map(|hash| hash % 1_024).collect();
        assert!(buckets.len() > 200, "{}", buckets.len());
    }
}
