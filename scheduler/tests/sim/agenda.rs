//! What happens when.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

struct Entry<E> {
    at_ms: u64,
    number: u64,
    /// Boxed: the heap moves its entries a lot.
    event: Box<E>,
}

/// Events in order of time, and of entry at one time.
pub struct Agenda<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    entered: u64,
}

impl<E> Agenda<E> {
    pub fn new() -> Self {
        Self { heap: BinaryHeap::new(), entered: 0 }
    }

    pub fn enter(&mut self, at_ms: u64, event: E) {
        self.entered += 1;
        self.heap.push(Reverse(Entry { at_ms, number: self.entered, event: Box::new(event) }));
    }

    pub fn next_ms(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(entry)| entry.at_ms)
    }

    pub fn pop(&mut self) -> Option<E> {
        self.heap.pop().map(|Reverse(entry)| *entry.event)
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at_ms, self.number).cmp(&(other.at_ms, other.number))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}
