//! What a process has been asked and has not answered.
//!
//! Answers may come in any order; those about one author are handed on in the order in which they were asked for, so
//! that a plugin that thinks longer about a profile than about the next one does not swap them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use crate::nostr::Pubkey;
use crate::policy::Verdict;

/// `T` is whatever waits for a verdict.
#[derive(Debug)]
pub struct Flight<T> {
    /// By the order of asking.
    asked: BTreeMap<u64, Asked<T>>,
    unanswered: BTreeSet<u64>,
    /// The same event may have been sent by several clients at once: they are answered one after the other.
    by_id: HashMap<String, VecDeque<u64>>,
    by_author: HashMap<Pubkey, VecDeque<u64>>,
    next: u64,
    /// Since when the oldest of `unanswered` is the oldest.
    oldest_since: Instant,
}

#[derive(Debug)]
struct Asked<T> {
    author: Option<Pubkey>,
    waiting: T,
    verdict: Option<Verdict>,
}

impl<T> Flight<T> {
    pub fn new(now: Instant) -> Self {
        Self {
            asked: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            by_id: HashMap::new(),
            by_author: HashMap::new(),
            next: 0,
            oldest_since: now,
        }
    }

    /// Everything that was not handed on.
    pub fn len(&self) -> usize {
        self.asked.len()
    }

    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// Since when the process owes its next answer: an event behind others does not wait because of itself.
    pub fn oldest_since(&self) -> Option<Instant> {
        (!self.unanswered.is_empty()).then_some(self.oldest_since)
    }

    /// Notes that the process was asked about `id`.
    pub fn ask(&mut self, id: String, author: Option<Pubkey>, waiting: T, now: Instant) {
        let ticket = self.next;
        self.next += 1;
        if self.unanswered.is_empty() {
            self.oldest_since = now;
        }
        self.unanswered.insert(ticket);
        self.by_id.entry(id).or_default().push_back(ticket);
        if let Some(author) = author {
            self.by_author.entry(author).or_default().push_back(ticket);
        }
        self.asked.insert(ticket, Asked { author, waiting, verdict: None });
    }

    /// Takes an answer. What may be handed on now, in order; `None` when nobody asked about `id`.
    pub fn answer(&mut self, id: &str, verdict: Verdict, now: Instant) -> Option<Vec<(T, Verdict)>> {
        let tickets = self.by_id.get_mut(id)?;
        let ticket = tickets.pop_front()?;
        if tickets.is_empty() {
            self.by_id.remove(id);
        }
        if self.unanswered.first() == Some(&ticket) {
            self.oldest_since = now;
        }
        self.unanswered.remove(&ticket);
        let asked = self.asked.get_mut(&ticket)?;
        asked.verdict = Some(verdict);
        Some(match asked.author {
            Some(author) => self.release(&author),
            None => self.hand_on(ticket).into_iter().collect(),
        })
    }

    /// What of an author has been answered and has nothing unanswered before it.
    fn release(&mut self, author: &Pubkey) -> Vec<(T, Verdict)> {
        let mut released = Vec::new();
        let Some(mut tickets) = self.by_author.remove(author) else { return released };
        while let Some(handed) = tickets.front().and_then(|ticket| self.hand_on(*ticket)) {
            tickets.pop_front();
            released.push(handed);
        }
        if !tickets.is_empty() {
            self.by_author.insert(*author, tickets);
        }
        released
    }

    fn hand_on(&mut self, ticket: u64) -> Option<(T, Verdict)> {
        self.asked.get(&ticket)?.verdict.as_ref()?;
        let asked = self.asked.remove(&ticket)?;
        Some((asked.waiting, asked.verdict?))
    }

    /// Gives up: everything that was not handed on, in order, with the verdict where there is one already.
    pub fn abandon(&mut self) -> Vec<(T, Option<Verdict>)> {
        self.unanswered.clear();
        self.by_id.clear();
        self.by_author.clear();
        std::mem::take(&mut self.asked).into_values().map(|asked| (asked.waiting, asked.verdict)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const AUTHORS: [Option<Pubkey>; 3] = [Some(Pubkey([1; 32])), Some(Pubkey([2; 32])), None];

    /// Looks through a list for everything.
    #[derive(Default)]
    struct Naive(Vec<(u32, String, Option<Pubkey>, bool)>);

    impl Naive {
        fn answer(&mut self, id: &str) -> Option<Vec<u32>> {
            self.0.iter_mut().find(|asked| asked.1 == id && !asked.3)?.3 = true;
            let mut released = Vec::new();
            let mut at = 0;
            while at < self.0.len() {
                let (number, _, author, answered) = &self.0[at];
                let is_behind = author.is_some() && self.0[..at].iter().any(|earlier| earlier.2 == *author);
                if *answered && !is_behind {
                    released.push(*number);
                    self.0.remove(at);
                    at = 0;
                } else {
                    at += 1;
                }
            }
            Some(released)
        }
    }

    proptest! {
        #[test]
        fn answers_are_handed_on_as_a_naive_list_does(
            steps in proptest::collection::vec((any::<bool>(), 0_u8..6, 0_usize..3), 0..80)
        ) {
            let now = Instant::now();
            let (mut flight, mut naive) = (Flight::new(now), Naive::default());
            for (number, (asks, id, author)) in (0_u32..).zip(steps) {
                let id = id.to_string();
                if asks {
                    flight.ask(id.clone(), AUTHORS[author], number, now);
                    naive.0.push((number, id, AUTHORS[author], false));
                } else {
                    let handed = flight.answer(&id, Verdict::Accept, now);
                    let handed = handed.map(|list| list.into_iter().map(|(number, _)| number).collect::<Vec<_>>());
                    prop_assert_eq!(handed, naive.answer(&id));
                }
                prop_assert_eq!(flight.len(), naive.0.len());
                prop_assert_eq!(flight.oldest_since().is_some(), naive.0.iter().any(|asked| !asked.3));
            }
            let left: Vec<u32> = flight.abandon().into_iter().map(|(number, _)| number).collect();
            prop_assert_eq!(left, naive.0.iter().map(|asked| asked.0).collect::<Vec<_>>());
            prop_assert!(flight.is_empty() && flight.by_id.is_empty() && flight.by_author.is_empty());
        }
    }

    #[test]
    fn only_the_oldest_question_is_timed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut flight = Flight::new(start);
        assert_eq!(flight.oldest_since(), None);
        for id in ["a", "b", "c"] {
            flight.ask(id.to_owned(), None, (), at(1));
        }
        flight.answer("b", Verdict::Accept, at(2));
        assert_eq!(flight.oldest_since(), Some(at(1)), "an answer to a later one is no excuse");
        flight.answer("a", Verdict::Accept, at(3));
        assert_eq!(flight.oldest_since(), Some(at(3)), "from now on it is about c");
        flight.answer("c", Verdict::Accept, at(4));
        assert_eq!(flight.oldest_since(), None);
    }
}
