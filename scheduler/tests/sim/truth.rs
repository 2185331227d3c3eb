//! What the right answer to a job is, and what those say who do not compute it.

use super::rng::Rng;
use mercato_scheduler::{Answer, JobId, ProviderId, Validation, Verdict, splitmix64};

/// How far apart two answers in numbers may be.
pub const TOLERANCE: i128 = 1_000;

fn word(bytes: &[u8; 32]) -> u64 {
    bytes.as_chunks::<8>().0.first().map_or(0, |word| u64::from_le_bytes(*word))
}

/// An answer made from a number; numbers are near it by half the tolerance.
fn answer(from: u64, validate: Validation, rng: &mut Rng) -> Answer {
    match validate {
        Validation::Exact => {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&splitmix64(from).to_le_bytes());
            Answer::Digest(digest)
        }
        Validation::Tolerance { .. } => {
            let noise = i128::from(rng.between(0, 501));
            let centre = i128::from(splitmix64(from) >> 8) * 4_096;
            Answer::Numbers(vec![centre + noise, noise - centre])
        }
        Validation::Verdict => Answer::Verdict(Verdict::Pass),
    }
}

/// What everybody finds who does the work.
pub fn right(job: JobId, validate: Validation, rng: &mut Rng) -> Answer {
    answer(word(&job.0), validate, rng)
}

/// Something false that nobody else says.
pub fn false_alone(job: JobId, by: ProviderId, validate: Validation, rng: &mut Rng) -> Answer {
    answer(word(&job.0) ^ splitmix64(word(&by.0)), validate, rng)
}

/// Something false on which a gang agreed.
pub fn false_together(job: JobId, validate: Validation, rng: &mut Rng) -> Answer {
    answer(!word(&job.0), validate, rng)
}

/// What the lazy say to everything.
pub fn nothing(validate: Validation, rng: &mut Rng) -> Answer {
    answer(0, validate, rng)
}

/// Whether two answers are the same; counted by hand, not by the scheduler.
pub fn same(validate: Validation, one: &Answer, other: &Answer) -> bool {
    match (validate, one, other) {
        (Validation::Tolerance { abs, .. }, Answer::Numbers(one), Answer::Numbers(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| (a - b).abs() <= abs)
        }
        (Validation::Exact | Validation::Tolerance { .. } | Validation::Verdict, one, other) => one == other,
    }
}
