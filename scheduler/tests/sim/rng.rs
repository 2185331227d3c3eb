//! Draws from a seed.

use mercato_scheduler::splitmix64;

pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(splitmix64(seed))
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        splitmix64(self.0)
    }

    /// Evenly from `low` up to, not including, `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low < high, "an empty range");
        low + self.draw() % (high - low)
    }

    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.between(0, 1_000) < per_mille
    }

    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.between(0, len as u64)).expect("an index")
    }

    pub fn maybe(&mut self, per_mille: u64, low: u64, high: u64) -> Option<u64> {
        self.chance(per_mille).then(|| self.between(low, high))
    }
}
