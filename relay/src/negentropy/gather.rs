//! Our own side of a reconciliation that we ask for: a set from the store.

use std::ops::ControlFlow;

use super::item::Item;
use super::tree::Tree;
use crate::store::{Head, Position, Progress, Scan, Store, StoreError};

/// Index entries looked at before the scan is taken up anew.
const SLICE: u32 = 100_000;

/// Everything that a scan finds; `None` as soon as `fits` says that so many are too many.
pub fn gather(
    store: &dyn Store,
    mut scan: Scan,
    mut fits: impl FnMut(usize) -> bool,
) -> Result<Option<Tree>, StoreError> {
    let mut tree = Tree::default();
    loop {
        let mut take = |position: Position| {
            tree.insert(Item::from(position));
            ControlFlow::Continue(())
        };
        let progress = match store.scan_positions(&mut scan, SLICE, &mut take)? {
            Some(progress) => progress,
            None => store.scan_heads(&mut scan, SLICE, &mut |head: &Head<'_>| take(head.position))?,
        };
        if !fits(tree.len()) {
            return Ok(None);
        }
        if progress == Progress::Done {
            return Ok(Some(tree));
        }
    }
}
