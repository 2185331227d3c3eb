//! Norms, angles and copies across a round's updates, from their Gram matrix.

use crate::updates::first_not_finite;
use crate::{Chosen, Error, Gram, Updates};

/// What to take notice of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Norms at most so many times the median norm.
    pub most_norm: f64,
    /// Norms at least so many times the median norm: who returns the old model has none.
    pub least_norm: f64,
    /// The median of an update's cosines with the others is at least this.
    pub least_cosine: f64,
    /// Updates nearer to each other than so many times the longer one's norm are copies.
    pub copy_distance: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { most_norm: 5.0, least_norm: 0.05, least_cosine: -0.2, copy_distance: 1e-3 }
    }
}

/// Something remarkable about an update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Finding {
    /// As a multiple of the median norm.
    TooLong {
        times: f64,
    },
    TooShort {
        times: f64,
    },
    PointsElsewhere {
        cosine: f64,
    },
    /// Of an update that comes before it.
    CopyOf {
        update: usize,
    },
}

/// For every update what was found, nothing for most. Hand over updates in the order of their arrival: of two that are
/// alike the later is the copy.
pub fn inspect(gram: &Gram, limits: &Limits) -> Vec<Vec<Finding>> {
    let n = gram.count();
    let typical = median((0..n).map(|i| gram.norm(i)).collect());
    let of = |i: usize| {
        let mut findings = Vec::new();
        let times = if typical == 0.0 { 0.0 } else { gram.norm(i) / typical };
        if times > limits.most_norm {
            findings.push(Finding::TooLong { times });
        }
        if times < limits.least_norm {
            findings.push(Finding::TooShort { times });
        }
        let others: Vec<f64> = (0..n).filter(|&k| k != i).map(|k| gram.cosine(i, k)).collect();
        let cosine = median(others);
        if n > 1 && cosine < limits.least_cosine {
            findings.push(Finding::PointsElsewhere { cosine });
        }
        findings.extend((0..i).find(|&k| is_copy(gram, i, k, limits)).map(|update| Finding::CopyOf { update }));
        findings
    };
    (0..n).map(of).collect()
}

fn is_copy(gram: &Gram, i: usize, k: usize, limits: &Limits) -> bool {
    let longer = gram.product(i, i).max(gram.product(k, k));
    gram.distance_squared(i, k) <= limits.copy_distance * limits.copy_distance * longer
}

/// Zero of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        len => (values[(len - 1) / 2] + values[len / 2]) / 2.0,
    }
}

/// The first coordinate of each update that is not finite. Reads every update until there.
///
/// # Errors
///
/// [`Error::Unreadable`].
pub fn not_finite(updates: &dyn Updates) -> Result<Vec<Option<usize>>, Error> {
    let of = |update: usize| {
        let found = first_not_finite(&Chosen::new(updates, &[update])?)?;
        Ok(found.map(|(_, coordinate)| coordinate))
    };
    (0..updates.count()).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dense, Plan};

    fn check(rows: &[&[f32]], expected: &[&[&str]]) {
        let gram = Gram::of(&Dense::new(rows).unwrap(), &Plan::default()).unwrap();
        let name = |finding: &Finding| match finding {
            Finding::TooLong { .. } => "long".to_owned(),
            Finding::TooShort { .. } => "short".to_owned(),
            Finding::PointsElsewhere { .. } => "elsewhere".to_owned(),
            Finding::CopyOf { update } => format!("copy of {update}"),
        };
        let found: Vec<Vec<String>> =
            inspect(&gram, &Limits::default()).iter().map(|findings| findings.iter().map(name).collect()).collect();
        assert_eq!(found, expected, "{rows:?}");
    }

    #[test]
    fn each_fault_is_found_and_named() {
        let honest: [&[f32]; 3] = [&[1.0, 0.1, 0.0], &[1.0, -0.1, 0.1], &[0.9, 0.0, -0.2]];
        check(&honest, &[&[], &[], &[]]);
        check(&[honest[0], honest[1], honest[2], &[9.0, 1.0, 1.0]], &[&[], &[], &[], &["long"]]);
        check(&[honest[0], honest[1], honest[2], &[0.0, 0.0, 0.0]], &[&[], &[], &[], &["short"]]);
        check(&[honest[0], honest[1], honest[2], &[-1.0, 0.0, 0.0]], &[&[], &[], &[], &["elsewhere"]]);
        check(&[honest[0], honest[1], honest[2], honest[1]], &[&[], &[], &[], &["copy of 1"]]);
        check(&[honest[0]], &[&[]]);
    }

    #[test]
    fn what_is_not_finite_is_found_in_each_update() {
        let rows: [&[f32]; 3] = [&[1.0, f32::NAN, f32::NAN], &[0.0; 3], &[0.0, 0.0, f32::INFINITY]];
        assert_eq!(not_finite(&Dense::new(&rows).unwrap()), Ok(vec![Some(1), None, Some(2)]));
    }
}
