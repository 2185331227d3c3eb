//! Our side of every link: where events from peers go, and where events for peers come from.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use super::address;
use super::error::LinkError;
use super::feed::Feed;
use super::key::LinkKey;
use super::mark::Marks;
use super::recent::Recent;
use super::status::Links;
use crate::access::Access;
use crate::clock::now_s;
use crate::config::Config;
use crate::ingest;
use crate::live::Live;
use crate::negentropy::budget::{Budget, Share};
use crate::negentropy::tree::ITEM_BYTES;
use crate::negentropy::{self, Span};
use crate::nostr::kind::Retention;
use crate::nostr::{Event, EventId, EventView, Filter};
use crate::policy::plugin::Plugin;
use crate::policy::{Reach, Readers};
use crate::store::{Progress, Record, Scan, Store, StoreError};
use crate::writer::{Command, Imported, WriterHandle};

/// Index entries looked at in one go; a link's scan goes on in the background, slice by slice.
const SLICE: u32 = 10_000;
/// Records handed over in one go, which bounds the memory for their bodies.
const BATCH: usize = 256;
/// Memory for the sets of all links together: a million events. Without it a link catches up page by page.
const SET_BYTES: usize = 64 << 20;
/// Events that each peer is remembered to have.
const KNOWN: usize = 16_384;
/// File of the marks, in the store's folder.
const MARKS: &str = "links.json";

pub struct Home {
    stock: Stock,
    /// What links authenticate with.
    pub key: Option<LinkKey>,
    /// Every link there is.
    pub links: Links,
    pub marks: Arc<Marks>,
    /// By address, what each peer is known to have: shared by all links to it.
    known: Mutex<HashMap<String, Weak<Recent>>>,
    /// By command.
    running: Mutex<HashMap<String, Weak<Plugin>>>,
    /// Memory for the sets of all links that are catching up.
    sets: Arc<Budget>,
}

/// Where a home's events lie and go.
pub struct Stock {
    pub store: Arc<dyn Store>,
    pub readers: Arc<Readers>,
    pub live: Arc<Live>,
    pub writer: WriterHandle,
    pub access: Arc<Access>,
    /// As it is now: limits may change while links run.
    pub config: Arc<ArcSwap<Config>>,
}

impl Home {
    /// With the key that the configuration names, and the marks in the store's folder.
    pub fn open(stock: Stock) -> anyhow::Result<Self> {
        let config = stock.config.load();
        let key = LinkKey::configured(&config.router)?;
        let marks = Arc::new(Marks::open(config.store.path.join(MARKS)));
        let (links, known, running) = (Links::default(), Mutex::default(), Mutex::default());
        Ok(Self { stock, key, links, marks, known, running, sets: Budget::new(SET_BYTES) })
    }

    /// Sequence of the event that was stored last.
    pub fn last_sequence(&self) -> u64 {
        self.stock.store.last_sequence()
    }

    /// What passes here, for links to follow.
    pub fn feed(&self) -> &Arc<Feed> {
        self.stock.live.feed()
    }

    /// What the peer at `url` is known to have.
    pub fn known_by(&self, url: &str) -> Arc<Recent> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, recent| recent.strong_count() > 0);
        let place = known.entry(address::normal(url)).or_default();
        place.upgrade().unwrap_or_else(|| {
            let recent = Arc::new(Recent::new(KNOWN));
            *place = Arc::downgrade(&recent);
            recent
        })
    }

    /// Whether a peer may be given an event that its filter matches: what everyone may read, and what the operator names
    /// by kind though only the parties may read it. Never a leased request or a withheld result, nor what only its author may publish.
    pub fn may_leave(&self, event: &EventView<'_>, filter: &Filter, protected: bool) -> bool {
        let may_be_read = match self.stock.readers.reach(event) {
            Reach::Everyone | Reach::Others(_) => true,
            Reach::Only(_) => filter.kinds.as_ref().is_some_and(|kinds| kinds.contains(&event.kind)),
            Reach::Named(_) | Reach::Withheld(_) => false,
        };
        may_be_read && !protected
    }

    /// Whether an event from a peer is one that we would keep, before its signature is looked at; else why not.
    pub fn check(&self, event: &Event) -> Result<(), Unwanted> {
        let kept = event.retention() != Retention::Ephemeral;
        let known = match kept {
            // A point read, mostly answered from memory: far cheaper than the signature it spares.
            true => self.has(&event.id),
            false => self.feed().has_passed(&event.id),
        };
        if known {
            return Err(Unwanted::Known);
        }
        let config = self.stock.config.load();
        let checked = ingest::check_linked(event, &config.limits, &config.relay.url, now_s());
        checked.and_then(|()| self.stock.access.admit(event)).map_err(Unwanted::Refused)
    }

    /// Whether an event is stored. One that cannot be read is not, and is fetched and judged anew.
    pub fn has(&self, id: &EventId) -> bool {
        self.stock.store.get(id).is_ok_and(|record| record.is_some())
    }

    /// Hands an event to the writer. Waits while the writer has much to do.
    pub async fn store(&self, event: Box<Event>, reply: oneshot::Sender<Imported>) {
        self.stock.writer.send(Command::Mirror { event, reply }).await;
    }

    /// The running plugin of this command: one for all links that name it, which goes on as it was started.
    pub fn plugin(&self, command: Option<&str>) -> Option<Arc<Plugin>> {
        let config = self.stock.config.load().plugins.plugin(command?, 1)?;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, plugin| plugin.strong_count() > 0);
        let place = running.entry(config.command.clone()).or_default();
        Some(place.upgrade().unwrap_or_else(|| {
            let plugin = Arc::new(Plugin::start(config));
            *place = Arc::downgrade(&plugin);
            plugin
        }))
    }

    /// The next records of a scan that were stored after `sequence`, and whether there may be more to come.
    pub async fn slice(&self, mut scan: Scan, sequence: u64) -> Result<(Scan, Vec<Record>, bool), LinkError> {
        let store = self.stock.store.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut ids = Vec::new();
            let progress = store.scan_heads(&mut scan, SLICE, &mut |head| {
                if head.sequence > sequence {
                    ids.push(head.position.id);
                }
                match ids.len() < BATCH {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            })?;
            let records = ids.iter().filter_map(|id| store.get(id).transpose()).collect::<Result<_, _>>()?;
            Ok::<_, StoreError>((scan, records, ids.len() == BATCH || progress == Progress::More))
        });
        read.await.map_err(own)?.map_err(own)
    }

    /// What we have of a filter's events, as NIP-77 compares it, and the memory that it takes; `None`: there is no memory
    /// for so many.
    pub async fn gather(&self, filter: Filter) -> Result<Option<(Span, Share)>, LinkError> {
        let (store, mut share) = (self.stock.store.clone(), self.sets.share());
        let gathering = tokio::task::spawn_blocking(move || {
            // In its own order a set takes the least memory.
            let scan = Scan { ascending: true, ..Scan::new(filter) };
            let tree = negentropy::gather(&*store, scan, |events| share.resize(events * ITEM_BYTES))?;
            Ok::<_, StoreError>(tree.map(|tree| (Span::from(tree), share)))
        });
        gathering.await.map_err(own)?.map_err(own)
    }
}

/// Why an event of a peer is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwanted {
    Known,
    /// With a machine prefix.
    Refused(String),
}

fn own(error: impl Display) -> LinkError {
    LinkError::Own(error.to_string())
}

/// Everything that matches, oldest first, stored up to `max_sequence`.
pub fn all(filter: Filter, max_sequence: u64) -> Scan {
    Scan { ascending: true, max_sequence, now: now_s(), ..Scan::new(filter) }
}
