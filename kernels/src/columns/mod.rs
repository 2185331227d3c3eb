//! Order statistics: the values of one coordinate, one of each update, sorted.
//!
//! Sixteen coordinates at a time with AVX-512, eight with AVX2, four elsewhere, each in a lane of its own. On x86-64 up
//! to 32 updates are sorted in registers, up to 64 in two halves; more of them, and all elsewhere, in the first-level
//! cache.
//!
//! # Order
//!
//! All values are finite, which is checked on the way, and negative zero counts as positive zero (`x + 0.0`). Among the
//! rest, subnormals included, values that compare equal have equal bits: the order is total, and whoever sorts, however
//! and on whatever machine, gets the same bytes. No processor mode that flushes subnormals may be set.

mod network;

use crate::Isa;
use crate::isa::Kernel;
use crate::lanes::{Lanes, WIDEST};

/// What a rule makes of sorted columns.
pub(crate) trait Pick: Copy {
    /// `sorted` has the columns of all updates between `low` registers of the least value and some of the greatest,
    /// which are no updates. Writes one finite value for each lane.
    ///
    /// Inlined: where the number of registers is constant, comparisons whose outcome nobody asks for are left out.
    fn pick<L: Lanes>(self, sorted: &[L], low: usize, out: &mut [f32; WIDEST]);

    /// The same for two sorted halves of 32 registers, which is cheaper if little of them is asked for.
    #[inline(always)]
    fn pick_of_halves<L: Lanes>(self, a: &[L; 32], b: &[L; 32], low: usize, out: &mut [f32; WIDEST]) {
        self.pick(&merge(a, b), low, out);
    }
}

/// Picks from each column of `rows` and tells whether all of their values are finite.
pub(crate) fn pick<P: Pick>(isa: Isa, rows: &[&[f32]], out: &mut [f32], pick: P) -> bool {
    assert!(rows.iter().all(|row| row.len() == out.len()), "rows as long as the output");
    let whole = out.len() / WIDEST * WIDEST;
    let (registers, rest) = out.split_at_mut(whole);
    let finite = isa.run(Columns { rows, out: registers, pick });
    if rest.is_empty() {
        return finite;
    }
    let last: Vec<[f32; WIDEST]> = rows.iter().map(|row| fill_up(&row[whole..])).collect();
    let rows: Vec<&[f32]> = last.iter().map(<[f32; WIDEST]>::as_slice).collect();
    let mut results = [0.0; WIDEST];
    let rest_is_finite = isa.run(Columns { rows: &rows, out: &mut results, pick });
    rest.copy_from_slice(&results[..rest.len()]);
    finite && rest_is_finite
}

fn fill_up(values: &[f32]) -> [f32; WIDEST] {
    std::array::from_fn(|lane| values.get(lane).copied().unwrap_or(0.0))
}

/// `out` is whole registers, and every row at least as long.
struct Columns<'a, P> {
    rows: &'a [&'a [f32]],
    out: &'a mut [f32],
    pick: P,
}

impl<P: Pick> Kernel for Columns<'_, P> {
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes>(self) -> bool {
        if !L::UNROLLED {
            return self.in_cache::<L>();
        }
        match self.rows.len() {
            0..=2 => self.in_registers::<L, 2>(),
            3..=4 => self.in_registers::<L, 4>(),
            5..=8 => self.in_registers::<L, 8>(),
            9..=16 => self.in_registers::<L, 16>(),
            17..=32 => self.in_registers::<L, 32>(),
            33..=64 => self.in_two_halves::<L>(),
            _ => self.in_cache::<L>(),
        }
    }
}

/// Loops are written out in each of these, as a closure is not surely inlined.
impl<P: Pick> Columns<'_, P> {
    #[inline(always)]
    fn in_registers<L: Lanes, const N: usize>(self) -> bool {
        let Self { rows, out, pick } = self;
        let (least, greatest) = (vec![-f32::MAX; out.len()], vec![f32::MAX; out.len()]);
        let low = (N - rows.len()) / 2;
        let padded: [&[f32]; N] = pad(rows, &least, &greatest);
        let (mut trace, mut results) = (L::splat(0.0), [0.0; WIDEST]);
        for start in (0..out.len()).step_by(L::WIDTH) {
            let mut values = [L::splat(0.0); N];
            for row in 0..N {
                values[row] = load(padded[row], start);
                trace = values[row].trace(trace);
            }
            network::sort(&mut values);
            pick.pick(&values, low, &mut results);
            store::<L>(&results, out, start);
        }
        is_zero(trace)
    }

    #[inline(always)]
    fn in_two_halves<L: Lanes>(self) -> bool {
        let Self { rows, out, pick } = self;
        let (least, greatest) = (vec![-f32::MAX; out.len()], vec![f32::MAX; out.len()]);
        let low = (64 - rows.len()) / 2;
        let padded: [&[f32]; 64] = pad(rows, &least, &greatest);
        let (mut trace, mut results) = (L::splat(0.0), [0.0; WIDEST]);
        for start in (0..out.len()).step_by(L::WIDTH) {
            let mut halves = [[L::splat(0.0); 32]; 2];
            for half in 0..2 {
                let mut values = [L::splat(0.0); 32];
                for row in 0..32 {
                    values[row] = load(padded[32 * half + row], start);
                    trace = values[row].trace(trace);
                }
                network::sort(&mut values);
                halves[half] = values;
            }
            pick.pick_of_halves(&halves[0], &halves[1], low, &mut results);
            store::<L>(&results, out, start);
        }
        is_zero(trace)
    }

    #[inline(always)]
    fn in_cache<L: Lanes>(self) -> bool {
        let Self { rows, out, pick } = self;
        let mut values = vec![L::splat(0.0); rows.len()];
        let (mut trace, mut results) = (L::splat(0.0), [0.0; WIDEST]);
        for start in (0..out.len()).step_by(L::WIDTH) {
            for (value, row) in values.iter_mut().zip(rows) {
                *value = load(row, start);
                trace = value.trace(trace);
            }
            network::sort_any(&mut values);
            pick.pick(&values, 0, &mut results);
            store::<L>(&results, out, start);
        }
        is_zero(trace)
    }
}

/// As many of the least as of the greatest value around the rows, or one less: the middle stays in the middle.
#[inline(always)]
fn pad<'a, const N: usize>(rows: &[&'a [f32]], least: &'a [f32], greatest: &'a [f32]) -> [&'a [f32]; N] {
    let low = (N - rows.len()) / 2;
    std::array::from_fn(|at| match at.checked_sub(low) {
        None => least,
        Some(row) => rows.get(row).copied().unwrap_or(greatest),
    })
}

#[inline(always)]
fn load<L: Lanes>(row: &[f32], start: usize) -> L {
    debug_assert!(start + L::WIDTH <= row.len());
    // SAFETY: `start` is that of a whole register of the output, and the row is as long.
    unsafe { L::load(row.as_ptr().add(start)) }
}

#[inline(always)]
fn store<L: Lanes>(results: &[f32; WIDEST], out: &mut [f32], start: usize) {
    out[start..start + L::WIDTH].copy_from_slice(&results[..L::WIDTH]);
}

#[inline(always)]
fn is_zero<L: Lanes>(trace: L) -> bool {
    let mut lanes = [0.0; WIDEST];
    trace.store(&mut lanes);
    lanes == [0.0; WIDEST]
}

/// All 64 in order: the lower and the upper half fall out of one comparison each, as two bitonic sequences.
#[inline(always)]
fn merge<L: Lanes>(a: &[L; 32], b: &[L; 32]) -> [L; 64] {
    let (mut lower, mut upper) = (*a, *b);
    for at in 0..32 {
        lower[at] = a[at].min(b[31 - at]);
        upper[at] = a[at].max(b[31 - at]);
    }
    network::sort_bitonic(&mut lower);
    network::sort_bitonic(&mut upper);
    let mut merged = [lower[0]; 64];
    merged[..32].copy_from_slice(&lower);
    merged[32..].copy_from_slice(&upper);
    merged
}
