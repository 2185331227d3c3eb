//! Linear combination of updates: what most rules end in, once they know how much each update counts.
//!
//! # Mathematics
//!
//! ```text
//! out[j] = Σ_i c_i · x_i[j]
//! ```
//!
//! # Rounding
//!
//! ```text
//! a_0    = +0.0
//! a_i+1  = fma(c_i, x_i[j], a_i)                    f32, one rounding, in the order of the updates
//! out[j] = a_n
//! ```
//!
//! IEEE 754, round to nearest, ties to even, without flushing subnormals. Each `out[j]` is one chain that no lane, tile
//! or thread shares, which fixes the bits on every processor that has (or emulates) a fused multiply-add; on CUDA the
//! step is `__fmaf_rn`.

pub(crate) mod cpu;

use crate::updates::{Chosen, blame};
use crate::{Error, Plan, Updates};

/// Writes `Σ_i coefficients[i] · x_i` to `out`. Reads each update once.
///
/// # Errors
///
/// [`Error::WeightCount`], [`Error::OutputLength`], [`Error::Unreadable`]; noticed while writing, so that `out` is
/// unspecified: [`Error::NotFinite`], which names the first such update and its first such coordinate, and
/// [`Error::Overflow`].
pub fn weighted_sum(updates: &dyn Updates, coefficients: &[f32], out: &mut [f32], plan: &Plan) -> Result<(), Error> {
    check_count(updates, coefficients)?;
    if plan.over_tiles(updates, [out], |rows, [out]| cpu::weighted_sum(plan.isa, rows, coefficients, out))? {
        return Ok(());
    }
    Err(blame(updates, out))
}

fn check_count(updates: &dyn Updates, weights: &[f32]) -> Result<(), Error> {
    if weights.len() == updates.count() {
        return Ok(());
    }
    Err(Error::WeightCount { weights: weights.len(), updates: updates.count() })
}

/// One weight for each of `n` updates, finite, none negative, not all zero: their total, in the order of the updates. The
/// total of finite `f32`s cannot overflow an `f64`.
pub(crate) fn check_weights(n: usize, weights: &[f32]) -> Result<f64, Error> {
    if weights.len() != n {
        return Err(Error::WeightCount { weights: weights.len(), updates: n });
    }
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
    if total == 0.0 { Err(Error::ZeroTotalWeight) } else { Ok(total) }
}

/// What a rule has decided from distances and angles alone: the aggregate is one weighted sum away.
#[derive(Clone, Debug, PartialEq)]
pub struct Combination {
    /// How much of each update goes into the aggregate.
    pub coefficients: Vec<f32>,
    /// What the rule thinks of each update, in the rule's own measure.
    pub scores: Vec<f64>,
}

impl Combination {
    /// Writes the aggregate to `out`. Updates whose coefficient is zero are not read.
    ///
    /// # Errors
    ///
    /// Those of [`weighted_sum`].
    pub fn apply(&self, updates: &dyn Updates, out: &mut [f32], plan: &Plan) -> Result<(), Error> {
        check_count(updates, &self.coefficients)?;
        let rows: Vec<usize> = (0..updates.count()).filter(|&row| self.coefficients[row] != 0.0).collect();
        let coefficients: Vec<f32> = rows.iter().map(|&row| self.coefficients[row]).collect();
        if rows.is_empty() {
            out.fill(0.0);
            return Ok(());
        }
        weighted_sum(&Chosen::new(updates, &rows)?, &coefficients, out, plan)
    }
}
