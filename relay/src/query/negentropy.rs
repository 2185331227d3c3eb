//! NIP-77: gathers the set that a NEG-OPEN is about, and answers messages about it.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Cancelled, Library, Work};
use crate::connection::Connection;
use crate::metrics::Asked;
use crate::negentropy::budget::Share;
use crate::negentropy::tree::ITEM_BYTES;
use crate::negentropy::{Exchange, Exchanges, Item, Span, Tree};
use crate::nostr::{EventId, Filter};
use crate::store::{Head, Position, Progress, Scan, StoreError};

/// Index entries looked at in one slice.
const SLICE: u32 = 2_048;
/// Ids looked up in one slice.
const IDS: usize = 128;
/// Expired events that are taken out of a tree's set; a relay that is further behind with sweeping tells the rest.
const EXPIRED: usize = 2_000;
/// What a copy of a kept tree takes, and what each change to it may: a leaf and the nodes above it.
const COPY_BYTES: usize = 64 << 10;
const CHANGE_BYTES: usize = 4 << 10;

const UNREADABLE: &str = "error: the relay could not read its store";
const NO_MEMORY: &str = "blocked: too much is being reconciled at once, try again later";

/// A NEG-OPEN on its way.
#[derive(Debug)]
pub struct NegOpen {
    exchange: Arc<Exchange>,
    exchanges: Arc<Exchanges>,
    filter: Filter,
    message: Vec<u8>,
    set: Option<Set>,
}

/// What has been gathered, and what is still to be done.
#[derive(Debug)]
struct Set {
    tree: Tree,
    share: Share,
    /// Bytes that are shared with a kept tree.
    shared_bytes: usize,
    /// Changes to what is shared.
    changes: usize,
    /// To be searched, the last one first.
    scans: Vec<Scan>,
    /// To be taken out.
    hidden: Vec<EventId>,
    /// How many more may be found.
    room: u64,
}

impl NegOpen {
    pub fn new(exchange: Arc<Exchange>, exchanges: Arc<Exchanges>, filter: Filter, message: Vec<u8>) -> Self {
        Self { exchange, exchanges, filter, message, set: None }
    }

    /// From a kept tree, which needs only what differs from client to client; else from nothing.
    fn begin(&self, library: &Library, connection: &Connection) -> Result<Set, StoreError> {
        let share = self.exchanges.share();
        // One more than allowed tells that there are too many.
        let room = self.filter.limit.unwrap_or(u64::MAX).min(self.exchanges.max_events.saturating_add(1));
        let now = crate::clock::now_s();
        let scan = |filter: Filter| Scan { now, room: u64::MAX, ..Scan::new(filter) };
        let Some(tree) = self.exchanges.trees.find(&self.filter) else {
            let scans = if self.filter.is_never() { Vec::new() } else { vec![scan(self.filter.clone())] };
            return Ok(Set {
                tree: Tree::default(),
                share,
                shared_bytes: 0,
                changes: 0,
                scans,
                hidden: Vec::new(),
                room,
            });
        };
        // In this order: who may see a request is settled before it is stored, hence before it is in the tree.
        let mut hidden = library.readers.hidden(&self.filter, connection);
        hidden.extend(library.store.expired(now, EXPIRED)?);
        let scans = library.readers.private(&self.filter, connection).into_iter().map(scan).collect();
        let shared_bytes = tree.len() * ITEM_BYTES;
        Ok(Set { tree, share, shared_bytes, changes: 0, scans, hidden, room })
    }

    /// Tells the client why not, if its set does not fit.
    fn fits(&self, set: &mut Set) -> bool {
        if set.shared_bytes == 0 && set.tree.len() as u64 > self.exchanges.max_events {
            self.exchange.refuse_size(self.exchanges.max_events);
            return false;
        }
        if !set.share.resize(set.bytes()) {
            self.exchange.refuse(NO_MEMORY);
            return false;
        }
        true
    }
}

impl Work for NegOpen {
    fn asked(&self) -> Asked {
        Asked::Negentropy
    }

    fn advance(&mut self, library: &Library, connection: &Connection) -> Result<bool, StoreError> {
        let mut set = match self.set.take() {
            Some(set) => set,
            None => self.begin(library, connection)?,
        };
        let gathered = set.gather(library, &self.filter, connection)?;
        if !self.fits(&mut set) {
            return Ok(true);
        }
        if !gathered {
            self.set = Some(set);
            return Ok(false);
        }
        self.exchange.hold(Span::of(set.tree, &self.filter), set.share);
        self.exchange.answer(&self.message, self.exchanges.frame_bytes);
        Ok(true)
    }

    fn fail(&self, _connection: &Connection) {
        self.exchange.refuse(UNREADABLE);
    }

    fn cancelled(&self) -> &Cancelled {
        &self.exchange.cancelled
    }
}

impl Set {
    /// One slice; true when the set is whole.
    fn gather(&mut self, library: &Library, filter: &Filter, connection: &Connection) -> Result<bool, StoreError> {
        for id in self.hidden.split_off(self.hidden.len().saturating_sub(IDS)) {
            if let Some(record) = library.store.get(&id)? {
                self.changes += usize::from(self.tree.remove(&Item::from(record.position)));
            }
        }
        let Some(scan) = self.scans.last_mut().filter(|_| self.room > 0) else { return Ok(self.hidden.is_empty()) };
        let (tree, room, changes) = (&mut self.tree, &mut self.room, &mut self.changes);
        let mut take = |position: Position| {
            *room -= 1;
            *changes += usize::from(tree.insert(Item::from(position)));
            if *room == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let by_index = match filter.is_public() {
            true => library.store.scan_positions(scan, SLICE, &mut take)?,
            false => None,
        };
        let progress = match by_index {
            Some(progress) => progress,
            None => library.store.scan_heads(scan, SLICE, &mut |head: &Head<'_>| match library.readers.may_answer(
                &head.view(),
                filter,
                connection,
            ) {
                true => take(head.position),
                false => ControlFlow::Continue(()),
            })?,
        };
        if progress == Progress::Done {
            self.scans.pop();
        }
        Ok(self.hidden.is_empty() && (self.scans.is_empty() || self.room == 0))
    }

    /// What it takes beyond what is there anyway.
    fn bytes(&self) -> usize {
        match self.shared_bytes {
            0 => self.tree.len() * ITEM_BYTES,
            shared => COPY_BYTES + (self.changes * CHANGE_BYTES).min(shared),
        }
    }
}

/// A NEG-MSG on its way.
#[derive(Debug)]
pub struct NegMsg {
    exchange: Arc<Exchange>,
    message: Vec<u8>,
    frame_bytes: usize,
}

impl NegMsg {
    pub fn new(exchange: Arc<Exchange>, message: Vec<u8>, frame_bytes: usize) -> Self {
        Self { exchange, message, frame_bytes }
    }
}

impl Work for NegMsg {
    fn asked(&self) -> Asked {
        Asked::Negentropy
    }

    /// All at once: a message is bounded, and so is its answer.
    fn advance(&mut self, _library: &Library, _connection: &Connection) -> Result<bool, StoreError> {
        self.exchange.answer(&self.message, self.frame_bytes);
        Ok(true)
    }

    fn fail(&self, _connection: &Connection) {
        self.exchange.refuse(UNREADABLE);
    }

    fn cancelled(&self) -> &Cancelled {
        &self.exchange.cancelled
    }
}
