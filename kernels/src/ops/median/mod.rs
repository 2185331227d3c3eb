//! Coordinate-wise median (Yin et al., *Byzantine-Robust Distributed Learning*, ICML 2018; Flower's `FedMedian`, ByzFL's
//! `Median`): fewer than half of the updates, whatever they say, cannot move a coordinate beyond the others' values.
//!
//! # Mathematics
//!
//! With the values of a coordinate in ascending order, `s_0 <= … <= s_{n-1}`, negative zero as positive zero:
//!
//! ```text
//! out[j] = s_{(n-1)/2}                                  n odd
//! out[j] = f32((f64(s_{n/2-1}) + f64(s_{n/2})) · 0.5)   n even; one f64 addition, exact halving, one rounding to f32
//! ```
//!
//! The sum of two `f32` in `f64` may round, so the result is at most `1 + 2^-28` half units from the exact midpoint.
//! Weights do not count. The order of the updates does not matter.

mod cpu;

use crate::updates::blame;
use crate::{Error, Plan, Updates};

/// Writes the coordinate-wise median to `out`. Reads each update once.
///
/// # Errors
///
/// [`Error::OutputLength`], [`Error::Unreadable`]; noticed while writing: [`Error::NotFinite`].
pub fn median(updates: &dyn Updates, out: &mut [f32], plan: &Plan) -> Result<(), Error> {
    if plan.over_tiles(updates, [out], |rows, [out]| cpu::median(plan.isa, rows, out))? {
        return Ok(());
    }
    Err(blame(updates, out))
}
