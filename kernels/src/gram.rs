//! The Gram matrix: every norm, distance and angle between updates, from one reading of the data.
//!
//! Rules that weigh whole updates need nothing else: whatever they iterate is `n × n` work, and the aggregate is one
//! weighted sum, hence two readings of the data in all.
//!
//! # Mathematics and rounding
//!
//! ```text
//! G[i][k] = Σ_j x_i[j] · x_k[j]
//! ```
//!
//! in `f64`, where a product of two `f32` is exact, so that only additions round (and fused or not is the same). Their
//! order is fixed: coordinates are cut into segments of 65,536; within a segment, coordinate `j` belongs to lane
//! `j mod 8`, and each lane adds its products in ascending order, starting from `+0.0`; then
//!
//! ```text
//! segment = ((l_0 + l_4) + (l_2 + l_6)) + ((l_1 + l_5) + (l_3 + l_7))
//! G       = (…((0.0 + segment_0) + segment_1) + …)
//! ```
//!
//! Lanes are eight on every processor, tiles begin at multiples of eight, a thread takes whole segments. A squared
//! distance is `(G[i][i] - 2 G[i][k]) + G[k][k]`, not below zero; identical updates are at exactly zero. It has an
//! absolute error of some `1e-12 · (G[i][i] + G[k][k])`: updates that differ by less than a millionth of their norm are
//! not told apart, so hand over differences to the common model, not models.

use std::ops::Range;
use std::panic::resume_unwind;
use std::thread;

use crate::isa::Kernel;
use crate::lanes::{Lanes, Wide};
use crate::plan::rows;
use crate::updates::first_not_finite;
use crate::{Error, Plan, Updates};

const SEGMENT: usize = 1 << 16;
const LANES: usize = 8;
/// Segments that a thread sums before their sums are added in order: bounds what is kept of them.
const WAVE: usize = 16;

/// `n × n` inner products, symmetric.
#[derive(Clone, Debug, PartialEq)]
pub struct Gram {
    n: usize,
    products: Vec<f64>,
}

impl Gram {
    /// Reads each update once; memory is `n²` numbers for each of some segments, whatever `d`.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`]; [`Error::NotFinite`], which names the first such update and coordinate.
    pub fn of(updates: &dyn Updates, plan: &Plan) -> Result<Self, Error> {
        let n = updates.count();
        let mut gram = Self { n, products: vec![0.0; n * n] };
        let segments: Vec<Range<usize>> = (0..updates.coordinates())
            .step_by(SEGMENT)
            .map(|start| start..(start + SEGMENT).min(updates.coordinates()))
            .collect();
        for wave in segments.chunks(WAVE * plan.threads.get()) {
            let sums = thread::scope(|scope| {
                let threads: Vec<_> = wave
                    .chunks(wave.len().div_ceil(plan.threads.get()))
                    .map(|share| scope.spawn(move || sum_segments(updates, share, plan)))
                    .collect();
                let joined =
                    threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
                joined.collect::<Result<Vec<_>, Error>>()
            })?;
            for segment in sums.iter().flatten() {
                for (total, sum) in gram.products.iter_mut().zip(segment) {
                    *total += sum;
                }
            }
        }
        gram.refuse_not_finite(updates)?;
        Ok(gram)
    }

    /// Squares of finite `f32` cannot overflow an `f64`, so a norm that is not finite has one cause only.
    fn refuse_not_finite(&self, updates: &dyn Updates) -> Result<(), Error> {
        let Some(broken) = (0..self.n).find(|i| !self.product(*i, *i).is_finite()) else { return Ok(()) };
        Err(match first_not_finite(updates)? {
            Some((update, coordinate)) => Error::NotFinite { update, coordinate },
            // A file may be written over between the two readings.
            None => Error::Unreadable { update: broken, reason: "it changed while it was read".to_owned() },
        })
    }

    /// How many updates there are.
    pub fn count(&self) -> usize {
        self.n
    }

    /// That of the first `n` updates alone.
    pub fn leading(&self, n: usize) -> Self {
        assert!(n <= self.n, "updates beyond the last");
        Self { n, products: (0..n).flat_map(|i| &self.products[i * self.n..][..n]).copied().collect() }
    }

    /// `⟨x_i, x_k⟩`.
    pub fn product(&self, i: usize, k: usize) -> f64 {
        self.products[i * self.n + k]
    }

    /// `‖x_i‖`.
    pub fn norm(&self, i: usize) -> f64 {
        self.product(i, i).sqrt()
    }

    /// `‖x_i - x_k‖²`.
    pub fn distance_squared(&self, i: usize, k: usize) -> f64 {
        ((self.product(i, i) - 2.0 * self.product(i, k)) + self.product(k, k)).max(0.0)
    }

    /// The cosine of the angle between two updates; zero if one of them is zero.
    pub fn cosine(&self, i: usize, k: usize) -> f64 {
        let norms = self.norm(i) * self.norm(k);
        if norms == 0.0 { 0.0 } else { (self.product(i, k) / norms).clamp(-1.0, 1.0) }
    }

    /// `‖x_i - Σ_k c_k x_k‖²`, where `products` is what [`Gram::products_with`] gives for `c` and `norm_squared` is
    /// `Σ_k c_k products_k`.
    pub(crate) fn distance_squared_to(&self, i: usize, products: &[f64], norm_squared: f64) -> f64 {
        ((self.product(i, i) - 2.0 * products[i]) + norm_squared).max(0.0)
    }

    /// `⟨x_i, Σ_k c_k x_k⟩` for all `i`, each sum in ascending order of `k`.
    pub(crate) fn products_with(&self, coefficients: &[f64]) -> Vec<f64> {
        (0..self.n).map(|i| dot(&self.products[i * self.n..][..self.n], coefficients)).collect()
    }

    /// The Gram matrix of other vectors, each a combination of these: `M G Mᵀ`.
    pub(crate) fn combined(&self, rows: &[Vec<f64>]) -> Self {
        let with: Vec<Vec<f64>> = rows.iter().map(|row| self.products_with(row)).collect();
        let mut products = vec![0.0; rows.len() * rows.len()];
        for i in 0..rows.len() {
            for k in 0..=i {
                let product = dot(&with[i], &rows[k]);
                products[i * rows.len() + k] = product;
                products[k * rows.len() + i] = product;
            }
        }
        Self { n: rows.len(), products }
    }
}

/// In ascending order, product and sum rounded one after the other.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + a * b)
}

/// One thread's share: an `n × n` matrix for each segment.
fn sum_segments(updates: &dyn Updates, segments: &[Range<usize>], plan: &Plan) -> Result<Vec<Vec<f64>>, Error> {
    let tile = plan.tile.get().next_multiple_of(LANES).min(MOST);
    let mut scratch = vec![0.0; updates.count() * tile];
    let mut sums = Sums::new(updates.count(), tile);
    let mut matrices = Vec::with_capacity(segments.len());
    for segment in segments {
        for start in segment.clone().step_by(tile) {
            let range = start..(start + tile).min(segment.end);
            plan.isa.run(Tile { rows: &rows(updates, range, &mut scratch)?, sums: &mut sums });
        }
        matrices.push(sums.take());
    }
    Ok(matrices)
}

/// Of a tile, so many coordinates of all updates lie in the cache as `f64`.
const MOST: usize = 512;
/// Sums are kept for squares of so many updates, the width of the widest block.
const SQUARE: usize = 4;

/// The eight lanes of all products, between tiles.
struct Sums {
    n: usize,
    padded: usize,
    tile: usize,
    /// The updates as `f64`, `tile` coordinates each; the rows that pad `n` to whole squares stay zero.
    wide: Vec<[f64; LANES]>,
    lanes: Vec<[f64; LANES]>,
}

impl Sums {
    fn new(n: usize, tile: usize) -> Self {
        let padded = n.next_multiple_of(SQUARE);
        Self {
            n,
            padded,
            tile,
            wide: vec![[0.0; LANES]; padded * tile / LANES],
            lanes: vec![[0.0; LANES]; padded * padded],
        }
    }

    /// Folds the lanes and starts anew.
    fn take(&mut self) -> Vec<f64> {
        let mut matrix = vec![0.0; self.n * self.n];
        for i in 0..self.n {
            for k in i..self.n {
                let lane = self.lanes[i * self.padded + k];
                let sum = ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
                matrix[i * self.n + k] = sum;
                matrix[k * self.n + i] = sum;
            }
        }
        self.lanes.fill([0.0; LANES]);
        matrix
    }
}

struct Tile<'a> {
    rows: &'a [&'a [f32]],
    sums: &'a mut Sums,
}

impl Kernel for Tile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { rows, sums } = self;
        let len = rows[0].len();
        for (row, wide) in rows.iter().zip(sums.wide.chunks_exact_mut(sums.tile / LANES)) {
            widen(row, wide[..len.div_ceil(LANES)].as_flattened_mut());
        }
        if L::Wide::BLOCK == 4 {
            squares::<L::Wide, 4>(sums, len.div_ceil(LANES));
        } else {
            squares::<L::Wide, 2>(sums, len.div_ceil(LANES));
        }
    }
}

/// Zeros after the end change no sum.
#[inline(always)]
fn widen(row: &[f32], wide: &mut [f64]) {
    let (values, rest) = wide.split_at_mut(row.len());
    for (wide, &value) in values.iter_mut().zip(row) {
        *wide = f64::from(value);
    }
    rest.fill(0.0);
}

/// All squares of `B × B` products on and above the diagonal.
#[inline(always)]
fn squares<W: Wide, const B: usize>(sums: &mut Sums, steps: usize) {
    for i in (0..sums.padded).step_by(B) {
        for k in (i..sums.padded).step_by(B) {
            square::<W, B>(sums, i, k, steps);
        }
    }
}

#[inline(always)]
fn square<W: Wide, const B: usize>(sums: &mut Sums, i: usize, k: usize, steps: usize) {
    let Sums { padded, tile, wide, lanes, .. } = sums;
    let a: [&[_]; B] = std::array::from_fn(|row| &wide[(i + row) * (*tile / LANES)..][..steps]);
    let b: [&[_]; B] = std::array::from_fn(|column| &wide[(k + column) * (*tile / LANES)..][..steps]);
    let place = |row: usize, column: usize| (i + row) * *padded + k + column;
    let mut sum = [[W::zero(); B]; B];
    for row in 0..B {
        for column in 0..B {
            sum[row][column] = W::load(&lanes[place(row, column)]);
        }
    }
    for step in 0..steps {
        let mut other = [W::zero(); B];
        for column in 0..B {
            other[column] = W::load(&b[column][step]);
        }
        for row in 0..B {
            let one = W::load(&a[row][step]);
            for column in 0..B {
                sum[row][column] = sum[row][column].add_product(one, other[column]);
            }
        }
    }
    for row in 0..B {
        for column in 0..B {
            sum[row][column].store(&mut lanes[place(row, column)]);
        }
    }
}
