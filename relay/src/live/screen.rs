//! A quick look at whether an author may be among the many that a filter names.
//!
//! Finding a key among hundreds touches a cache line at every step of the search, and live delivery asks this of every filter
//! that stands in its way. Here it is one bit, in one line; a set bit is looked into.

use crate::nostr::{Filter, Pubkey};

/// From how many authors on it pays.
const MANY: usize = 8;
/// Bits for each author: one in eight strangers passes.
const BITS_EACH: usize = 8;

/// The authors of one filter, by some bits of each; `None`: they are few, or not asked for.
#[derive(Debug)]
pub struct Screen(Option<Box<[u64]>>);

impl Screen {
    /// A screen for each of `filters`, or none when no filter needs one.
    pub fn of_all(filters: &[Filter]) -> Box<[Self]> {
        let screens: Vec<Self> = filters.iter().map(Self::of).collect();
        if screens.iter().all(|screen| screen.0.is_none()) { Box::default() } else { screens.into() }
    }

    fn of(filter: &Filter) -> Self {
        let many = filter.authors.as_ref().filter(|authors| authors.len() >= MANY);
        Self(many.map(|authors| {
            let mut words = vec![0; (authors.len() * BITS_EACH).next_power_of_two() / 64].into_boxed_slice();
            for author in authors {
                let (word, bit) = place(author, words.len());
                words[word] |= bit;
            }
            words
        }))
    }

    /// False when the filter surely does not name this author.
    pub fn lets(&self, author: &Pubkey) -> bool {
        self.0.as_ref().is_none_or(|words| {
            let (word, bit) = place(author, words.len());
            words[word] & bit != 0
        })
    }
}

/// Keys are as good as random. `words` is a power of two.
fn place(author: &Pubkey, words: usize) -> (usize, u64) {
    let [a, b, c, d, e, ..] = author.0;
    (u32::from_le_bytes([a, b, c, d]) as usize & (words - 1), 1 << (e % 64))
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn key(number: u32) -> Pubkey {
        Pubkey(Sha256::digest(number.to_le_bytes()).into())
    }

    fn screen(count: u32) -> Screen {
        Screen::of(&Filter { authors: Some((0..count).map(key).collect()), ..Filter::default() })
    }

    #[test]
    fn who_is_named_passes_and_most_others_do_not() {
        for count in [8, 9, 100, 1_000, 1_025] {
            let screen = screen(count);
            assert!((0..count).all(|number| screen.lets(&key(number))));
            let strangers = (10_000..20_000).filter(|number| screen.lets(&key(*number))).count();
            assert!(strangers < 1_500, "{strangers} of 10,000 strangers passed the screen of {count}");
        }
    }

    #[test]
    fn few_authors_are_not_screened() {
        assert!(screen(7).0.is_none() && screen(7).lets(&key(99)));
        assert!(Screen::of(&Filter::default()).lets(&key(1)));
    }
}
