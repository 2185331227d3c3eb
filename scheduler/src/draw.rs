//! Seeded draws: the same numbers for everybody who knows the seed.

use crate::id::JobId;

/// The numbers that follow from a seed: each is [`splitmix64`] of the one before, the first that of the seed.
#[derive(Clone, Debug)]
pub(crate) struct Draws(u64);

impl Draws {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number modulo `n`.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "nobody to draw from");
        self.0 = splitmix64(self.0);
        let n = u64::try_from(n).unwrap_or(u64::MAX);
        usize::try_from(self.0 % n).unwrap_or(0)
    }

    /// Up to `wanted` of them: the first one is swapped with the one drawn from all, the second with the one drawn from all
    /// but the first, and so on.
    pub fn pick<T>(&mut self, mut from: Vec<T>, wanted: usize) -> Vec<T> {
        for at in 0..wanted.min(from.len()) {
            let other = at + self.below(from.len() - at);
            from.swap(at, other);
        }
        from.truncate(wanted);
        from
    }
}

/// The seed of an attempt at a job.
pub fn seed(job: JobId, attempt: u32) -> u64 {
    let words = job.0.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    words.chain([u64::from(attempt)]).fold(0, |hash, word| splitmix64(hash ^ word))
}

/// One step of Steele, Lea and Flood's splitmix64: a bijection that mixes all bits.
pub fn splitmix64(x: u64) -> u64 {
    let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_matches_its_published_first_output() {
        assert_eq!(splitmix64(0), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn those_picked_differ_and_all_are_picked_in_every_place() {
        for n in 1..9_usize {
            let drawn: Vec<Vec<usize>> =
                (0..600).map(|seed| Draws::new(splitmix64(seed)).pick((0..n).collect(), 2)).collect();
            assert!(drawn.iter().all(|picked| picked.len() == n.min(2)));
            assert!(drawn.iter().all(|picked| picked.iter().all(|one| *one < n) && (n == 1 || picked[0] != picked[1])));
            for place in 0..n.min(2) {
                assert!((0..n).all(|one| drawn.iter().any(|picked| picked[place] == one)), "of {n}");
            }
        }
    }

    /// Computed apart from this crate: who audits a lease must come to the same numbers.
    #[test]
    fn the_seed_of_job_and_attempt_is_as_published() {
        let job = JobId(std::array::from_fn(|at| u8::try_from(at).expect("32 bytes")));
        assert_eq!(seed(job, 1), 0x7c06_cee8_cf7b_9640);
        assert_eq!(seed(job, 2), 0xa0ed_c95e_36a3_38b1);
    }
}
