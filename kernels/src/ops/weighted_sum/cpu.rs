//! The chain of fused multiply-adds over one tile.
//!
//! `f32::mul_add` is one instruction only where the target has it; for the baseline x86-64 it is a call into libm, exact
//! but slow. The same source is therefore compiled for each [`Isa`]; all give the same bits.

use crate::Isa;
use crate::isa::Kernel;
use crate::lanes::Lanes;

/// Writes `Σ_i coefficients[i] · rows[i]` to `out`, all of one length, and tells whether all of it is finite.
pub(crate) fn weighted_sum(isa: Isa, rows: &[&[f32]], coefficients: &[f32], out: &mut [f32]) -> bool {
    isa.run(Sum { rows, coefficients, out })
}

struct Sum<'a> {
    rows: &'a [&'a [f32]],
    coefficients: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Sum<'_> {
    type Output = bool;

    /// Four updates at a time: the sums are then loaded and stored a quarter as often.
    #[inline(always)]
    fn run<L: Lanes>(self) -> bool {
        let Self { rows, coefficients, out } = self;
        out.fill(0.0);
        let (fours, rest) = rows.as_chunks::<4>();
        let (by_four, by_one) = coefficients.as_chunks::<4>();
        for (rows, coefficients) in fours.iter().zip(by_four) {
            add_four(out, coefficients, rows);
        }
        for (row, &coefficient) in rest.iter().zip(by_one) {
            add(out, coefficient, row);
        }
        all_finite(out)
    }
}

#[inline(always)]
fn add_four(out: &mut [f32], coefficients: &[f32; 4], rows: &[&[f32]; 4]) {
    let len = out.len();
    let [a, b, c, d] = rows.map(|row| &row[..len]);
    for (j, sum) in out.iter_mut().enumerate() {
        let two = coefficients[1].mul_add(b[j], coefficients[0].mul_add(a[j], *sum));
        *sum = coefficients[3].mul_add(d[j], coefficients[2].mul_add(c[j], two));
    }
}

#[inline(always)]
fn add(out: &mut [f32], coefficient: f32, row: &[f32]) {
    for (sum, &value) in out.iter_mut().zip(row) {
        *sum = coefficient.mul_add(value, *sum);
    }
}

/// Without an early exit, so that it vectorises. A chain never becomes finite again (`0 · inf` is NaN too), so it is
/// enough to look at its end.
#[inline(always)]
pub(crate) fn all_finite(values: &[f32]) -> bool {
    values.iter().fold(true, |finite, value| finite & value.is_finite())
}
