//! Weighted mean of updates: FedAvg (McMahan et al., *Communication-Efficient Learning of Deep Networks from
//! Decentralized Data*, AISTATS 2017, algorithm 1), where the weight of a client is usually its number of examples.
//!
//! # Mathematics
//!
//! For updates `x_0 … x_{n-1}` of `d` coordinates and weights `w_i >= 0` with `W = Σ w_i > 0`:
//!
//! ```text
//! out[j] = Σ_i (w_i / W) · x_i[j]
//! ```
//!
//! # Rounding
//!
//! All operations are IEEE 754, round to nearest, ties to even, without flushing subnormals:
//!
//! ```text
//! W      = (…((0.0 + w_0) + w_1) + … + w_{n-1})     f64, in the order of the updates
//! p_i    = f32(f64(w_i) / W)                        one f64 division, one rounding to f32
//! out    = weighted sum of the updates with p_i     see `ops/weighted_sum`
//! ```
//!
//! The order of the updates is part of the input: another order may change the last bits. With `u = 2^-24`, and no
//! underflow,
//!
//! ```text
//! |out[j] - exact| <= (n + 1) · u · Σ_i (w_i / W) · |x_i[j]|      to first order in u
//! ```
//!
//! A negative zero that nothing is added to comes out as positive zero.

#[cfg(test)]
mod tests;

use super::weighted_sum::{check_weights, weighted_sum};
use crate::{Error, Plan, Updates};

/// Writes the mean of `updates`, weighted by `weights`, to `out`; see the [module](self) for the formula.
///
/// Reads each update once. An update of zero weight has no influence but is still checked.
///
/// # Errors
///
/// Checked before anything is written: [`Error::WeightCount`], [`Error::OutputLength`], [`Error::WeightNotFinite`],
/// [`Error::WeightNegative`], [`Error::ZeroTotalWeight`]. Noticed while writing: those of [`weighted_sum`].
pub fn weighted_mean(updates: &dyn Updates, weights: &[f32], out: &mut [f32], plan: &Plan) -> Result<(), Error> {
    weighted_sum(updates, &shares(updates.count(), weights)?, out, plan)
}

/// `p_i` of the formula, for `n` updates.
pub(crate) fn shares(n: usize, weights: &[f32]) -> Result<Vec<f32>, Error> {
    let total = check_weights(n, weights)?;
    Ok(weights.iter().map(|&weight| (f64::from(weight) / total) as f32).collect())
}
