//! The thread that keeps the index up to date.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tantivy::schema::Term;
use tantivy::{Index, IndexWriter, TantivyDocument};

use super::fields::Fields;
use crate::config::SearchConfig;
use crate::nostr::{Filter, kind};
use crate::store::{Changes, Progress, Record, Scan, Store};

/// Commits of the store that may wait. When they are more, they are dropped, and the index catches up from the store.
const MAX_WAITING: usize = 256;
/// What is not in the index for longer is put there, however little it is.
const PERIOD: Duration = Duration::from_secs(1);
/// Index entries looked at in one slice while it catches up.
const SLICE: u32 = 4_096;
/// Events between two commits of the index while it catches up.
const CHUNK: u64 = 50_000;

#[derive(Debug)]
pub struct Feed {
    changes: Mutex<Option<SyncSender<Changes>>>,
    /// Something was dropped: the store has to be looked through.
    behind: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Feed {
    pub fn start(config: &SearchConfig, index: &Index, fields: Fields, store: Arc<dyn Store>) -> anyhow::Result<Self> {
        let (changes, waiting) = sync_channel(MAX_WAITING);
        let (behind, stopped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let writer = index.writer_with_num_threads(1, config.memory_mib.saturating_mul(1 << 20))?;
        let indexed = index.load_metas()?.payload.and_then(|payload| payload.parse().ok()).unwrap_or(0);
        behind.store(indexed != store.last_sequence(), Ordering::Release);
        let mut scribe = Scribe {
            kinds: config.kinds.clone(),
            writer,
            fields,
            store,
            indexed,
            is_dirty: false,
            behind: behind.clone(),
            stopped: stopped.clone(),
        };
        let thread = std::thread::Builder::new().name("search".to_owned()).spawn(move || scribe.run(&waiting))?;
        Ok(Self { changes: Mutex::new(Some(changes)), behind, stopped, thread: Mutex::new(Some(thread)) })
    }

    /// Never waits.
    pub fn push(&self, changes: &Changes) {
        let sender = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) =
            sender.as_ref().map(|sender| sender.try_send(changes.clone()))
        {
            self.behind.store(true, Ordering::Release);
        }
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A panic over there has been reported by its thread.
            let _ = thread.join();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Scribe {
    /// Which are indexed; empty: all that are public.
    kinds: Vec<u16>,
    writer: IndexWriter<TantivyDocument>,
    fields: Fields,
    store: Arc<dyn Store>,
    /// Everything up to this sequence is in the index.
    indexed: u64,
    is_dirty: bool,
    behind: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
}

impl Scribe {
    fn run(&mut self, waiting: &Receiver<Changes>) {
        loop {
            if let Err(error) = self.work(waiting) {
                // The disk is full, most likely. What was not written is found again in the store.
                tracing::error!(%error, "the search index could not be written, trying again in a while");
                self.behind.store(true, Ordering::Release);
                self.is_dirty = false;
                if let Err(error) = self.writer.rollback() {
                    tracing::error!(%error, "the search index is no longer kept up to date");
                    return;
                }
                std::thread::sleep(10 * PERIOD);
            }
            if self.stopped.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// Returns when the relay stops.
    fn work(&mut self, waiting: &Receiver<Changes>) -> anyhow::Result<()> {
        let mut committed = Instant::now();
        loop {
            if self.behind.swap(false, Ordering::AcqRel) {
                self.catch_up()?;
            }
            match waiting.recv_timeout(PERIOD) {
                Ok(changes) => self.take_in(&changes)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    // What was looked at and not indexed counts as well: the next start need not look again.
                    self.is_dirty = true;
                    return self.commit();
                }
            }
            if committed.elapsed() >= PERIOD {
                self.commit()?;
                committed = Instant::now();
            }
        }
    }

    fn take_in(&mut self, changes: &Changes) -> anyhow::Result<()> {
        for position in &changes.removed {
            self.writer.delete_term(Term::from_field_bytes(self.fields.id, &position.id.0));
            self.is_dirty = true;
        }
        for record in &changes.stored {
            self.add(record)?;
        }
        Ok(())
    }

    fn add(&mut self, record: &Record) -> anyhow::Result<()> {
        let view = record.view();
        let wanted = self.kinds.is_empty() || self.kinds.contains(&view.kind);
        if wanted
            && !kind::is_private(view.kind)
            && let Some(document) = self.fields.document(record)
        {
            // It may be there already, from a look through the store.
            self.writer.delete_term(Term::from_field_bytes(self.fields.id, &view.id.0));
            self.writer.add_document(document)?;
            self.is_dirty = true;
        }
        self.indexed = self.indexed.max(record.sequence);
        Ok(())
    }

    /// Takes in from the store what came after the last that is in the index. What has gone from the store since stays
    /// in the index, where it is found in vain.
    fn catch_up(&mut self) -> anyhow::Result<()> {
        let (from, to) = (self.indexed, self.store.last_sequence());
        let kinds = (!self.kinds.is_empty()).then(|| self.kinds.clone());
        let mut scan = Scan::new(Filter { kinds, ..Filter::default() });
        let (mut added, mut fault) = (0, None);
        loop {
            let store = self.store.clone();
            let mut found = |record: Record| {
                if record.sequence > from {
                    added += 1;
                    if let Err(error) = self.add(&record) {
                        fault = Some(error);
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            };
            let progress = store.scan(&mut scan, SLICE, &mut found)?;
            // Until the end nothing is known to be complete: it would be looked for again after a crash.
            self.indexed = from;
            if let Some(error) = fault {
                return Err(error);
            }
            if self.stopped.load(Ordering::Acquire) {
                return Ok(());
            }
            if progress == Progress::Done {
                break;
            }
            if added >= CHUNK {
                added = 0;
                self.commit()?;
            }
        }
        self.indexed = to;
        self.is_dirty = true;
        self.commit()?;
        tracing::info!(from, to, "the search index has caught up");
        Ok(())
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        if std::mem::take(&mut self.is_dirty) {
            let mut prepared = self.writer.prepare_commit()?;
            prepared.set_payload(&self.indexed.to_string());
            prepared.commit()?;
        }
        Ok(())
    }
}
