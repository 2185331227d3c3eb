//! Where the numbers come from: `n` updates of `d` coordinates, read a range at a time.

use std::ops::Range;

use crate::Error;

/// `n >= 1` updates of one length, in the caller's order.
///
/// Kernels see updates only through this, so that it makes no difference whether they lie in memory, in a file, or
/// compressed: a range is decoded where it is accumulated, and memory is bounded by tiles.
pub trait Updates: Sync {
    /// How many updates there are: `n`.
    fn count(&self) -> usize;

    /// How many coordinates each of them has: `d`.
    fn coordinates(&self) -> usize;

    /// Coordinates `range` of one update: borrowed where they lie in memory as they are, else written to `scratch`,
    /// which is as long as `range`.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`], with the reason.
    fn read<'a>(&'a self, update: usize, range: Range<usize>, scratch: &'a mut [f32]) -> Result<&'a [f32], Error>;
}

/// Updates that lie in memory.
#[derive(Clone, Copy)]
pub struct Dense<'a>(&'a [&'a [f32]]);

impl<'a> Dense<'a> {
    /// # Errors
    ///
    /// [`Error::NoUpdates`]; [`Error::UpdateLength`] of the first that is not as long as the first of all.
    pub fn new(updates: &'a [&'a [f32]]) -> Result<Self, Error> {
        let expected = updates.first().ok_or(Error::NoUpdates)?.len();
        match updates.iter().position(|update| update.len() != expected) {
            None => Ok(Self(updates)),
            Some(update) => Err(Error::UpdateLength { update, len: updates[update].len(), expected }),
        }
    }
}

impl Updates for Dense<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn coordinates(&self) -> usize {
        self.0[0].len()
    }

    fn read<'a>(&'a self, update: usize, range: Range<usize>, _: &'a mut [f32]) -> Result<&'a [f32], Error> {
        Ok(&self.0[update][range])
    }
}

/// Some of the updates, in the order of `rows`.
#[derive(Clone, Copy)]
pub struct Chosen<'a> {
    updates: &'a dyn Updates,
    rows: &'a [usize],
}

impl<'a> Chosen<'a> {
    /// # Errors
    ///
    /// [`Error::NoUpdates`] if no row is chosen.
    pub fn new(updates: &'a dyn Updates, rows: &'a [usize]) -> Result<Self, Error> {
        assert!(rows.iter().all(|&row| row < updates.count()), "a row that does not exist");
        if rows.is_empty() { Err(Error::NoUpdates) } else { Ok(Self { updates, rows }) }
    }
}

impl Updates for Chosen<'_> {
    fn count(&self) -> usize {
        self.rows.len()
    }

    fn coordinates(&self) -> usize {
        self.updates.coordinates()
    }

    fn read<'a>(&'a self, update: usize, range: Range<usize>, scratch: &'a mut [f32]) -> Result<&'a [f32], Error> {
        self.updates.read(self.rows[update], range, scratch)
    }
}

/// A range of the coordinates of all updates: aggregate window by window what is too large for memory.
#[derive(Clone)]
pub struct Window<'a> {
    updates: &'a dyn Updates,
    range: Range<usize>,
}

impl<'a> Window<'a> {
    pub fn new(updates: &'a dyn Updates, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= updates.coordinates(), "a window beyond the updates");
        Self { updates, range }
    }
}

impl Updates for Window<'_> {
    fn count(&self) -> usize {
        self.updates.count()
    }

    fn coordinates(&self) -> usize {
        self.range.len()
    }

    fn read<'a>(&'a self, update: usize, range: Range<usize>, scratch: &'a mut [f32]) -> Result<&'a [f32], Error> {
        let start = self.range.start;
        self.updates.read(update, start + range.start..start + range.end, scratch)
    }
}

/// Pseudo-gradients of updates that are whole models: `base - x_i`, one rounding.
#[derive(Clone, Copy)]
pub struct Difference<'a> {
    updates: &'a dyn Updates,
    base: &'a [f32],
}

impl<'a> Difference<'a> {
    /// # Errors
    ///
    /// [`Error::UpdateLength`] of the first update if it is not as long as the model.
    pub fn new(base: &'a [f32], updates: &'a dyn Updates) -> Result<Self, Error> {
        if base.len() == updates.coordinates() {
            return Ok(Self { updates, base });
        }
        Err(Error::UpdateLength { update: 0, len: updates.coordinates(), expected: base.len() })
    }
}

impl Updates for Difference<'_> {
    fn count(&self) -> usize {
        self.updates.count()
    }

    fn coordinates(&self) -> usize {
        self.base.len()
    }

    fn read<'a>(&'a self, update: usize, range: Range<usize>, scratch: &'a mut [f32]) -> Result<&'a [f32], Error> {
        let mut decoded = vec![0.0; range.len()];
        let values = self.updates.read(update, range.clone(), &mut decoded)?;
        for ((difference, base), value) in scratch.iter_mut().zip(&self.base[range]).zip(values) {
            *difference = base - value;
        }
        Ok(scratch)
    }
}

/// The first update with a coordinate that is not finite, and its first such coordinate. A second look at the data,
/// taken only after a kernel has noticed that something is wrong.
pub(crate) fn first_not_finite(updates: &dyn Updates) -> Result<Option<(usize, usize)>, Error> {
    const STEP: usize = 1 << 14;
    let mut scratch = vec![0.0; STEP];
    for update in 0..updates.count() {
        for start in (0..updates.coordinates()).step_by(STEP) {
            let range = start..(start + STEP).min(updates.coordinates());
            let len = range.len();
            let values = updates.read(update, range, &mut scratch[..len])?;
            if let Some(offset) = values.iter().position(|value| !value.is_finite()) {
                return Ok(Some((update, start + offset)));
            }
        }
    }
    Ok(None)
}

/// What made a kernel's output not finite.
pub(crate) fn blame(updates: &dyn Updates, out: &[f32]) -> Error {
    match first_not_finite(updates) {
        Err(error) => error,
        Ok(Some((update, coordinate))) => Error::NotFinite { update, coordinate },
        Ok(None) => {
            let coordinate = out.iter().position(|value| !value.is_finite());
            Error::Overflow { coordinate: coordinate.expect("called only for an output that is not finite") }
        }
    }
}
