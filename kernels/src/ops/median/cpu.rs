//! The one or two registers in the middle.

use crate::Isa;
use crate::columns::{self, Pick};
use crate::lanes::{Lanes, WIDEST};

pub(super) fn median(isa: Isa, rows: &[&[f32]], out: &mut [f32]) -> bool {
    // Not a field of one type: how many registers are asked for decides which comparisons are left out.
    if rows.len().is_multiple_of(2) { columns::pick(isa, rows, out, Even) } else { columns::pick(isa, rows, out, Odd) }
}

#[derive(Clone, Copy)]
struct Odd;

#[derive(Clone, Copy)]
struct Even;

/// The padding is even on both sides or has one register more above: the middle of `len` is that of the updates.
impl Pick for Odd {
    #[inline(always)]
    fn pick<L: Lanes>(self, sorted: &[L], _: usize, out: &mut [f32; WIDEST]) {
        sorted[(sorted.len() - 1) / 2].store(out);
    }

    #[inline(always)]
    fn pick_of_halves<L: Lanes>(self, a: &[L; 32], b: &[L; 32], _: usize, out: &mut [f32; WIDEST]) {
        greatest_of_lower(a, b).store(out);
    }
}

impl Pick for Even {
    #[inline(always)]
    fn pick<L: Lanes>(self, sorted: &[L], _: usize, out: &mut [f32; WIDEST]) {
        midpoint(sorted[sorted.len() / 2 - 1], sorted[sorted.len() / 2], out);
    }

    #[inline(always)]
    fn pick_of_halves<L: Lanes>(self, a: &[L; 32], b: &[L; 32], _: usize, out: &mut [f32; WIDEST]) {
        let mut least = a[0].max(b[31]);
        for at in 1..32 {
            least = least.min(a[at].max(b[31 - at]));
        }
        midpoint(greatest_of_lower(a, b), least, out);
    }
}

/// The lower half of two sorted halves are the minima of the one read upwards and the other read downwards.
#[inline(always)]
fn greatest_of_lower<L: Lanes>(a: &[L; 32], b: &[L; 32]) -> L {
    let mut greatest = a[0].min(b[31]);
    for at in 1..32 {
        greatest = greatest.max(a[at].min(b[31 - at]));
    }
    greatest
}

#[inline(always)]
fn midpoint<L: Lanes>(low: L, high: L, out: &mut [f32; WIDEST]) {
    let mut other = [0.0; WIDEST];
    low.store(out);
    high.store(&mut other);
    for (low, high) in out.iter_mut().zip(other) {
        *low = ((f64::from(*low) + f64::from(high)) * 0.5) as f32;
    }
}
