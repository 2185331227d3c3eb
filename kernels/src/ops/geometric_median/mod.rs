//! Geometric median by the smoothed Weiszfeld algorithm (Pillutla et al., *Robust Aggregation for Federated Learning*,
//! RFA, IEEE TSP 2022; ByzFL's `GeometricMedian(nu, T)`): the point with the least sum of distances to the updates.
//!
//! # Mathematics
//!
//! From `z = 0`, `T` times, with weights `α_i = w_i / Σ w`:
//!
//! ```text
//! β_i = α_i / max(ν, ‖x_i - z‖)        z = Σ_i (β_i / Σ β) x_i
//! ```
//!
//! `z` is always a combination of the updates, `z = Σ c_i x_i`, so its distances come from the [`Gram`] matrix:
//! `‖x_i - z‖² = (G_ii - 2 (G c)_i) + c·G c`. All in `f64`, sums in the order of the updates; the coefficients are
//! rounded to `f32` once, at the end.

use super::weighted_sum::{Combination, check_weights};
use crate::gram::dot;
use crate::{Error, Gram};

/// ByzFL's defaults are `nu = 0.1` and `t = 3`. Scores: distances to the aggregate's last but one approximation.
///
/// # Errors
///
/// [`Error::Parameter`] unless `nu` is positive and finite and `t` is positive; those of weights.
pub fn geometric_median(gram: &Gram, weights: &[f32], nu: f64, t: usize) -> Result<Combination, Error> {
    if !(nu > 0.0 && nu.is_finite()) {
        return Err(Error::Parameter { name: "nu", must: "positive and finite" });
    }
    if t == 0 {
        return Err(Error::Parameter { name: "T", must: "positive" });
    }
    let total = check_weights(gram.count(), weights)?;
    let mut coefficients = vec![0.0; gram.count()];
    let mut distances = Vec::new();
    for _ in 0..t {
        distances = distances_to(gram, &coefficients);
        let betas: Vec<f64> = weights
            .iter()
            .zip(&distances)
            .map(|(&weight, distance)| f64::from(weight) / total / distance.max(nu))
            .collect();
        let sum: f64 = betas.iter().sum();
        coefficients = betas.iter().map(|beta| beta / sum).collect();
    }
    Ok(Combination { coefficients: coefficients.iter().map(|&c| c as f32).collect(), scores: distances })
}

/// Of every update to `Σ_k c_k x_k`.
pub(crate) fn distances_to(gram: &Gram, coefficients: &[f64]) -> Vec<f64> {
    let products = gram.products_with(coefficients);
    let norm_squared = dot(coefficients, &products);
    (0..gram.count()).map(|i| gram.distance_squared_to(i, &products, norm_squared).sqrt()).collect()
}
