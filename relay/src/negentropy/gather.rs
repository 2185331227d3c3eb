//! Our own side of a reconciliation that we ask for: a set from the store.

use std::ops::ControlFlow;

use super::item::Item;
use super::tree::Tree;
use crate::store::{Head, Progress, Scan, Store, StoreError};

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
        let progress = store.scan_heads(&mut scan, SLICE, &mut |head: &Head<'_>| {
            tree.insert(Item::from(head.position));
            ControlFlow::Continue(())
        })?;
        if !fits(tree.len()) {
            return Ok(None);
        }
        if progress == Progress::Done {
            return Ok(Some(tree));
        }
    }
}
