//! One slice of a scan: positions from the plan, records for them, the filter on each.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::super::{Head, Position, Progress, Record, Scan, StoreError};
use super::RocksStore;
use super::merge::Merge;
use super::plan::{self, Plan, plan};
use super::probe;
use super::view::View;
use crate::nostr::EventId;

/// Records fetched in one go.
const GROUP: u64 = 64;
/// Records fetched in one go when fewer answers are wanted: some entries may not match.
const SMALL_GROUP: u64 = 8;

/// Expired events that a scan of an index alone steps over: a relay that is further behind with sweeping looks at each event.
const MAX_EXPIRED: usize = 2_000;

/// Which positions a slice walks, and which way.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    newest: Position,
    oldest: Position,
    pub after: Option<Position>,
    pub ascending: bool,
}

impl Window {
    fn of(scan: &Scan) -> Self {
        Self {
            newest: Position::new(scan.filter.until.unwrap_or(u64::MAX), EventId([0; 32])),
            oldest: Position::new(scan.filter.since.unwrap_or(0), EventId([0xff; 32])),
            after: scan.after,
            ascending: scan.ascending,
        }
    }

    /// Where to seek to. What stands exactly at `after` is still to be passed over.
    pub fn start(&self) -> Position {
        match (self.after, self.ascending) {
            (None, false) => self.newest,
            (None, true) => self.oldest,
            (Some(after), false) => after.max(self.newest),
            (Some(after), true) => after.min(self.oldest),
        }
    }

    pub fn holds(&self, position: Position) -> bool {
        (self.newest..=self.oldest).contains(&position)
    }

    fn is_behind_after(&self, position: Position) -> bool {
        match (self.after, self.ascending) {
            (None, _) => true,
            (Some(after), false) => position > after,
            (Some(after), true) => position < after,
        }
    }
}

/// Who receives what is found, and how much of it.
pub enum Found<'a> {
    Records(&'a mut dyn FnMut(Record) -> ControlFlow<()>),
    Heads(&'a mut dyn FnMut(&Head<'_>) -> ControlFlow<()>),
}

/// Looks at up to `budget` index entries, at least one, and hands matches to `found`.
pub fn run(store: &RocksStore, scan: &mut Scan, budget: u32, found: &mut Found<'_>) -> Result<Progress, StoreError> {
    if scan.room == 0 {
        return Ok(Progress::Done);
    }
    let (view, window) = (View::of(store), Window::of(scan));
    let mut budget = u64::from(budget.max(1));
    let mut source = match plan(&scan.filter) {
        Plan::Nothing => return Ok(Progress::Done),
        Plan::Events => return walk_events(&view, scan, budget, found),
        Plan::Ids(ids) => {
            let points = match &scan.notes.points {
                Some(points) => points.clone(),
                None => points(&view, ids, &window)?,
            };
            let looked_at = window.after.map_or(0, |_| points.partition_point(|point| !window.is_behind_after(*point)));
            scan.notes.points = Some(points.clone());
            Source::Points { points, looked_at }
        }
        Plan::Ranges(candidates) => {
            let at = if candidates.len() == 1 { 0 } else { probe::sparsest(&view, &candidates, window)? };
            let (index, prefixes) = &candidates[at];
            // Every range has been looked into once before the first answer is known.
            budget = budget.max(prefixes.len() as u64);
            Source::Merge(Box::new(Merge::new(&view, *index, prefixes, window)?))
        }
    };
    loop {
        let group = budget.min(scan.room.clamp(SMALL_GROUP, GROUP));
        let positions = source.take(group, scan.after, &mut budget)?;
        let Some(last) = positions.last().copied() else {
            return Ok(if budget == 0 { Progress::More } else { Progress::Done });
        };
        if fetch(&view, scan, &positions, found)?.is_break() {
            return Ok(Progress::Done);
        }
        // Also passes over the positions whose event has gone since.
        scan.after = Some(last);
        if budget == 0 {
            return Ok(Progress::More);
        }
    }
}

/// As `run`, from the keys of an index alone; `None` where they do not tell.
pub fn positions(
    store: &RocksStore,
    scan: &mut Scan,
    budget: u32,
    found: &mut dyn FnMut(Position) -> ControlFlow<()>,
) -> Result<Option<Progress>, StoreError> {
    let Some((index, prefixes)) = plan::exact(&scan.filter) else { return Ok(None) };
    let Some(expired) = expired(store, scan)? else { return Ok(None) };
    let (view, window) = (View::of(store), Window::of(scan));
    let mut budget = u64::from(budget).max(prefixes.len() as u64);
    let mut source = Source::Merge(Box::new(Merge::new(&view, index, &prefixes, window)?));
    while scan.room > 0 {
        let positions = source.take(budget, scan.after, &mut budget)?;
        if positions.is_empty() {
            return Ok(Some(if budget == 0 { Progress::More } else { Progress::Done }));
        }
        for position in positions {
            scan.after = Some(position);
            if expired.binary_search(&position).is_ok() {
                continue;
            }
            scan.room -= 1;
            if found(position).is_break() || scan.room == 0 {
                return Ok(Some(Progress::Done));
            }
        }
    }
    Ok(Some(Progress::Done))
}

/// What is here although it had expired when the scan began; `None` when that is too much to know.
fn expired(store: &RocksStore, scan: &mut Scan) -> Result<Option<Arc<[Position]>>, StoreError> {
    if scan.notes.expired.is_none() {
        let mut positions = store.expired_positions(scan.now, MAX_EXPIRED)?;
        if positions.len() == MAX_EXPIRED {
            return Ok(None);
        }
        positions.sort_unstable();
        scan.notes.expired = Some(positions.into());
    }
    Ok(scan.notes.expired.clone())
}

/// Hands over those of the events at `positions` that are wanted.
fn fetch(
    view: &View<'_>,
    scan: &mut Scan,
    positions: &[Position],
    found: &mut Found<'_>,
) -> Result<ControlFlow<()>, StoreError> {
    match found {
        Found::Records(found) => {
            for record in view.records(positions)?.into_iter().flatten() {
                if takes(scan, &record.head()) && gave_last(scan, found(record)) {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        }
        Found::Heads(found) => view.each_head(positions, |head| match takes(scan, head) {
            true if gave_last(scan, found(head)) => ControlFlow::Break(()),
            true | false => ControlFlow::Continue(()),
        }),
    }
}

/// Notes that the scan has come to this event; whether it is to be handed over.
fn takes(scan: &mut Scan, head: &Head<'_>) -> bool {
    scan.after = Some(head.position);
    let wanted = scan.wants(head);
    scan.room -= u64::from(wanted);
    wanted
}

/// Whether the scan ends with the event that was just handed over.
fn gave_last(scan: &Scan, flow: ControlFlow<()>) -> bool {
    flow.is_break() || scan.room == 0
}

/// Where positions come from, in order.
enum Source<'a> {
    Points { points: Arc<[Position]>, looked_at: usize },
    Merge(Box<Merge<'a>>),
}

impl Source<'_> {
    /// Up to `group` positions, each once, none that is `last`; what it looks at is taken from `budget`.
    fn take(&mut self, group: u64, mut last: Option<Position>, budget: &mut u64) -> Result<Vec<Position>, StoreError> {
        let mut positions = Vec::with_capacity(group as usize);
        while *budget > 0 && (positions.len() as u64) < group {
            let next = match self {
                Self::Points { points, looked_at } => {
                    *looked_at += 1;
                    points.get(*looked_at - 1).copied()
                }
                Self::Merge(merge) => merge.next()?,
            };
            let Some(position) = next else { break };
            *budget -= 1;
            if last != Some(position) {
                positions.push(position);
                last = Some(position);
            }
        }
        Ok(positions)
    }
}

/// Where those of `ids` that are stored stand, in the order of the walk.
fn points(view: &View<'_>, ids: &[EventId], window: &Window) -> Result<Arc<[Position]>, StoreError> {
    let created_at = view.created_at(ids)?;
    let stored = ids.iter().zip(created_at).filter_map(|(id, seconds)| Some(Position::new(seconds?, *id)));
    let mut positions: Vec<Position> = stored.collect();
    positions.retain(|position| window.holds(*position));
    positions.sort_unstable();
    if window.ascending {
        positions.reverse();
    }
    Ok(positions.into())
}

/// For a filter without a condition that has an index: the bodies lie in order of time already.
fn walk_events(view: &View<'_>, scan: &mut Scan, budget: u64, found: &mut Found<'_>) -> Result<Progress, StoreError> {
    let window = Window::of(scan);
    let start = window.start().to_bytes();
    // An export or a count passes once over everything; it must not push out what subscriptions read.
    let mut events = view.events(!window.ascending && matches!(found, Found::Records(_)));
    if window.ascending {
        events.seek_for_prev(start)
    } else {
        events.seek(start)
    }
    let mut looked_at = 0;
    while let Some((key, value)) = events.item() {
        let position = super::read_position(key)?;
        if !window.holds(position) {
            return Ok(Progress::Done);
        }
        if window.is_behind_after(position) {
            if looked_at == budget {
                return Ok(Progress::More);
            }
            looked_at += 1;
            let (head, _) = Head::decode(position, value)?;
            if takes(scan, &head) {
                let flow = match found {
                    Found::Heads(found) => found(&head),
                    Found::Records(found) => found(view.decode(position, value)?),
                };
                if gave_last(scan, flow) {
                    return Ok(Progress::Done);
                }
            }
        }
        if window.ascending { events.prev() } else { events.next() }
    }
    events.status()?;
    Ok(Progress::Done)
}
