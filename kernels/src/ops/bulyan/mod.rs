//! Bulyan (El Mhamdi et al., *The Hidden Vulnerability of Distributed Learning in Byzantium*, ICML 2018; Flower's
//! `Bulyan(num_malicious_nodes)`): selection by Krum's scores, then a trimmed mean around each coordinate's median.
//!
//! # Mathematics
//!
//! `θ = n - 2f` updates of least Krum score are selected, by one scoring as in Flower. With the selected values of a
//! coordinate in ascending order, `s_0 <= … <= s_{θ-1}`, and their median `c` (see `ops/median`), the `β = θ - 2f`
//! values nearest to `c` are kept: `2f` times, whichever end is further from `c` in `f64` is dropped, the upper one if
//! they are equally far. Their mean is taken as in `ops/trimmed_mean`.

mod cpu;

use super::krum::{least, scores};
use crate::updates::{Chosen, blame};
use crate::{Error, Gram, Plan, Updates};

/// Which updates are selected, and how many of their values are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// Of everyone, in the order of the updates.
    pub rows: Vec<usize>,
    kept: usize,
    /// Krum's.
    pub scores: Vec<f64>,
}

impl Selection {
    /// # Errors
    ///
    /// [`Error::TooManyFaulty`] unless `n >= 4f + 3`.
    pub fn new(gram: &Gram, f: usize) -> Result<Self, Error> {
        let n = gram.count();
        if n < 3 || (n - 3) / 4 < f {
            return Err(Error::TooManyFaulty { rule: "bulyan", needs: "n >= 4f + 3", n, f });
        }
        let scores = scores(gram, f);
        Ok(Self { rows: least(&scores, n - 2 * f), kept: n - 4 * f, scores })
    }

    /// Writes the aggregate to `out`. Reads the selected updates.
    ///
    /// # Errors
    ///
    /// [`Error::WeightCount`] if the selection is among another number of updates; [`Error::OutputLength`],
    /// [`Error::Unreadable`], [`Error::NotFinite`].
    pub fn apply(&self, updates: &dyn Updates, out: &mut [f32], plan: &Plan) -> Result<(), Error> {
        if self.scores.len() != updates.count() {
            return Err(Error::WeightCount { weights: self.scores.len(), updates: updates.count() });
        }
        let selected = Chosen::new(updates, &self.rows)?;
        if plan.over_tiles(&selected, [out], |rows, [out]| cpu::nearest_mean(plan.isa, rows, self.kept, out))? {
            return Ok(());
        }
        Err(blame(updates, out))
    }
}

/// Writes the aggregate to `out` and returns Krum's scores. `gram` is that of `updates`. Reads the selected updates.
///
/// # Errors
///
/// Those of [`Selection`].
pub fn bulyan(updates: &dyn Updates, gram: &Gram, f: usize, out: &mut [f32], plan: &Plan) -> Result<Vec<f64>, Error> {
    let selection = Selection::new(gram, f)?;
    selection.apply(updates, out, plan)?;
    Ok(selection.scores)
}
