//! Who is to be told about anew: an outcome changes a reputation, and a busy provider has many a second. So what changed is
//! told together, a while after the first of it. After a crash it is told with the next outcome.

use std::collections::BTreeSet;

use crate::nostr::Pubkey;

/// How long changes are gathered.
const GATHERED_MS: u64 = 60_000;
/// How many are told in one step; the others in the next one.
const TOLD_MAX: usize = 256;

/// Keys whose reputation changed. At most as many as there are providers and customers.
#[derive(Debug, Default)]
pub struct News {
    changed: BTreeSet<Pubkey>,
    due_ms: Option<u64>,
}

impl News {
    /// Their reputation changed just now.
    pub fn note(&mut self, keys: impl IntoIterator<Item = Pubkey>, now_ms: u64) {
        self.changed.extend(keys);
        if !self.changed.is_empty() {
            self.due_ms.get_or_insert(now_ms.saturating_add(GATHERED_MS));
        }
    }

    /// When to tell of them.
    pub fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// Whom to tell of now.
    pub fn take(&mut self, now_ms: u64) -> Vec<Pubkey> {
        if self.due_ms.is_none_or(|due_ms| now_ms < due_ms) {
            return Vec::new();
        }
        let told: Vec<Pubkey> = std::iter::from_fn(|| self.changed.pop_first()).take(TOLD_MAX).collect();
        if self.changed.is_empty() {
            self.due_ms = None;
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_together_and_once() {
        let mut news = News::default();
        news.note([], 0);
        assert_eq!(news.due_ms(), None);
        news.note([Pubkey([1; 32])], 5);
        news.note([Pubkey([2; 32]), Pubkey([1; 32])], 50_000);
        assert_eq!((news.due_ms(), news.take(60_004)), (Some(60_005), vec![]));
        assert_eq!(news.take(60_005), [Pubkey([1; 32]), Pubkey([2; 32])]);
        assert_eq!((news.due_ms(), news.take(u64::MAX)), (None, vec![]));
    }

    #[test]
    fn of_many_a_bounded_number_is_told_at_a_time() {
        let mut news = News::default();
        news.note((0..=u8::MAX).flat_map(|n| [Pubkey([n; 32]), Pubkey([n ^ 1; 32])]), 0);
        news.note([Pubkey([[0; 31].as_slice(), &[7]].concat().try_into().unwrap())], 0);
        assert_eq!((news.take(60_000).len(), news.due_ms()), (TOLD_MAX, Some(60_000)));
        assert_eq!((news.take(60_000).len(), news.due_ms()), (1, None));
    }
}
