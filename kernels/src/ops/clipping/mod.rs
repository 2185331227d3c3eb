//! Norm clipping (Sun et al., *Can You Really Backdoor Federated Learning?*, 2019; ByzFL's `Clipping(c)`): no update is
//! longer than `c`; what comes out is their weighted mean.
//!
//! ```text
//! c_i = f32((w_i / Σ w) · min(1, c / ‖x_i‖))            f64, norms from the Gram matrix
//! ```

use super::weighted_sum::{Combination, check_weights};
use crate::{Error, Gram};

/// ByzFL's default is `c = 2`. Scores: the norms.
///
/// # Errors
///
/// [`Error::Parameter`] unless `c` is finite and not negative; those of weights.
pub fn clipping(gram: &Gram, weights: &[f32], c: f64) -> Result<Combination, Error> {
    if !(c >= 0.0 && c.is_finite()) {
        return Err(Error::Parameter { name: "c", must: "finite and not negative" });
    }
    let total = check_weights(gram.count(), weights)?;
    let scores: Vec<f64> = (0..gram.count()).map(|i| gram.norm(i)).collect();
    let clipped = |norm: f64| if norm > c { c / norm } else { 1.0 };
    let shares = weights.iter().zip(&scores).map(|(&weight, &norm)| f64::from(weight) / total * clipped(norm));
    Ok(Combination { coefficients: shares.map(|share| share as f32).collect(), scores })
}
