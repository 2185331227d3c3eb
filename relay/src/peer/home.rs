//! Our side of every link: where events from peers go, and where events for peers come from.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::oneshot;

use super::address;
use super::error::LinkError;
use super::key::LinkKey;
use super::mark::Marks;
use super::recent::Recent;
use super::status::Links;
use crate::access::Access;
use crate::clock::now_s;
use crate::config::{Config, LimitsConfig, PluginsConfig};
use crate::ingest;
use crate::live::Live;
use crate::nostr::kind::Retention;
use crate::nostr::{Event, EventView, Filter};
use crate::policy::plugin::Plugin;
use crate::policy::{Reach, Readers};
use crate::store::{Progress, Record, Scan, Store, StoreError};
use crate::writer::{Command, Imported, WriterHandle};

/// Index entries looked at in one go; a link's scan goes on in the background, slice by slice.
const SLICE: u32 = 10_000;
/// Records handed over in one go, which bounds the memory for their bodies.
const BATCH: usize = 256;
/// Events that each peer is remembered to have.
const KNOWN: usize = 16_384;
/// File of the marks, in the store's folder.
const MARKS: &str = "links.json";

pub struct Home {
    pub store: Arc<dyn Store>,
    pub readers: Arc<Readers>,
    pub live: Arc<Live>,
    pub writer: WriterHandle,
    pub limits: LimitsConfig,
    pub access: Arc<Access>,
    /// Our public address; empty: unknown.
    url: String,
    /// What links authenticate with.
    pub key: Option<LinkKey>,
    /// Every link there is.
    pub links: Links,
    pub marks: Arc<Marks>,
    /// By address, what each peer is known to have: shared by all links to it.
    known: Mutex<HashMap<String, Weak<Recent>>>,
    /// By command.
    running: Mutex<HashMap<String, Weak<Plugin>>>,
    plugins: PluginsConfig,
}

/// Where a home's events lie and go.
pub struct Stock {
    pub store: Arc<dyn Store>,
    pub readers: Arc<Readers>,
    pub live: Arc<Live>,
    pub writer: WriterHandle,
    pub limits: LimitsConfig,
    pub access: Arc<Access>,
}

impl Home {
    /// With the key that the configuration names, and the marks in the store's folder.
    pub fn open(stock: Stock, config: &Config) -> anyhow::Result<Self> {
        let Stock { store, readers, live, writer, limits, access } = stock;
        let key = LinkKey::configured(&config.router)?;
        let marks = Arc::new(Marks::open(config.store.path.join(MARKS)));
        let (links, known, running) = (Links::default(), Mutex::default(), Mutex::default());
        let (plugins, url) = (config.plugins.clone(), config.relay.url.clone());
        Ok(Self { store, readers, live, writer, limits, access, url, key, links, marks, known, running, plugins })
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
    /// by kind though only the parties may read it. Never a leased request, nor what only its author may publish.
    pub fn may_leave(&self, event: &EventView<'_>, filter: &Filter, protected: bool) -> bool {
        let may_be_read = match self.readers.reach(event) {
            Reach::Everyone => true,
            Reach::Only(_) => filter.kinds.as_ref().is_some_and(|kinds| kinds.contains(&event.kind)),
            Reach::Named(_) => false,
        };
        may_be_read && !protected
    }

    /// Whether an event from a peer is one that we would keep, before its signature is looked at; else why not.
    pub fn check(&self, event: &Event) -> Result<(), Unwanted> {
        let kept = event.retention() != Retention::Ephemeral;
        let known = match kept {
            // A point read, mostly answered from memory: far cheaper than the signature it spares.
            true => self.store.get(&event.id).is_ok_and(|record| record.is_some()),
            false => self.live.feed().has_passed(&event.id),
        };
        if known {
            return Err(Unwanted::Known);
        }
        let checked = ingest::check_linked(event, &self.limits, &self.url, now_s());
        checked.and_then(|()| self.access.admit(event)).map_err(Unwanted::Refused)
    }

    /// Hands an event to the writer. Waits while the writer has much to do.
    pub async fn store(&self, event: Box<Event>, reply: oneshot::Sender<Imported>) {
        self.writer.send(Command::Mirror { event, reply }).await;
    }

    /// The running plugin of this command: one for all links that name it.
    pub fn plugin(&self, command: Option<&str>) -> Option<Arc<Plugin>> {
        let config = self.plugins.plugin(command?, 1)?;
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
        let store = self.store.clone();
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
        let own = |text: String| LinkError::Own(text);
        read.await.map_err(|error| own(error.to_string()))?.map_err(|error| own(error.to_string()))
    }
}

/// Why an event of a peer is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwanted {
    Known,
    /// With a machine prefix.
    Refused(String),
}

/// Everything that matches, oldest first, stored up to `max_sequence`.
pub fn all(filter: Filter, max_sequence: u64) -> Scan {
    Scan { ascending: true, max_sequence, now: now_s(), ..Scan::new(filter) }
}
