//! A scan from beginning to end.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::nostr::Filter;
use crate::store::{Progress, Record, Scan, Store};

/// Index entries looked at before the scan is taken up anew, so that it does not hold old files for its whole length.
const SLICE: u32 = 100_000;
/// The same for a scan that rests now and then, so that it can do so in time.
const SHORT_SLICE: u32 = 500;

/// What a scan cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effort {
    pub events: u64,
    /// How often the scan was taken up.
    pub slices: u64,
    /// Without rests.
    pub busy: Duration,
    /// The longest time without a rest.
    pub longest: Duration,
}

/// Hands every event that matches `filter` to `found`, newest first unless `ascending`. Events whose expiration is not
/// later than `now` (seconds) are passed over; the filter's own limit is the only one.
pub fn every(
    store: &dyn Store,
    filter: Filter,
    ascending: bool,
    now: u64,
    found: impl FnMut(Record) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let scan = Scan { ascending, now, ..Scan::new(filter) };
    with_rests(store, scan, None, found).map(drop)
}

/// The same for any scan, which rests after each `stretch` for as long again, to leave half of everything to others.
pub fn with_rests(
    store: &dyn Store,
    mut scan: Scan,
    stretch: Option<Duration>,
    mut found: impl FnMut(Record) -> anyhow::Result<()>,
) -> anyhow::Result<Effort> {
    let budget = if stretch.is_some() { SHORT_SLICE } else { SLICE };
    let (mut effort, mut fault, mut started) = (Effort { slices: 1, ..Effort::default() }, None, Instant::now());
    loop {
        let progress = store.scan(&mut scan, budget, &mut |record| {
            effort.events += 1;
            match found(record) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    fault = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(error) = fault {
            return Err(error);
        }
        let busy = started.elapsed();
        let is_over = progress == Progress::Done;
        if is_over || stretch.is_some_and(|stretch| busy >= stretch) {
            effort.busy += busy;
            effort.longest = effort.longest.max(busy);
            if is_over {
                return Ok(effort);
            }
            std::thread::sleep(busy);
            effort.slices += 1;
            started = Instant::now();
        }
    }
}
