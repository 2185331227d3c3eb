//! FLTrust (Cao et al., NDSS 2021): the server trains on a small clean data set of its own; an update counts as much as
//! it points the same way, and is scaled to the length of the server's.
//!
//! # Mathematics
//!
//! With the server's update `g`, all in `f64` and from the [`Gram`] matrix:
//!
//! ```text
//! TS_i = max(0, cos(x_i, g))        out = Σ_i TS_i (‖g‖ / ‖x_i‖) x_i / Σ TS
//! ```

use super::weighted_sum::Combination;
use crate::{Error, Gram};

/// `gram` is of the `n` updates and then of the server's own, which the combination refers to as its last row, with a
/// coefficient of zero. Scores: the trust `TS_i`.
///
/// # Errors
///
/// [`Error::NoUpdates`] if there is only the server's; [`Error::NobodyTrusted`] if every score is zero.
pub fn fltrust(gram: &Gram) -> Result<Combination, Error> {
    let root = gram.count() - 1;
    if root == 0 {
        return Err(Error::NoUpdates);
    }
    let scores: Vec<f64> = (0..root).map(|i| gram.cosine(i, root).max(0.0)).collect();
    let total: f64 = scores.iter().sum();
    if total == 0.0 {
        return Err(Error::NobodyTrusted { rule: "fltrust" });
    }
    let scaled = |i: usize| if scores[i] == 0.0 { 0.0 } else { scores[i] / total * (gram.norm(root) / gram.norm(i)) };
    let coefficients = (0..root).map(|i| scaled(i) as f32).chain([0.0]).collect();
    Ok(Combination { coefficients, scores })
}
