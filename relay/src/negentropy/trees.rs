//! Sets that are kept ready for the filters most asked for: each follows what the writer commits, so that a sync of the
//! whole relay searches nothing.
//!
//! They live in memory, and are gathered from the store in the background when the relay starts: that takes seconds for a
//! million events, and leaves no second truth on disk that could differ from the first. What a tree holds is for
//! everybody, so private events are never in one.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::budget::{Budget, Share};
use super::item::Item;
use super::tree::{ITEM_BYTES, Tree};
use crate::nostr::{EventView, Filter, kind};
use crate::store::{Changes, Follower, Head, Progress, Scan, Store, StoreError};

/// Index entries looked at in one slice while a tree is built.
const SLICE: u32 = 4_096;
/// Trees at most; each costs every event a look.
pub const MAX_TREES: usize = 32;

/// All trees of a relay.
#[derive(Debug)]
pub struct Trees {
    kept: RwLock<Vec<Arc<Kept>>>,
    budget: Arc<Budget>,
    stopped: AtomicBool,
    /// Held by the thread that builds.
    building: Mutex<()>,
}

/// A tree as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct TreeInfo {
    pub filter: String,
    /// `ready`, `building`, `too large` or `failed`.
    pub state: String,
    pub events: usize,
    pub bytes: usize,
    /// Of all its events, in hex; the same on two relays that have the same events.
    pub fingerprint: String,
}

#[derive(Debug)]
struct Kept {
    filter: Filter,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Building {
        tree: Tree,
        share: Share,
        /// Removed since the slice under way began: it may have been read before that.
        gone: HashSet<Item>,
        /// Tells one building from another that was begun after it had failed.
        number: u64,
    },
    Ready {
        tree: Tree,
        share: Share,
    },
    /// There was no memory for it.
    TooLarge,
    /// The store could not be read.
    Failed,
}

impl Trees {
    /// Trees for these filters, still to be built, in `max_bytes` of memory together.
    pub fn new(filters: Vec<Filter>, max_bytes: usize) -> Self {
        let trees = Self {
            kept: RwLock::default(),
            budget: Budget::new(max_bytes),
            stopped: AtomicBool::new(false),
            building: Mutex::default(),
        };
        for filter in filters {
            trees.add(filter);
        }
        trees
    }

    /// Keeps one more tree, once it is built. False when there is one for this filter, or there are too many.
    pub fn add(&self, filter: Filter) -> bool {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_TREES || kept.iter().any(|kept| kept.filter == filter) {
            return false;
        }
        let state = Mutex::new(State::empty(&self.budget));
        kept.push(Arc::new(Kept { filter, state }));
        true
    }

    /// Forgets what a tree holds, to build it anew. False when there is none for this filter.
    pub fn reset(&self, filter: &Filter) -> bool {
        let Some(kept) = self.all().into_iter().find(|kept| kept.filter == *filter) else { return false };
        let mut state = kept.lock();
        if !matches!(*state, State::Building { .. }) {
            *state = State::empty(&self.budget);
        }
        true
    }

    /// Builds what is not built yet, in a thread of its own that ends by itself.
    pub fn build(self: &Arc<Self>, store: Arc<dyn Store>) -> std::io::Result<()> {
        let trees = self.clone();
        let gather = move || {
            let _alone = trees.building.lock().unwrap_or_else(PoisonError::into_inner);
            for kept in trees.all() {
                if let Err(error) = kept.build(&*store, &trees.stopped) {
                    tracing::error!(%error, filter = kept.filter.to_json(), "a negentropy tree could not be built");
                    *kept.lock() = State::Failed;
                }
            }
        };
        std::thread::Builder::new().name("trees".to_owned()).spawn(gather).map(drop)
    }

    /// Ends building.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// The events that match `filter` whatever its `since` and `until`, if they are kept. A filter with a limit is
    /// about few events anyway.
    pub fn find(&self, filter: &Filter) -> Option<Tree> {
        let whole = Filter { since: None, until: None, ..filter.clone() };
        let kept = self.all().into_iter().find(|kept| kept.filter == whole)?;
        match &*kept.lock() {
            State::Ready { tree, .. } => Some(tree.clone()),
            State::Building { .. } | State::TooLarge | State::Failed => None,
        }
    }

    pub fn list(&self) -> Vec<TreeInfo> {
        self.all().iter().map(|kept| kept.info()).collect()
    }

    fn all(&self) -> Vec<Arc<Kept>> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl State {
    fn empty(budget: &Arc<Budget>) -> Self {
        static BUILDINGS: AtomicU64 = AtomicU64::new(0);
        let number = BUILDINGS.fetch_add(1, Ordering::Relaxed);
        Self::Building { tree: Tree::default(), share: budget.share(), gone: HashSet::new(), number }
    }

    fn tree(&self) -> Option<(&Tree, &Share)> {
        match self {
            Self::Building { tree, share, .. } | Self::Ready { tree, share } => Some((tree, share)),
            Self::TooLarge | Self::Failed => None,
        }
    }
}

impl Follower for Trees {
    /// Follows a commit. Called by the writer, for each commit in turn, before anybody is told of it.
    fn committed(&self, changes: &Changes) {
        for kept in self.all() {
            kept.committed(changes);
        }
    }
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under it is one of the tree's own; what it holds is asked for again by every sync.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wants(&self, event: &EventView<'_>) -> bool {
        !kind::is_private(event.kind) && self.filter.matches(event)
    }

    fn committed(&self, changes: &Changes) {
        let mut state = self.lock();
        let (tree, share, mut gone) = match &mut *state {
            State::Building { tree, share, gone, .. } => (tree, share, Some(gone)),
            State::Ready { tree, share } => (tree, share, None),
            State::TooLarge | State::Failed => return,
        };
        for item in changes.removed.iter().map(|position| Item::from(*position)) {
            tree.remove(&item);
            if let Some(gone) = &mut gone {
                gone.insert(item);
            }
        }
        for record in changes.stored.iter().filter(|record| self.wants(&record.view())) {
            let item = Item::from(record.position);
            tree.insert(item);
            if let Some(gone) = &mut gone {
                gone.remove(&item);
            }
        }
        if !share.resize(tree.len() * ITEM_BYTES) {
            self.give_up(&mut state);
        }
    }

    /// Gathers what is in the store while the writer goes on.
    fn build(&self, store: &dyn Store, stopped: &AtomicBool) -> Result<(), StoreError> {
        let mut scan = Scan::new(self.filter.clone());
        let mut found = Vec::new();
        let State::Building { number: own, .. } = *self.lock() else { return Ok(()) };
        while !stopped.load(Ordering::Relaxed) {
            match &mut *self.lock() {
                State::Building { gone, number, .. } if *number == own => gone.clear(),
                State::Building { .. } | State::Ready { .. } | State::TooLarge | State::Failed => return Ok(()),
            }
            let progress = store.scan_heads(&mut scan, SLICE, &mut |head: &Head<'_>| {
                if self.wants(&head.view()) {
                    found.push(Item::from(head.position));
                }
                ControlFlow::Continue(())
            })?;
            if !self.take_in(own, &mut found, progress) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Adds what one slice found; false when there is nothing more to do.
    fn take_in(&self, own: u64, found: &mut Vec<Item>, progress: Progress) -> bool {
        let mut state = self.lock();
        let State::Building { tree, share, gone, number } = &mut *state else { return false };
        if *number != own {
            return false;
        }
        tree.extend(found.drain(..).filter(|item| !gone.contains(item)));
        if !share.resize(tree.len() * ITEM_BYTES) {
            self.give_up(&mut state);
            return false;
        }
        if progress == Progress::More {
            return true;
        }
        tracing::info!(filter = self.filter.to_json(), events = tree.len(), "a negentropy tree is ready");
        if let State::Building { tree, share, .. } = std::mem::replace(&mut *state, State::TooLarge) {
            *state = State::Ready { tree, share };
        }
        false
    }

    fn give_up(&self, state: &mut State) {
        *state = State::TooLarge;
        let filter = self.filter.to_json();
        tracing::warn!(filter, "a negentropy tree is dropped: negentropy.max_tree_mib has no room for it");
    }

    fn info(&self) -> TreeInfo {
        let state = self.lock();
        let name = match &*state {
            State::Building { .. } => "building",
            State::Ready { .. } => "ready",
            State::TooLarge => "too large",
            State::Failed => "failed",
        };
        let (events, bytes, fingerprint) = state
            .tree()
            .map_or((0, 0, [0; 16]), |(tree, share)| (tree.len(), share.bytes(), tree.fingerprint(0..tree.len())));
        let filter = self.filter.to_json();
        TreeInfo { filter, state: name.to_owned(), events, bytes, fingerprint: const_hex::encode(fingerprint) }
    }
}
