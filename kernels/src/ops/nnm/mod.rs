//! Nearest-neighbour mixing (Allouah et al., *Fixing by Mixing*, AISTATS 2023; ByzFL's `NNM(f)`): before another rule,
//! each update is replaced by the mean of its `n - f` nearest, itself among them.
//!
//! Mixing is linear, so a rule that needs the Gram matrix only is run on `M G Mᵀ` and its coefficients are mixed back:
//! the mixed updates are never computed. For rules that look at coordinates, [`Mixed`] computes them tile by tile, by
//! the formula of `ops/weighted_sum` over the neighbours in the order of the updates. Of equally near ones the earlier
//! is taken.

use std::ops::Range;

use super::krum::{least, mean_of};
use super::weighted_sum::{Combination, cpu};
use crate::{Error, Gram, Isa, Updates};

/// Who is mixed with whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixing {
    neighbours: Vec<Vec<usize>>,
}

impl Mixing {
    /// # Errors
    ///
    /// [`Error::TooManyFaulty`] unless `f < n`.
    pub fn new(gram: &Gram, f: usize) -> Result<Self, Error> {
        Self::among(gram, gram.count(), f)
    }

    /// Only the first `n` are mixed, with each other; those after them, which are the server's own, stay as they are.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyFaulty`] unless `f < n`.
    pub fn among(gram: &Gram, n: usize, f: usize) -> Result<Self, Error> {
        if f >= n {
            return Err(Error::TooManyFaulty { rule: "nnm", needs: "n > f", n, f });
        }
        let nearest = |i| {
            let distances: Vec<f64> = (0..n).map(|k| if k == i { -1.0 } else { gram.distance_squared(i, k) }).collect();
            least(&distances, n - f)
        };
        Ok(Self { neighbours: (0..n).map(nearest).chain((n..gram.count()).map(|own| vec![own])).collect() })
    }

    /// The Gram matrix of the mixed updates, in `f64`.
    pub fn gram(&self, gram: &Gram) -> Gram {
        let row = |neighbours: &Vec<usize>| {
            let mut row = vec![0.0; self.neighbours.len()];
            neighbours.iter().for_each(|&k| row[k] = 1.0 / neighbours.len() as f64);
            row
        };
        gram.combined(&self.neighbours.iter().map(row).collect::<Vec<_>>())
    }

    /// What a combination of mixed updates is of the updates themselves.
    pub fn unmix(&self, mixed: &Combination) -> Combination {
        let mut coefficients = vec![0.0_f64; self.neighbours.len()];
        for (neighbours, &coefficient) in self.neighbours.iter().zip(&mixed.coefficients) {
            for &k in neighbours {
                coefficients[k] += f64::from(coefficient) / neighbours.len() as f64;
            }
        }
        Combination { coefficients: coefficients.iter().map(|&c| c as f32).collect(), scores: mixed.scores.clone() }
    }

    /// Whether `update` is in what becomes of `row`.
    pub fn mixes(&self, row: usize, update: usize) -> bool {
        self.neighbours[row].contains(&update)
    }

    /// The mixed updates themselves.
    pub fn of<'a>(&'a self, updates: &'a dyn Updates, isa: Isa) -> Mixed<'a> {
        assert_eq!(self.neighbours.len(), updates.count(), "the mixing of other updates");
        Mixed { mixing: self, updates, isa }
    }
}

/// Updates that are computed where they are read.
#[derive(Clone, Copy)]
pub struct Mixed<'a> {
    mixing: &'a Mixing,
    updates: &'a dyn Updates,
    isa: Isa,
}

impl Updates for Mixed<'_> {
    fn count(&self) -> usize {
        self.updates.count()
    }

    fn coordinates(&self) -> usize {
        self.updates.coordinates()
    }

    fn read<'a>(&'a self, update: usize, range: Range<usize>, scratch: &'a mut [f32]) -> Result<&'a [f32], Error> {
        self.read_some(&[update], range, scratch).map(|rows| rows[0])
    }

    /// Whoever is a neighbour of several is read once. What is not finite comes out as such, and the caller notices.
    fn read_some<'a>(
        &'a self,
        rows: &[usize],
        range: Range<usize>,
        scratch: &'a mut [f32],
    ) -> Result<Vec<&'a [f32]>, Error> {
        let len = range.len();
        if len == 0 {
            return Ok(vec![&[]; rows.len()]);
        }
        let mut needed: Vec<usize> = rows.iter().flat_map(|&row| &self.mixing.neighbours[row]).copied().collect();
        needed.sort_unstable();
        needed.dedup();
        let mut decoded = vec![0.0; needed.len() * len];
        let read = self.updates.read_some(&needed, range, &mut decoded)?;
        let mut of: Vec<&[f32]> = vec![&[]; self.updates.count()];
        needed.iter().zip(read).for_each(|(&row, values)| of[row] = values);
        for (&row, mixed) in rows.iter().zip(scratch.chunks_exact_mut(len)) {
            let near: Vec<&[f32]> = self.mixing.neighbours[row].iter().map(|&k| of[k]).collect();
            let everyone: Vec<usize> = (0..near.len()).collect();
            cpu::weighted_sum(self.isa, &near, &mean_of(&everyone, near.len()), mixed);
        }
        Ok(scratch.chunks_exact(len).take(rows.len()).collect())
    }
}
