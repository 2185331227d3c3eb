//! Coordinate-wise trimmed mean (Yin et al., *Byzantine-Robust Distributed Learning*, ICML 2018; ByzFL's `TrMean(f)`,
//! Flower's `FedTrimmedAvg(beta)` with `f = ⌊beta · n⌋`): the `f` least and the `f` greatest values do not count.
//!
//! # Mathematics
//!
//! With the values of a coordinate in ascending order, `s_0 <= … <= s_{n-1}`, negative zero as positive zero, `2f < n`:
//!
//! ```text
//! A      = (…((0.0 + s_f) + s_{f+1}) + … + s_{n-f-1})   f64, in ascending order
//! out[j] = f32(A / f64(n - 2f))                         one f64 division, one rounding to f32
//! ```
//!
//! Within `(n · 2^-53 + 2^-24)` of the exact mean of those values, relative to their mean magnitude. Weights do not
//! count. The order of the updates does not matter.

mod cpu;

use crate::updates::blame;
use crate::{Error, Plan, Updates};

/// Writes the trimmed mean to `out`. Reads each update once.
///
/// # Errors
///
/// [`Error::TooManyFaulty`] unless `2f < n`; [`Error::OutputLength`], [`Error::Unreadable`]; noticed while writing:
/// [`Error::NotFinite`].
pub fn trimmed_mean(updates: &dyn Updates, f: usize, out: &mut [f32], plan: &Plan) -> Result<(), Error> {
    check(updates.count(), f)?;
    if plan.over_tiles(updates, [out], |rows, [out]| cpu::trimmed_mean(plan.isa, rows, f, out))? {
        return Ok(());
    }
    Err(blame(updates, out))
}

/// `2f < n`, without overflow.
fn check(n: usize, f: usize) -> Result<(), Error> {
    if f < n.div_ceil(2) {
        return Ok(());
    }
    Err(Error::TooManyFaulty { rule: "trimmed mean", needs: "n > 2f", n, f })
}
