//! How the work is cut into pieces. Nothing of it shows in a result.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::resume_unwind;
use std::thread;

use crate::{Error, Isa, Updates};

/// By how many threads, how many coordinates at a time, and with which instructions.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Threads are started for each call and are gone when it returns.
    pub threads: NonZeroUsize,
    /// Coordinates that one thread looks at together: 16 KiB of output stay in its first-level cache while the updates
    /// stream past, each in a long sequential read. Encoded updates take `n` times as much scratch memory.
    pub tile: NonZeroUsize,
    pub isa: Isa,
}

impl Default for Plan {
    /// One thread, with the widest instructions there are.
    fn default() -> Self {
        Self { threads: NonZeroUsize::MIN, tile: NonZeroUsize::new(4096).expect("not zero"), isa: Isa::best() }
    }
}

impl Plan {
    pub fn with_threads(threads: NonZeroUsize) -> Self {
        Self { threads, ..Self::default() }
    }

    /// Hands `work` the rows of each tile and the same coordinates of each of the outputs, and tells whether all of it
    /// came out well.
    pub(crate) fn over_tiles<const K: usize>(
        &self,
        updates: &dyn Updates,
        out: [&mut [f32]; K],
        work: impl Fn(&[&[f32]], [&mut [f32]; K]) -> bool + Sync,
    ) -> Result<bool, Error> {
        check_room(updates, &out)?;
        let mut parts = split(out, updates.coordinates().div_ceil(self.threads.get()));
        let Some((start, last)) = parts.pop() else { return Ok(true) };
        let part = |start, out| self.part(updates, start, out, &work);
        thread::scope(|scope| {
            let others: Vec<_> = parts.into_iter().map(|(start, out)| scope.spawn(move || part(start, out))).collect();
            let mut well = part(start, last);
            for other in others.into_iter().rev() {
                let its = other.join().unwrap_or_else(|panic| resume_unwind(panic));
                well = its.and_then(|its| Ok(well? && its));
            }
            well
        })
    }

    /// One thread's share: the coordinates from `start` on.
    fn part<const K: usize>(
        &self,
        updates: &dyn Updates,
        mut start: usize,
        out: [&mut [f32]; K],
        work: &impl Fn(&[&[f32]], [&mut [f32]; K]) -> bool,
    ) -> Result<bool, Error> {
        let tile = self.tile.get().min(out[0].len());
        let mut scratch = vec![0.0; updates.count() * tile];
        let mut well = true;
        for (_, out) in split(out, tile) {
            let range = start..start + out[0].len();
            start = range.end;
            well &= work(&rows(updates, range, &mut scratch)?, out);
        }
        Ok(well)
    }
}

/// Coordinates `range` of every update. `scratch` holds as many for each.
pub(crate) fn rows<'a>(
    updates: &'a dyn Updates,
    range: Range<usize>,
    scratch: &'a mut [f32],
) -> Result<Vec<&'a [f32]>, Error> {
    let everyone: Vec<usize> = (0..updates.count()).collect();
    updates.read_some(&everyone, range, scratch)
}

fn check_room<const K: usize>(updates: &dyn Updates, out: &[&mut [f32]; K]) -> Result<(), Error> {
    let expected = updates.coordinates();
    match out.iter().find(|out| out.len() != expected) {
        None => Ok(()),
        Some(out) => Err(Error::OutputLength { len: out.len(), expected }),
    }
}

/// Pieces of `size` coordinates (the last may be shorter), each with its start.
fn split<const K: usize>(mut out: [&mut [f32]; K], size: usize) -> Vec<(usize, [&mut [f32]; K])> {
    let len = out[0].len();
    let mut pieces = Vec::new();
    for start in (0..len).step_by(size.max(1)) {
        let end = size.min(len - start);
        let (piece, rest) = cut(out, end);
        pieces.push((start, piece));
        out = rest;
    }
    pieces
}

fn cut<const K: usize>(out: [&mut [f32]; K], at: usize) -> ([&mut [f32]; K], [&mut [f32]; K]) {
    let mut rest: [&mut [f32]; K] = std::array::from_fn(|_| <&mut [f32]>::default());
    let mut index = 0;
    let piece = out.map(|out| {
        let (piece, tail) = out.split_at_mut(at);
        rest[index] = tail;
        index += 1;
        piece
    });
    (piece, rest)
}
