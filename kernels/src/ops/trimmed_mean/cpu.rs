//! The sum of the registers between the tails.

use crate::Isa;
use crate::columns::{self, Pick};
use crate::lanes::{Lanes, WIDEST};

pub(super) fn trimmed_mean(isa: Isa, rows: &[&[f32]], f: usize, out: &mut [f32]) -> bool {
    columns::pick(isa, rows, out, Trimmed { f, kept: rows.len() - 2 * f })
}

#[derive(Clone, Copy)]
struct Trimmed {
    f: usize,
    kept: usize,
}

impl Pick for Trimmed {
    #[inline(always)]
    fn pick<L: Lanes>(self, sorted: &[L], low: usize, out: &mut [f32; WIDEST]) {
        let mut sums = [0.0_f64; WIDEST];
        let mut values = [0.0_f32; WIDEST];
        for register in &sorted[low + self.f..][..self.kept] {
            register.store(&mut values);
            for lane in 0..L::WIDTH {
                sums[lane] += f64::from(values[lane]);
            }
        }
        for lane in 0..L::WIDTH {
            out[lane] = (sums[lane] / self.kept as f64) as f32;
        }
    }
}
