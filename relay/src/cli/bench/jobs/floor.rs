//! What a job's signatures alone cost on this machine now: the least that any relay could spend on it.

use std::hint::black_box;

use anyhow::ensure;
use secp256k1::XOnlyPublicKey;
use secp256k1::schnorr::Signature;

use crate::cli::bench::data::keypair;
use crate::cli::bench::process::thread_cpu_s;
use crate::market::Signer;
use crate::nostr::EventId;

/// Signatures checked of each job: request, acceptance and result.
const CHECKED: f64 = 3.0;
/// Signatures made for each job: lease and end.
const SIGNED: f64 = 2.0;
/// The median of so many rounds counts, so that neighbours on the machine do not.
const ROUNDS: usize = 15;
/// Signatures of one round.
const ROUND: u8 = 64;

/// Processor time of one signature, in microseconds, with the arithmetic that the relay uses.
#[derive(Debug, Clone, Copy)]
pub struct Floor {
    pub check_us: f64,
    pub sign_us: f64,
}

impl Floor {
    /// Measures it, in some tens of milliseconds.
    ///
    /// # Errors
    /// When the clock cannot be read.
    pub fn measure() -> anyhow::Result<Self> {
        let signer = Signer::new(keypair(0, "floor"));
        let ids: Vec<EventId> = (0..ROUND).map(|at| EventId([at; 32])).collect();
        let signatures: Vec<[u8; 64]> = ids.iter().map(|id| signer.sign(id)).collect();
        let key: XOnlyPublicKey = signer.pair().x_only_public_key().0;
        let is_good =
            |(id, signature): (&EventId, &[u8; 64])| Signature::from_byte_array(*signature).verify(&id.0, &key).is_ok();
        ensure!(ids.iter().zip(&signatures).all(is_good), "signatures do not verify on this machine");
        let checks = || ids.iter().zip(&signatures).filter(|pair| is_good(*pair)).count();
        let signs = || ids.iter().map(|id| usize::from(signer.sign(id)[0])).sum();
        Ok(Self { check_us: median_us(checks)?, sign_us: median_us(signs)? })
    }

    /// The lower of two measurements.
    pub fn lower(self, other: Self) -> Self {
        Self { check_us: self.check_us.min(other.check_us), sign_us: self.sign_us.min(other.sign_us) }
    }

    /// Of one job.
    pub fn job_us(&self) -> f64 {
        CHECKED * self.check_us + SIGNED * self.sign_us
    }
}

/// Processor time of one signature of a round.
fn median_us(round: impl Fn() -> usize) -> anyhow::Result<f64> {
    let mut rounds_us = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let before_s = thread_cpu_s()?;
        black_box(round());
        rounds_us.push((thread_cpu_s()? - before_s) * 1e6 / f64::from(ROUND));
    }
    rounds_us.sort_unstable_by(f64::total_cmp);
    Ok(rounds_us[ROUNDS / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_costs_three_checks_and_two_signatures() {
        let floor = Floor { check_us: 30.0, sign_us: 20.0 };
        assert!((floor.job_us() - 130.0).abs() < 1e-9);
        assert!(Floor::measure().is_ok_and(|floor| floor.check_us > 0.0 && floor.sign_us > 0.0));
    }
}
