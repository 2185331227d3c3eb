//! CONTRA (Awan et al., *CONTRA: Defending against Poisoning Attacks in Federated Learning*, ESORICS 2021): who keeps
//! pointing where others point, too exactly, is taken for one of several colluding clients; he counts less now, and his
//! reputation falls.
//!
//! It presumes that honest clients have unlike data. Where shards are alike, honest updates are as similar as colluding
//! ones, and **the rule hurts honest clients**: prefer another one there.
//!
//! # Mathematics
//!
//! With `cs_ik` the cosine of two clients' histories (the sum of each one's updates so far), from a [`Gram`] matrix:
//!
//! ```text
//! τ_i   = mean of the k greatest cs_ij, j ≠ i             how aligned a client is with its likes
//! r_i   = r_i - δ  if τ_i > t,  else  r_i + δ             within 0..1
//! cs_ij = cs_ij · τ_i / τ_j    if τ_j > τ_i > 0           who is less aligned than his like is pardoned
//! lr_i  = 1 - max_j cs_ij                                 within 0..1
//! lr_i  = lr_i / max lr;  logit: ln(lr_i / (1 - lr_i)) + 0.5, within 0..1
//! c_i   = lr_i / Σ lr
//! ```
//!
//! Weights by the greatest similarity are what the authors' published code computes
//! (github.com/SanaAwan5/CONTRA2020, after FoolsGold's); there are implementations that take `1 - τ_i` instead.
//!
//! The logarithm is computed here from `+ - * /`, as that of a library differs from machine to machine.

use super::weighted_sum::Combination;
use crate::{Error, Gram};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contra {
    /// How many likes are looked at.
    pub k: usize,
    /// Above which mean similarity a reputation falls.
    pub threshold: f64,
    /// By how much.
    pub delta: f64,
}

impl Contra {
    /// Coefficients for this round's updates; `reputations`, one for each client within `0..=1`, are brought up to date:
    /// choose the next round's clients by them. Scores: how aligned each client is.
    ///
    /// # Errors
    ///
    /// [`Error::WeightCount`] for another number of reputations; [`Error::Parameter`] unless `1 <= k < n`;
    /// [`Error::NobodyTrusted`] if all histories are alike.
    pub fn weigh(&self, histories: &Gram, reputations: &mut [f64]) -> Result<Combination, Error> {
        let n = histories.count();
        if reputations.len() != n {
            return Err(Error::WeightCount { weights: reputations.len(), updates: n });
        }
        if self.k == 0 || self.k >= n {
            return Err(Error::Parameter { name: "k", must: "between 1 and the number of other updates" });
        }
        let scores: Vec<f64> = (0..n).map(|i| self.alignment(histories, i)).collect();
        for (reputation, &score) in reputations.iter_mut().zip(&scores) {
            let step = if score > self.threshold { -self.delta } else { self.delta };
            *reputation = (*reputation + step).clamp(0.0, 1.0);
        }
        let rates = rates(histories, &scores);
        let total: f64 = rates.iter().sum();
        if total == 0.0 {
            return Err(Error::NobodyTrusted { rule: "contra" });
        }
        Ok(Combination { coefficients: rates.iter().map(|rate| (rate / total) as f32).collect(), scores })
    }

    fn alignment(&self, histories: &Gram, i: usize) -> f64 {
        let others = (0..histories.count()).filter(|&j| j != i);
        let mut cosines: Vec<f64> = others.map(|j| histories.cosine(i, j)).collect();
        cosines.sort_unstable_by(|a, b| b.total_cmp(a));
        cosines[..self.k].iter().sum::<f64>() / self.k as f64
    }
}

fn rates(histories: &Gram, scores: &[f64]) -> Vec<f64> {
    let n = scores.len();
    let pardoned = |i: usize, j: usize| {
        let cosine = histories.cosine(i, j);
        if scores[j] > scores[i] && scores[i] > 0.0 { cosine * (scores[i] / scores[j]) } else { cosine }
    };
    let rate = |i: usize| {
        let greatest = (0..n).filter(|&j| j != i).map(|j| pardoned(i, j)).fold(-1.0, f64::max);
        (1.0 - greatest).clamp(0.0, 1.0)
    };
    let rates: Vec<f64> = (0..n).map(rate).collect();
    let greatest = rates.iter().copied().fold(0.0, f64::max);
    rates.iter().map(|rate| if greatest == 0.0 { 0.0 } else { logit(rate / greatest) }).collect()
}

/// `ln(x / (1 - x)) + 0.5` within 0..1.
fn logit(x: f64) -> f64 {
    if x <= 0.0 {
        0.0
    } else if x >= 1.0 {
        1.0
    } else {
        (ln(x / (1.0 - x)) + 0.5).clamp(0.0, 1.0)
    }
}

/// Of a positive, normal number: `x = m · 2^e` with `m` in `[2/3, 4/3)`, and `ln m = 2 artanh((m - 1) / (m + 1))` by its
/// series, whose argument is at most a fifth.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i32 - 1023;
    let mut mantissa = f64::from_bits(bits & 0x000f_ffff_ffff_ffff | 1023 << 52);
    if mantissa >= 4.0 / 3.0 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let argument = (mantissa - 1.0) / (mantissa + 1.0);
    let square = argument * argument;
    let series = (0..12).rev().fold(0.0, |sum, term| sum * square + 1.0 / f64::from(2 * term + 1));
    f64::from(exponent) * std::f64::consts::LN_2 + 2.0 * argument * series
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dense, Plan};

    #[test]
    fn the_logarithm_is_one() {
        for x in [1e-300, 1e-9, 0.1, 0.5, 0.666, 0.667, 1.0, 1.333, 1.334, 2.0, 10.0, 1e300] {
            assert!((ln(x) - x.ln()).abs() <= 4e-16 * x.ln().abs().max(1.0), "{x}: {} {}", ln(x), x.ln());
        }
    }

    #[test]
    fn colluding_clients_lose_weight_and_reputation() {
        let rows: [&[f32]; 5] = [
            &[1.0, 0.2, 0.0, 0.0],
            &[0.0, 1.0, 0.3, 0.0],
            &[0.1, 0.0, 1.0, 0.0],
            &[0.0, 0.0, 0.0, 5.0],
            &[0.0, 0.1, 0.0, 5.0],
        ];
        let gram = Gram::of(&Dense::new(&rows).unwrap(), &Plan::default()).unwrap();
        let mut reputations = [0.5; 5];
        let contra = Contra { k: 1, threshold: 0.9, delta: 0.1 };
        let combination = contra.weigh(&gram, &mut reputations).unwrap();
        assert_eq!(reputations.map(|reputation| reputation < 0.5), [false, false, false, true, true]);
        assert!(combination.coefficients[3] + combination.coefficients[4] < 0.01);
        assert!((combination.coefficients.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(contra.weigh(&gram, &mut [0.5; 4]), Err(Error::WeightCount { weights: 4, updates: 5 }),);
    }
}
