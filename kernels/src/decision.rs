//! What a rule has decided before anything is written: the rest is one reading of the updates, of all of them or window by
//! window.

use crate::ops::bulyan::Selection;
use crate::{Combination, Error, Gram, Mixing, Plan, Updates, median, trimmed_mean};

/// How the aggregate comes about. Made by [`Rule::decide`](crate::Rule::decide).
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    way: Way,
    gram: Option<Gram>,
    /// For the ways that look at coordinates; a sum's is in its coefficients.
    mixing: Option<Mixing>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Way {
    Sum(Combination),
    Median,
    TrimmedMean { f: usize },
    Bulyan(Selection),
}

impl Decision {
    pub(crate) fn new(way: Way, gram: Option<Gram>, mixing: Option<Mixing>) -> Self {
        match (way, mixing) {
            (Way::Sum(mixed), Some(mixing)) => Self { way: Way::Sum(mixing.unmix(&mixed)), gram, mixing: None },
            (way, mixing) => Self { way, gram, mixing },
        }
    }

    /// Writes the aggregate to `out`: of the updates that were decided on, or of a [window](crate::Window) of them.
    ///
    /// # Errors
    ///
    /// Those of the rule.
    pub fn write(&self, updates: &dyn Updates, out: &mut [f32], plan: &Plan) -> Result<(), Error> {
        match &self.mixing {
            Some(mixing) => self.write_of(&mixing.of(updates, plan.isa), out, plan),
            None => self.write_of(updates, out, plan),
        }
    }

    fn write_of(&self, updates: &dyn Updates, out: &mut [f32], plan: &Plan) -> Result<(), Error> {
        match &self.way {
            Way::Sum(combination) => combination.apply(updates, out, plan),
            Way::Median => median(updates, out, plan),
            Way::TrimmedMean { f } => trimmed_mean(updates, *f, out, plan),
            Way::Bulyan(selection) => selection.apply(updates, out, plan),
        }
    }

    /// How much of each update goes into the aggregate, where that does not differ from coordinate to coordinate.
    pub fn coefficients(&self) -> Option<&[f32]> {
        match &self.way {
            Way::Sum(combination) => Some(&combination.coefficients),
            Way::Median | Way::TrimmedMean { .. } | Way::Bulyan(_) => None,
        }
    }

    /// Which updates have a part in it.
    pub fn is_used(&self, update: usize) -> bool {
        match &self.way {
            Way::Sum(combination) => combination.coefficients.get(update).is_some_and(|share| *share != 0.0),
            Way::Median | Way::TrimmedMean { .. } => true,
            Way::Bulyan(selection) => match &self.mixing {
                Some(mixing) => selection.rows.iter().any(|&row| mixing.mixes(row, update)),
                None => selection.rows.contains(&update),
            },
        }
    }

    /// What the rule thinks of each update, in the rule's own measure; nothing where it thinks nothing.
    pub fn scores(&self) -> &[f64] {
        match &self.way {
            Way::Sum(combination) => &combination.scores,
            Way::Bulyan(selection) => &selection.scores,
            Way::Median | Way::TrimmedMean { .. } => &[],
        }
    }

    /// Of the updates as they came, where the rule has looked at it.
    pub fn gram(&self) -> Option<&Gram> {
        self.gram.as_ref()
    }
}
