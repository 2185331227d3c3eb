//! When what is due: a hierarchical timing wheel over the rows of a table.
//!
//! Eleven levels of 64 slots cover all of time in milliseconds. A time lies at the level of the highest six bits in which it differs from the present, so
//! slots of level 0 are single milliseconds, and those of each level 64 times as long as of the one below. Setting and taking back a time
//! is a change of three links in lists, however many there are. As the present comes to a slot, its rows move to lower levels, each at most ten
//! times in its life. What is due stands in order of time and id, as an ordered set would tell it, so nobody sees how the rows were linked.
//!
//! Slots are not sorted: of the next thing to come the exact time is known while few share its slot, else only when the slot begins.

use crate::id::JobId;
use crate::table::Handle;
use std::collections::BTreeSet;

/// Bits of time that a level tells.
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = 11;
/// Rows of a slot that are looked at for its earliest time.
const LOOKS: usize = 128;

/// No row: the end of a list.
const NONE: u32 = u32::MAX;
/// In place of a link: the row has no time.
const IDLE: u32 = u32::MAX - 1;
/// In place of a link: the row is due.
const DUE: u32 = u32::MAX - 2;

/// What is known of one row.
#[derive(Clone, Copy, Debug)]
struct Node {
    at_ms: u64,
    /// The one before it in its slot.
    prev: u32,
    /// The one behind it.
    next: u32,
}

const BLANK: Node = Node { at_ms: 0, prev: NONE, next: IDLE };

/// A slot: its level, its number, and when it begins.
type Slot = (usize, usize, u64);

/// One time for each row, at most.
#[derive(Clone, Debug)]
pub(crate) struct Wheel {
    /// Whatever is later is in a slot; what is not is due.
    now_ms: u64,
    /// By handle.
    nodes: Vec<Node>,
    /// The first row of each slot.
    heads: [[u32; SLOTS]; LEVELS],
    /// The slots of a level that have rows, one bit each. The present's own slot has none.
    filled: [u64; LEVELS],
    due: BTreeSet<(u64, JobId)>,
}

impl Default for Wheel {
    fn default() -> Self {
        let (heads, filled) = ([[NONE; SLOTS]; LEVELS], [0; LEVELS]);
        Self { now_ms: 0, nodes: Vec::new(), heads, filled, due: BTreeSet::new() }
    }
}

impl PartialEq for Wheel {
    /// The same times, whichever rows have them, and wherever the present stands.
    fn eq(&self, other: &Self) -> bool {
        self.times() == other.times()
    }
}

impl Eq for Wheel {}

impl Wheel {
    /// Moves a row from its time, which is known, to another one.
    pub fn set(&mut self, row: (Handle, JobId), before_ms: Option<u64>, after_ms: Option<u64>) {
        if before_ms == after_ms {
            return;
        }
        if before_ms.is_some() {
            self.take(row);
        }
        if let Some(at_ms) = after_ms {
            self.put(row, at_ms);
        }
    }

    /// The time of a row.
    pub fn of(&self, row: Handle) -> Option<u64> {
        self.nodes.get(row.place()).filter(|node| node.next != IDLE).map(|node| node.at_ms)
    }

    /// The present is no earlier than this.
    pub fn advance(&mut self, now_ms: u64, id_of: impl Fn(Handle) -> Option<JobId>) {
        while let Some((level, slot, from_ms)) = self.first_slot().filter(|(_, _, from_ms)| *from_ms <= now_ms) {
            self.now_ms = from_ms;
            let mut next = std::mem::replace(self.head(level, slot), NONE);
            self.mark(level, slot, false);
            while next != NONE {
                let Some(node) = self.nodes.get(Handle(next).place()) else {
                    panic!("row {next} is linked and not known");
                };
                let (row, at_ms) = (Handle(next), node.at_ms);
                next = node.next;
                match id_of(row) {
                    Some(id) => self.put((row, id), at_ms),
                    None => panic!("{row:?} has a time and is not known"),
                }
            }
        }
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// The first of those that are due, by time and id.
    pub fn first_due(&self) -> Option<(u64, JobId)> {
        self.due.first().copied()
    }

    /// When to advance next: no later than when the next row is due.
    pub fn next_ms(&self) -> Option<u64> {
        if let Some((at_ms, _)) = self.due.first() {
            return Some(*at_ms);
        }
        let (level, slot, from_ms) = self.first_slot()?;
        let mut times = self.list(level, slot);
        let least_ms = times.by_ref().take(LOOKS).min();
        if times.next().is_some() { Some(from_ms) } else { least_ms }
    }

    fn put(&mut self, (row, id): (Handle, JobId), at_ms: u64) {
        if self.nodes.len() <= row.place() {
            self.nodes.resize(row.place() + 1, BLANK);
        }
        let (mut prev, mut next) = (NONE, DUE);
        if at_ms <= self.now_ms {
            self.due.insert((at_ms, id));
        } else {
            let (level, slot) = self.place_of(at_ms);
            (prev, next) = (NONE, std::mem::replace(self.head(level, slot), row.0));
            self.mark(level, slot, true);
            self.link(next, |node| node.prev = row.0);
        }
        self.link(row.0, |node| *node = Node { at_ms, prev, next });
    }

    fn take(&mut self, (row, id): (Handle, JobId)) {
        let node = self.nodes.get(row.place()).copied().unwrap_or(BLANK);
        match (node.prev, node.next) {
            (_, IDLE) => panic!("{id:?} has no time"),
            (_, DUE) => {
                self.due.remove(&(node.at_ms, id));
            }
            (NONE, next) => {
                let (level, slot) = self.place_of(node.at_ms);
                *self.head(level, slot) = next;
                self.mark(level, slot, next != NONE);
                self.link(next, |after| after.prev = NONE);
            }
            (prev, next) => {
                self.link(prev, |before| before.next = next);
                self.link(next, |after| after.prev = prev);
            }
        }
        self.link(row.0, |node| *node = BLANK);
    }

    /// Where a time that is to come lies.
    fn place_of(&self, at_ms: u64) -> (usize, usize) {
        let level = (at_ms ^ self.now_ms).checked_ilog2().unwrap_or(0) / BITS;
        let slot = (at_ms >> (level * BITS)) % SLOTS as u64;
        (level as usize, slot as usize)
    }

    /// The slot that comes next: those of a lower level all come before those of a higher one.
    fn first_slot(&self) -> Option<Slot> {
        let (level, filled) = (0..).zip(&self.filled).find(|(_, filled)| **filled != 0)?;
        let slot = filled.trailing_zeros();
        let above = (level + 1) * BITS;
        let passed = self.now_ms.checked_shr(above).and_then(|high| high.checked_shl(above)).unwrap_or(0);
        Some((level as usize, slot as usize, passed | u64::from(slot) << (level * BITS)))
    }

    /// The times in a slot.
    fn list(&self, level: usize, slot: usize) -> impl Iterator<Item = u64> {
        let mut next = self.heads[level][slot];
        std::iter::from_fn(move || {
            let node = self.nodes.get(Handle(next).place())?;
            next = node.next;
            Some(node.at_ms)
        })
    }

    fn head(&mut self, level: usize, slot: usize) -> &mut u32 {
        &mut self.heads[level][slot]
    }

    fn mark(&mut self, level: usize, slot: usize, has_rows: bool) {
        let bit = 1 << slot;
        let filled = &mut self.filled[level];
        *filled = if has_rows { *filled | bit } else { *filled & !bit };
    }

    /// Changes a row; none is at the end of a list.
    fn link(&mut self, row: u32, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(Handle(row).place()) {
            change(node);
        }
    }

    fn times(&self) -> Vec<u64> {
        let set = self.nodes.iter().filter(|node| node.next != IDLE);
        let mut times: Vec<u64> = set.map(|node| node.at_ms).collect();
        times.sort_unstable();
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn id(row: u32) -> JobId {
        JobId(std::array::from_fn(|at| row.wrapping_mul(0x9e37_79b9).to_le_bytes()[at % 4]))
    }

    fn row(n: u32) -> (Handle, JobId) {
        (Handle(n), id(n))
    }

    /// What the wheel is to do, with an ordered set.
    #[derive(Default)]
    struct Twin(BTreeSet<(u64, JobId)>);

    impl Twin {
        fn set(&mut self, (_, id): (Handle, JobId), before_ms: Option<u64>, after_ms: Option<u64>) {
            before_ms.into_iter().for_each(|at_ms| assert!(self.0.remove(&(at_ms, id))));
            self.0.extend(after_ms.map(|at_ms| (at_ms, id)));
        }

        fn first_due(&self, now_ms: u64) -> Option<(u64, JobId)> {
            self.0.first().copied().filter(|(at_ms, _)| *at_ms <= now_ms)
        }
    }

    #[derive(Clone, Debug)]
    enum Change {
        /// This row is due so long from now; `None`: never.
        Set(u32, Option<u64>),
        Advance(u64),
        /// Advance to when it says.
        Follow,
    }

    fn change(rows: u32) -> impl Strategy<Value = Change> {
        let ahead = (0..34_u32, any::<u64>()).prop_map(|(bits, any)| any % (1 << bits));
        let later = prop_oneof![8 => ahead.clone().prop_map(Some), 3 => Just(None), 1 => Just(Some(u64::MAX))];
        prop_oneof![
            6 => (0..rows, later).prop_map(|(row, at)| Change::Set(row, at)),
            1 => ahead.prop_map(Change::Advance),
            2 => Just(Change::Follow),
        ]
    }

    fn agrees(changes: Vec<Change>, begin_ms: u64) -> Result<(), TestCaseError> {
        let (mut wheel, mut twin, mut now_ms) = (Wheel::default(), Twin::default(), 0_u64);
        let mut times: Vec<Option<u64>> = vec![None; 400];
        let all = std::iter::once(Change::Advance(begin_ms)).chain(changes);
        for change in all {
            match change {
                Change::Set(n, later) => {
                    let at_ms = later.map(|later| now_ms.saturating_add(later).saturating_sub(50));
                    wheel.set(row(n), times[n as usize], at_ms);
                    twin.set(row(n), times[n as usize], at_ms);
                    times[n as usize] = at_ms;
                }
                Change::Advance(by_ms) => now_ms = now_ms.saturating_add(by_ms),
                Change::Follow => now_ms = now_ms.max(wheel.next_ms().unwrap_or(now_ms)),
            }
            wheel.advance(now_ms, |row| Some(id(row.0)));
            prop_assert_eq!(wheel.first_due(), twin.first_due(now_ms));
            let (told_ms, first_ms) = (wheel.next_ms(), twin.0.first().map(|(at_ms, _)| *at_ms));
            prop_assert_eq!(told_ms.is_some(), first_ms.is_some());
            prop_assert!(told_ms <= first_ms && (told_ms > Some(now_ms) || told_ms == first_ms));
            prop_assert!(told_ms == first_ms || twin.0.len() > LOOKS, "exact while there are few");
        }
        for (n, at_ms) in (0..).zip(&times) {
            prop_assert_eq!(wheel.of(Handle(n)), *at_ms);
        }
        // Everything comes, in order.
        while let Some(next_ms) = wheel.next_ms() {
            wheel.advance(next_ms, |row| Some(id(row.0)));
            while let Some(first) = wheel.first_due() {
                prop_assert_eq!(Some(first), twin.0.pop_first());
                let n = (0..400).find(|n| id(*n) == first.1).expect("it was set");
                wheel.set(row(n), Some(first.0), None);
            }
        }
        prop_assert!(twin.0.is_empty() && wheel == Wheel::default());
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

        #[test]
        fn it_tells_what_an_ordered_set_tells(changes in vec(change(40), 0..300), begin_ms in any::<u64>()) {
            agrees(changes, begin_ms >> 2)?;
        }

        #[test]
        fn so_it_does_when_slots_are_full(changes in vec(change(400), 800..1_600)) {
            agrees(changes, 1_790_000_000_000)?;
        }
    }

    /// `cargo test --release -p mercato-scheduler --lib -- --ignored --nocapture wheel`
    #[test]
    #[ignore = "measures"]
    #[expect(clippy::disallowed_methods, clippy::disallowed_types, clippy::print_stdout, reason = "measures")]
    fn wheel_and_ordered_set_by_size() {
        const TURNS: u32 = 400_000;
        const TIMES: [u64; 3] = [3_600_000, 10_000, 600_000];
        for live in [1_000_u32, 100_000, 1_000_000] {
            // A life: the job's end, the time to accept, the run, and nothing; one ends as another begins.
            let lives = |set: &mut dyn FnMut((Handle, JobId), Option<u64>, Option<u64>),
                         advance: &mut dyn FnMut(u64)| {
                let mut at = vec![None; live as usize];
                let mut one = |n: u32, now_ms: u64, set: &mut dyn FnMut((Handle, JobId), Option<u64>, Option<u64>)| {
                    let row = row(n % live);
                    let at = &mut at[(n % live) as usize];
                    for after in [None].into_iter().chain(TIMES.map(|ms| Some(now_ms + ms))) {
                        set(row, *at, after);
                        *at = after;
                    }
                };
                (0..live).for_each(|n| one(n, 1_790_000_000_000, set));
                let start = std::time::Instant::now();
                for n in 0..TURNS {
                    let now_ms = 1_790_000_000_000 + u64::from(n) / 64;
                    one(n.wrapping_mul(7_919), now_ms, set);
                    advance(now_ms);
                }
                start.elapsed().as_nanos() / u128::from(TURNS)
            };
            let wheel = std::cell::RefCell::new(Wheel::default());
            let of_wheel = lives(&mut |row, before, after| wheel.borrow_mut().set(row, before, after), &mut |now_ms| {
                wheel.borrow_mut().advance(now_ms, |row| Some(id(row.0)))
            });
            let mut twin = Twin::default();
            let of_set = lives(&mut |row, before, after| twin.set(row, before, after), &mut |_| {});
            println!("{live:>9} live: {of_wheel} ns a life by wheel, {of_set} ns by ordered set");
        }
    }
}
