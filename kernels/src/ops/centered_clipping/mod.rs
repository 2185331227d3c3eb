//! Centered clipping (Karimireddy et al., *Learning from History for Byzantine Robust Optimization*, ICML 2021; ByzFL's
//! `CenteredClipping(m, L, tau)`): the updates, clipped around the last round's aggregate.
//!
//! # Mathematics
//!
//! From `v = m`, `L` times:
//!
//! ```text
//! v <- v + 1/n Σ_i min(1, τ / ‖x_i - v‖) (x_i - v)
//! ```
//!
//! `v = a m + Σ c_i x_i` throughout, so that distances come from the [`Gram`] matrix of the updates followed by `m`. All
//! in `f64`; the coefficients are rounded to `f32` once, at the end.

use super::geometric_median::distances_to;
use super::weighted_sum::Combination;
use crate::{Error, Gram};

/// `gram` is of the `n` updates and then of the momentum `m`, which the combination refers to as its last row; a round
/// without a momentum has a row of zeros. ByzFL's defaults are `l = 1` and `tau = 100`. Scores: the distances to the
/// last but one `v`, the momentum's own included.
///
/// # Errors
///
/// [`Error::Parameter`] unless `l` is positive, `tau` finite and not negative; [`Error::NoUpdates`] if there is only
/// the momentum.
pub fn centered_clipping(gram: &Gram, l: usize, tau: f64) -> Result<Combination, Error> {
    if l == 0 {
        return Err(Error::Parameter { name: "L", must: "positive" });
    }
    if !(tau >= 0.0 && tau.is_finite()) {
        return Err(Error::Parameter { name: "tau", must: "finite and not negative" });
    }
    let n = gram.count() - 1;
    if n == 0 {
        return Err(Error::NoUpdates);
    }
    let mut coefficients = vec![0.0; n + 1];
    coefficients[n] = 1.0;
    let mut distances = Vec::new();
    for _ in 0..l {
        distances = distances_to(gram, &coefficients);
        let steps: Vec<f64> =
            distances[..n].iter().map(|&far| if far > tau { tau / far } else { 1.0 } / n as f64).collect();
        let kept = 1.0 - steps.iter().sum::<f64>();
        for (coefficient, step) in coefficients.iter_mut().zip(steps.iter().chain([&0.0])) {
            *coefficient = *coefficient * kept + step;
        }
    }
    Ok(Combination { coefficients: coefficients.iter().map(|&c| c as f32).collect(), scores: distances })
}
