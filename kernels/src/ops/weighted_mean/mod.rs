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
//! a_0    = +0.0
//! a_i+1  = fma(p_i, x_i[j], a_i)                    f32, one rounding, in the order of the updates
//! out[j] = a_n
//! ```
//!
//! Each `out[j]` is one chain that no lane, tile or thread shares, which fixes the bits on every processor that has
//! (or emulates) a fused multiply-add; on CUDA the step is `__fmaf_rn`. The order of the updates is part of the input:
//! another order may change the last bits. With `u = 2^-24`, and no underflow,
//!
//! ```text
//! |out[j] - exact| <= (n + 1) · u · Σ_i (w_i / W) · |x_i[j]|      to first order in u
//! ```
//!
//! A negative zero that nothing is added to comes out as positive zero.

mod cpu;
#[cfg(test)]
mod tests;

use crate::Error;

/// Writes the mean of `updates`, weighted by `weights`, to `out`; see the [module](self) for the formula.
///
/// Reads each update once and allocates `n` floats. An update of zero weight has no influence but is still checked.
///
/// # Errors
///
/// Checked before anything is written: [`Error::NoUpdates`], [`Error::WeightCount`], [`Error::UpdateLength`] (against
/// `out`), [`Error::WeightNotFinite`], [`Error::WeightNegative`], [`Error::ZeroTotalWeight`]. Noticed while writing, so
/// that `out` is unspecified: [`Error::NotFinite`], which names the first such update and its first such coordinate,
/// and [`Error::Overflow`].
pub fn weighted_mean(updates: &[&[f32]], weights: &[f32], out: &mut [f32]) -> Result<(), Error> {
    check_shape(updates, weights.len(), out.len())?;
    let shares = shares(weights)?;
    if cpu::weighted_sum(updates, &shares, out) {
        return Ok(());
    }
    Err(blame(updates, out))
}

fn check_shape(updates: &[&[f32]], weights: usize, expected: usize) -> Result<(), Error> {
    if updates.is_empty() {
        return Err(Error::NoUpdates);
    }
    if weights != updates.len() {
        return Err(Error::WeightCount { weights, updates: updates.len() });
    }
    match updates.iter().position(|update| update.len() != expected) {
        None => Ok(()),
        Some(update) => Err(Error::UpdateLength { update, len: updates[update].len(), expected }),
    }
}

/// `p_i` of the formula. The total of finite `f32`s cannot overflow an `f64`.
fn shares(weights: &[f32]) -> Result<Vec<f32>, Error> {
    let mut total = 0.0_f64;
    for (update, &weight) in weights.iter().enumerate() {
        if !weight.is_finite() {
            return Err(Error::WeightNotFinite { update });
        }
        if weight < 0.0 {
            return Err(Error::WeightNegative { update });
        }
        total += f64::from(weight);
    }
    if total == 0.0 {
        return Err(Error::ZeroTotalWeight);
    }
    Ok(weights.iter().map(|&weight| (f64::from(weight) / total) as f32).collect())
}

/// Finds what made `out` not finite. A chain never becomes finite again (`0 · inf` is NaN too), so the kernel need
/// only look at its output, and the updates are searched only after it has failed.
fn blame(updates: &[&[f32]], out: &[f32]) -> Error {
    let not_finite = |values: &[f32]| values.iter().position(|value| !value.is_finite());
    for (update, values) in updates.iter().enumerate() {
        if let Some(coordinate) = not_finite(values) {
            return Error::NotFinite { update, coordinate };
        }
    }
    let coordinate = not_finite(out).expect("called only for an output that is not finite");
    Error::Overflow { coordinate }
}
