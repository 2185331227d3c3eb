//! A scan from beginning to end.

use std::ops::ControlFlow;

use crate::nostr::Filter;
use crate::store::{Progress, Record, Scan, Store};

/// Index entries looked at before the scan is taken up anew, so that it does not hold old files for its whole length.
const SLICE: u32 = 100_000;

/// Hands every event that matches `filter` to `found`, newest first unless `ascending`. Events whose expiration is not
/// later than `now` (seconds) are passed over; the filter's own limit is the only one.
pub fn every(
    store: &dyn Store,
    filter: Filter,
    ascending: bool,
    now: u64,
    mut found: impl FnMut(Record) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut scan = Scan { ascending, now, ..Scan::new(filter) };
    let mut fault = None;
    loop {
        let progress = store.scan(&mut scan, SLICE, &mut |record| match found(record) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                fault = Some(error);
                ControlFlow::Break(())
            }
        })?;
        if let Some(error) = fault {
            return Err(error);
        }
        match progress {
            Progress::More => {}
            Progress::Done => return Ok(()),
        }
    }
}
