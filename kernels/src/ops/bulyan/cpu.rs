//! The mean of the values around the median of each sorted column.
//!
//! Which end goes next differs from lane to lane. But whether a value goes depends on one comparison only: the `k`th from
//! below does if it is further from the median than the one `kept` above it, as only then that one stays when so many
//! have gone. So every lane does the same work.

use crate::Isa;
use crate::columns::{self, Pick};
use crate::lanes::{Lanes, WIDEST};

pub(super) fn nearest_mean(isa: Isa, rows: &[&[f32]], kept: usize, out: &mut [f32]) -> bool {
    columns::pick(isa, rows, out, Nearest { n: rows.len(), kept })
}

#[derive(Clone, Copy)]
struct Nearest {
    n: usize,
    kept: usize,
}

impl Pick for Nearest {
    #[inline(always)]
    fn pick<L: Lanes>(self, sorted: &[L], low: usize, out: &mut [f32; WIDEST]) {
        let mut columns = [[0.0_f32; WIDEST]; 64];
        let mut many = Vec::new();
        let columns = if self.n <= columns.len() {
            &mut columns[..self.n]
        } else {
            many.resize(self.n, [0.0; WIDEST]);
            &mut many[..]
        };
        for (column, register) in columns.iter_mut().zip(&sorted[low..]) {
            register.store(column);
        }
        mean_around_median(columns, self.kept, out);
    }
}

#[inline(always)]
fn mean_around_median(columns: &[[f32; WIDEST]], kept: usize, out: &mut [f32; WIDEST]) {
    let n = columns.len();
    let (below, above) = (&columns[(n - 1) / 2], &columns[n / 2]);
    let mut median = [0.0; WIDEST];
    for lane in 0..WIDEST {
        median[lane] = f64::from(((f64::from(below[lane]) + f64::from(above[lane])) * 0.5) as f32);
    }
    let mut sum = [0.0_f64; WIDEST];
    for at in 0..n {
        let mut stays = columns[at];
        if let Some(upper) = columns.get(at + kept) {
            for lane in 0..WIDEST {
                stays[lane] = if goes(median[lane], columns[at][lane], upper[lane]) { 0.0 } else { stays[lane] };
            }
        }
        if let Some(lower) = at.checked_sub(kept).map(|at| &columns[at]) {
            for lane in 0..WIDEST {
                stays[lane] = if goes(median[lane], lower[lane], columns[at][lane]) { stays[lane] } else { 0.0 };
            }
        }
        // Who goes adds a zero, which changes no sum that began with one.
        for lane in 0..WIDEST {
            sum[lane] += f64::from(stays[lane]);
        }
    }
    for lane in 0..WIDEST {
        out[lane] = (sum[lane] / kept as f64) as f32;
    }
}

/// Whether the lower value goes rather than the upper one.
#[inline(always)]
fn goes(median: f64, lower: f32, upper: f32) -> bool {
    median - f64::from(lower) > f64::from(upper) - median
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The formula of `mod.rs`, read literally.
    fn naive(column: &[f32], kept: usize) -> f32 {
        let value = |at: usize| f64::from(column[at]);
        let n = column.len();
        let median = f64::from(((value((n - 1) / 2) + value(n / 2)) * 0.5) as f32);
        let (mut from, mut to) = (0, n);
        while to - from > kept {
            if median - value(from) > value(to - 1) - median {
                from += 1;
            } else {
                to -= 1;
            }
        }
        ((from..to).fold(0.0, |sum, at| sum + value(at)) / kept as f64) as f32
    }

    proptest! {
        #[test]
        fn every_lane_is_the_formula(
            n in 1_usize..70,
            share in 0_usize..4,
            seeds in prop::array::uniform16(prop::collection::vec(-8_i32..8, 70)),
            scale in prop::sample::select(vec![1.0_f32, 0.1, 1e-40, 1e30]),
        ) {
            let kept = n - (n - 1) * share / 4 / 2 * 2;
            let sorted = seeds.map(|seed| {
                // Many are equal, or equally far from the median.
                let mut column: Vec<f32> = seed[..n].iter().map(|value| *value as f32 * scale).collect();
                column.sort_unstable_by(f32::total_cmp);
                column
            });
            let columns: Vec<[f32; WIDEST]> = (0..n).map(|at| std::array::from_fn(|lane| sorted[lane][at])).collect();
            let mut out = [0.0; WIDEST];
            mean_around_median(&columns, kept, &mut out);
            let expected: Vec<u32> = sorted.iter().map(|column| naive(column, kept).to_bits()).collect();
            prop_assert_eq!(out.map(f32::to_bits).to_vec(), expected);
        }
    }
}
