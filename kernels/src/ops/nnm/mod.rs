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
        let n = gram.count();
        if f >= n {
            return Err(Error::TooManyFaulty { rule: "nnm", needs: "n > f", n, f });
        }
        let nearest = |i| {
            let distances: Vec<f64> = (0..n).map(|k| if k == i { -1.0 } else { gram.distance_squared(i, k) }).collect();
            least(&distances, n - f)
        };
        Ok(Self { neighbours: (0..n).map(nearest).collect() })
    }

    /// The Gram matrix of the mixed updates, in `f64`.
    pub fn gram(&self, gram: &Gram) -> Gram {
        let share = 1.0 / self.neighbours[0].len() as f64;
        let row = |neighbours: &Vec<usize>| {
            let mut row = vec![0.0; self.neighbours.len()];
            neighbours.iter().for_each(|&k| row[k] = share);
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

    /// What is not finite comes out as such, and the caller notices.
    fn read<'a>(&'a self, update: usize, range: Range<usize>, scratch: &'a mut [f32]) -> Result<&'a [f32], Error> {
        let neighbours = &self.mixing.neighbours[update];
        let mut decoded = vec![0.0; neighbours.len() * range.len()];
        let rows = neighbours
            .iter()
            .zip(decoded.chunks_exact_mut(range.len().max(1)))
            .map(|(&k, decoded)| self.updates.read(k, range.clone(), decoded))
            .collect::<Result<Vec<_>, Error>>()?;
        let everyone: Vec<usize> = (0..rows.len()).collect();
        cpu::weighted_sum(self.isa, &rows, &mean_of(&everyone, rows.len()), scratch);
        Ok(scratch)
    }
}
