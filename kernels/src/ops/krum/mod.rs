//! Krum and Multi-Krum (Blanchard et al., *Machine Learning with Adversaries*, NeurIPS 2017; Flower's `Krum` and
//! `MultiKrum(num_malicious_nodes, num_nodes_to_select)`, ByzFL's `Krum(f)` and `MultiKrum(f)`): the updates that have
//! the closest neighbours.
//!
//! # Mathematics
//!
//! The score of an update is the sum of its squared distances to its `n - f - 2` nearest others, added in ascending
//! order. Krum is the update of the least score, Multi-Krum the mean of the `m` of least score, `n - f` by default; of
//! equal scores the earlier update comes first. Distances are those of [`Gram`].
//!
//! The paper and Flower count `n - f - 2` neighbours, ByzFL 0.0.11 counts one more.

use super::weighted_sum::Combination;
use crate::{Error, Gram};

/// The one update of least score. Scores: the less, the better.
///
/// # Errors
///
/// [`Error::TooManyFaulty`] unless `n > 2f + 2`.
pub fn krum(gram: &Gram, f: usize) -> Result<Combination, Error> {
    select("krum", gram, f, 1)
}

/// The mean of the `m` updates of least score.
///
/// # Errors
///
/// [`Error::TooManyFaulty`] unless `n > 2f + 2`; [`Error::Parameter`] unless `1 <= m <= n`.
pub fn multi_krum(gram: &Gram, f: usize, m: usize) -> Result<Combination, Error> {
    select("multi-krum", gram, f, m)
}

fn select(rule: &'static str, gram: &Gram, f: usize, m: usize) -> Result<Combination, Error> {
    let n = gram.count();
    if n.saturating_sub(2) / 2 < f || n < 3 || n - 2 == 2 * f {
        return Err(Error::TooManyFaulty { rule, needs: "n > 2f + 2", n, f });
    }
    if m == 0 || m > n {
        return Err(Error::Parameter { name: "m", must: "between 1 and the number of updates" });
    }
    let scores = scores(gram, f);
    Ok(Combination { coefficients: mean_of(&least(&scores, m), n), scores })
}

/// For every update the sum over its nearest others.
pub(crate) fn scores(gram: &Gram, f: usize) -> Vec<f64> {
    let n = gram.count();
    let score = |i| {
        let mut distances: Vec<f64> = (0..n).filter(|&k| k != i).map(|k| gram.distance_squared(i, k)).collect();
        distances.sort_unstable_by(f64::total_cmp);
        distances[..n - f - 2].iter().sum()
    };
    (0..n).map(score).collect()
}

/// The `m` of least score, in the order of the updates.
pub(crate) fn least(scores: &[f64], m: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    order.truncate(m);
    order.sort_unstable();
    order
}

/// The coefficients of the plain mean of some of `n` updates.
pub(crate) fn mean_of(rows: &[usize], n: usize) -> Vec<f32> {
    let mut coefficients = vec![0.0; n];
    for &row in rows {
        coefficients[row] = (1.0 / rows.len() as f64) as f32;
    }
    coefficients
}
