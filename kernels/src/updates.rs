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

    /// The same of several updates; `scratch` is as long as `range` for each of them. For updates that are computed from
    /// each other, which need not read the same twice then.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`], with the reason.
    fn read_some<'a>(
        &'a self,
        rows: &[usize],
        range: Range<usize>,
        scratch: &'a mut [f32],
    ) -> Result<Vec<&'a [f32]>, Error> {
        if range.is_empty() {
            return Ok(vec![&[]; rows.len()]);
        }
        let each = scratch.chunks_exact_mut(range.len()).zip(rows);
        each.map(|(scratch, &row)| self.read(row, range.clone(), scratch)).collect()
    }
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

    fn read_some<'a>(
        &'a self,
        rows: &[usize],
        range: Range<usize>,
        scratch: &'a mut [f32],
    ) -> Result<Vec<&'a [f32]>, Error> {
        let rows: Vec<usize> = rows.iter().map(|&row| self.rows[row]).collect();
        self.updates.read_some(&rows, range, scratch)
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

    /// A range of the window as one of the updates.
    fn beyond(&self, range: Range<usize>) -> Range<usize> {
        self.range.start + range.start..self.range.start + range.end
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
        self.updates.read(update, self.beyond(range), scratch)
    }

    fn read_some<'a>(
        &'a self,
        rows: &[usize],
        range: Range<usize>,
        scratch: &'a mut [f32],
    ) -> Result<Vec<&'a [f32]>, Error> {
        self.updates.read_some(rows, self.beyond(range), scratch)
    }
}

/// Pseudo-gradients of updates that are whole models: `base - x_i`, one rounding.
#[derive(Clone, Copy)]
pub struct Difference<'a> {
    updates: &'a dyn Updates,
    base: &'a dyn Updates,
}

impl<'a> Difference<'a> {
    /// `base` is one model.
    ///
    /// # Errors
    ///
    /// [`Error::UpdateLength`] of the first update if it is not as long as the model.
    pub fn new(base: &'a dyn Updates, updates: &'a dyn Updates) -> Result<Self, Error> {
        assert_eq!(base.count(), 1, "one model");
        check_length(updates, base.coordinates(), 0)?;
        Ok(Self { updates, base })
    }
}

impl Updates for Difference<'_> {
    fn count(&self) -> usize {
        self.updates.count()
    }

    fn coordinates(&self) -> usize {
        self.updates.coordinates()
    }

    fn read<'a>(&'a self, update: usize, range: Range<usize>, scratch: &'a mut [f32]) -> Result<&'a [f32], Error> {
        let mut decoded = vec![0.0; range.len()];
        let mut model = vec![0.0; range.len()];
        let values = self.updates.read(update, range.clone(), &mut decoded)?;
        let base = self.base.read(0, range, &mut model)?;
        for ((difference, base), value) in scratch.iter_mut().zip(base).zip(values) {
            *difference = base - value;
        }
        Ok(scratch)
    }
}

/// Updates, and after them others: for rules that hold updates against one of the server's own.
#[derive(Clone, Copy)]
pub struct Joined<'a> {
    first: &'a dyn Updates,
    others: &'a dyn Updates,
}

impl<'a> Joined<'a> {
    /// # Errors
    ///
    /// [`Error::UpdateLength`] of the first of the others if it is not as long as those before.
    pub fn new(first: &'a dyn Updates, others: &'a dyn Updates) -> Result<Self, Error> {
        check_length(others, first.coordinates(), first.count())?;
        Ok(Self { first, others })
    }
}

impl Updates for Joined<'_> {
    fn count(&self) -> usize {
        self.first.count() + self.others.count()
    }

    fn coordinates(&self) -> usize {
        self.first.coordinates()
    }

    fn read<'a>(&'a self, update: usize, range: Range<usize>, scratch: &'a mut [f32]) -> Result<&'a [f32], Error> {
        match update.checked_sub(self.first.count()) {
            None => self.first.read(update, range, scratch),
            Some(other) => self.others.read(other, range, scratch),
        }
    }
}

/// One update of so many zeros.
#[derive(Clone, Copy, Debug)]
pub struct Zeros(pub usize);

impl Updates for Zeros {
    fn count(&self) -> usize {
        1
    }

    fn coordinates(&self) -> usize {
        self.0
    }

    fn read<'a>(&'a self, _: usize, _: Range<usize>, scratch: &'a mut [f32]) -> Result<&'a [f32], Error> {
        scratch.fill(0.0);
        Ok(scratch)
    }
}

/// `update` is what the first of them is called.
fn check_length(updates: &dyn Updates, expected: usize, update: usize) -> Result<(), Error> {
    match updates.coordinates() {
        len if len == expected => Ok(()),
        len => Err(Error::UpdateLength { update, len, expected }),
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
