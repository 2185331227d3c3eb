//! Ranges of one index, merged into one sequence of positions.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use rocksdb::DBRawIterator;

use super::super::keys::{Index, Prefix};
use super::super::{Position, StoreError};
use super::scan::Window;
use super::view::View;

/// Entries read ahead in all ranges together, at most.
const READ_AHEAD: usize = 4096;
/// Entries read ahead in one range, at most.
const READ_AHEAD_EACH: usize = 64;

/// Yields what stands in any of the ranges, in order; a position that stands in several comes several times.
///
/// One iterator serves all ranges. Moving it to another range costs a seek, ten steps' worth, so it reads
/// ahead a little, and twice as far each time it comes back to a range.
pub struct Merge<'a> {
    entries: DBRawIterator<'a>,
    window: Window,
    lanes: Vec<Lane>,
    heap: BinaryHeap<Head>,
    /// The lane whose next entry is not on the heap yet: it is read only when someone asks.
    behind: Option<usize>,
    /// The lane on whose last read entry the iterator stands.
    at: Option<usize>,
    max_read_ahead: usize,
}

/// One range on its way.
struct Lane {
    prefix: Prefix,
    /// Read and not yet yielded.
    pending: VecDeque<Position>,
    /// The last entry read; the next read goes on behind it.
    last: Option<Position>,
    read_ahead: usize,
    is_exhausted: bool,
}

/// The next entry of a lane.
#[derive(PartialEq, Eq)]
struct Head {
    position: Position,
    lane: usize,
    ascending: bool,
}

impl Ord for Head {
    /// The greatest is yielded first.
    fn cmp(&self, other: &Self) -> Ordering {
        let newest_first = other.position.cmp(&self.position).then(other.lane.cmp(&self.lane));
        if self.ascending { newest_first.reverse() } else { newest_first }
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<'a> Merge<'a> {
    pub fn new(view: &'a View<'_>, index: Index, prefixes: &[Prefix], window: Window) -> Result<Self, StoreError> {
        let lane = |prefix: &Prefix| Lane {
            prefix: *prefix,
            pending: VecDeque::new(),
            last: window.after,
            read_ahead: 1,
            is_exhausted: false,
        };
        let mut merge = Self {
            entries: view.index(index, window.ascending),
            window,
            lanes: prefixes.iter().map(lane).collect(),
            heap: BinaryHeap::with_capacity(prefixes.len()),
            behind: None,
            at: None,
            max_read_ahead: (READ_AHEAD / prefixes.len().max(1)).clamp(2, READ_AHEAD_EACH),
        };
        for lane in 0..prefixes.len() {
            merge.advance(lane)?;
        }
        Ok(merge)
    }

    pub fn next(&mut self) -> Result<Option<Position>, StoreError> {
        if let Some(lane) = self.behind.take() {
            self.advance(lane)?;
        }
        let Some(head) = self.heap.pop() else { return Ok(None) };
        self.behind = Some(head.lane);
        Ok(Some(head.position))
    }

    /// Puts the lane's next entry on the heap, if it has one.
    fn advance(&mut self, at: usize) -> Result<(), StoreError> {
        if self.lanes[at].pending.is_empty() && !self.lanes[at].is_exhausted {
            self.read(at)?;
        }
        if let Some(position) = self.lanes[at].pending.pop_front() {
            self.heap.push(Head { position, lane: at, ascending: self.window.ascending });
        }
        Ok(())
    }

    fn read(&mut self, at: usize) -> Result<(), StoreError> {
        let lane = &mut self.lanes[at];
        if self.at == Some(at) {
            step(&mut self.entries, self.window.ascending);
        } else {
            seek(&mut self.entries, lane, &self.window);
            self.at = Some(at);
        }
        loop {
            let key = self.entries.key();
            let Some(position) = key.and_then(|key| lane.prefix.position(key)).filter(|p| self.window.holds(*p)) else {
                lane.is_exhausted = true;
                break;
            };
            // A seek lands on the entry it was to go on behind.
            if lane.last != Some(position) {
                lane.pending.push_back(position);
                lane.last = Some(position);
            }
            if lane.pending.len() >= lane.read_ahead {
                break;
            }
            step(&mut self.entries, self.window.ascending);
        }
        lane.read_ahead = (lane.read_ahead * 2).min(self.max_read_ahead);
        Ok(self.entries.status()?)
    }
}

fn step(entries: &mut DBRawIterator<'_>, ascending: bool) {
    if ascending { entries.prev() } else { entries.next() }
}

fn seek(entries: &mut DBRawIterator<'_>, lane: &Lane, window: &Window) {
    let key = lane.prefix.at(lane.last.unwrap_or_else(|| window.start()));
    if window.ascending { entries.seek_for_prev(key) } else { entries.seek(key) }
}
