//! The mean of the values around the median of each sorted column.

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
    /// Which values are kept differs from lane to lane, so lanes are looked at one by one.
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
        for (lane, value) in out.iter_mut().enumerate().take(L::WIDTH) {
            *value = mean_around_median(columns, lane, self.kept);
        }
    }
}

fn mean_around_median(columns: &[[f32; WIDEST]], lane: usize, kept: usize) -> f32 {
    let value = |at: usize| f64::from(columns[at][lane]);
    let n = columns.len();
    let median = f64::from(((value((n - 1) / 2) + value(n / 2)) * 0.5) as f32);
    let mut from = 0;
    let mut to = n;
    while to - from > kept {
        if median - value(from) > value(to - 1) - median {
            from += 1;
        } else {
            to -= 1;
        }
    }
    ((from..to).fold(0.0, |sum, at| sum + value(at)) / kept as f64) as f32
}
