//! Updates whose reading shows on the progress bar.

use std::ops::Range;

use mercato_kernels::{Error, Updates};

use super::super::progress::Progress;

pub struct Counted<'a> {
    updates: &'a dyn Updates,
    progress: &'a Progress,
}

impl<'a> Counted<'a> {
    pub fn new(updates: &'a dyn Updates, progress: &'a Progress) -> Self {
        Self { updates, progress }
    }
}

impl Updates for Counted<'_> {
    fn count(&self) -> usize {
        self.updates.count()
    }

    fn coordinates(&self) -> usize {
        self.updates.coordinates()
    }

    fn read<'a>(&'a self, update: usize, range: Range<usize>, scratch: &'a mut [f32]) -> Result<&'a [f32], Error> {
        self.progress.advance((range.len() * size_of::<f32>()) as u64);
        self.updates.read(update, range, scratch)
    }
}
