//! A bounded memory of what was seen lately.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::nostr::EventId;

/// The last ids that were noted: at least `room` of them, at most twice as many. The older half is forgotten at once
/// when the younger is full.
#[derive(Debug)]
pub struct Recent {
    halves: Mutex<Halves>,
    room: usize,
}

#[derive(Debug, Default)]
struct Halves {
    young: HashSet<EventId>,
    old: HashSet<EventId>,
}

impl Recent {
    pub fn new(room: usize) -> Self {
        Self { halves: Mutex::default(), room }
    }

    /// Notes an id; false when it was known.
    pub fn note(&self, id: EventId) -> bool {
        let mut halves = self.lock();
        let known = halves.old.contains(&id);
        let new = halves.young.insert(id) && !known;
        if halves.young.len() >= self.room {
            halves.old = std::mem::take(&mut halves.young);
        }
        new
    }

    pub fn contains(&self, id: &EventId) -> bool {
        let halves = self.lock();
        halves.young.contains(id) || halves.old.contains(id)
    }

    fn lock(&self) -> MutexGuard<'_, Halves> {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_known_and_the_memory_is_bounded() {
        let recent = Recent::new(10);
        let id = |number: u32| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            EventId(id)
        };
        for number in 0..1_000 {
            assert!(recent.note(id(number)));
            assert!(!recent.note(id(number)), "{number} was just noted");
            let newest = number.saturating_sub(9)..=number;
            assert!(newest.into_iter().all(|number| recent.contains(&id(number))));
            let halves = recent.lock();
            assert!(halves.young.len() + halves.old.len() <= 20);
        }
        assert!(!recent.contains(&id(0)));
    }
}
