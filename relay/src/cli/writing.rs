//! Writes: through the relay that runs on the store, else as its writer for a while.

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::storage::{self, Commits};
use crate::config::{Config, LimitsConfig};
use crate::control::client::Client;
use crate::control::{Answer, WINDOW};
use crate::ingest;
use crate::live::Live;
use crate::nostr::{Event, Filter};
use crate::store::Store;
use crate::store::rocks::RocksStore;
use crate::writer::{self, Command, Upkeep, WriterHandle};

/// Where writes go.
pub enum Writing {
    Relay(Client),
    Store(Box<StoreWriter>),
}

impl Writing {
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        Self::open_with(config, Commits::SyncedAtEnd)
    }

    /// The same for events only.
    pub fn open_for_import(config: &Config) -> anyhow::Result<Self> {
        let mut writing = Self::open_with(config, Commits::Bulk)?;
        if let Self::Relay(client) = &mut writing {
            client.begin_import()?;
        }
        Ok(writing)
    }

    fn open_with(config: &Config, commits: Commits) -> anyhow::Result<Self> {
        Ok(match Client::connect(&config.store.path)? {
            Some(client) => Self::Relay(client),
            None => Self::Store(Box::new(StoreWriter::open(config, commits)?)),
        })
    }

    /// Stores up to `WINDOW` events; what became of each, in order.
    pub fn import(&mut self, events: Vec<Event>) -> anyhow::Result<Vec<Answer>> {
        match self {
            Self::Relay(client) => client.import(&events),
            Self::Store(store) => store.import(events),
        }
    }

    /// Removes what matches; how many events that were.
    pub fn delete(&mut self, filter: Filter) -> anyhow::Result<u64> {
        match self {
            Self::Relay(client) => client.delete(&filter),
            Self::Store(store) => store.delete(filter),
        }
    }

    /// Returns once everything is on disk.
    pub fn finish(self) -> anyhow::Result<()> {
        match self {
            // It answers only what is.
            Self::Relay(_) => Ok(()),
            Self::Store(store) => store.finish(),
        }
    }
}

/// The relay's own writer without a relay: no market, and nobody to deliver to.
pub struct StoreWriter {
    store: Arc<RocksStore>,
    limits: LimitsConfig,
    /// The relay's public address.
    url: String,
    handle: WriterHandle,
    /// `None` once it has been waited for.
    thread: Option<JoinHandle<()>>,
    runtime: Runtime,
}

impl StoreWriter {
    fn open(config: &Config, commits: Commits) -> anyhow::Result<Self> {
        let store = Arc::new(storage::open_to_write(config, commits)?);
        let live = Arc::new(Live::new(store.last_sequence()));
        let upkeep = Upkeep { max_pending: WINDOW, sweeper: None, followers: Vec::new() };
        let (handle, thread) = writer::start(store.clone(), None, Arc::default(), live, upkeep)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Self {
            store,
            limits: config.limits.clone(),
            url: config.relay.url.clone(),
            handle,
            thread: Some(thread),
            runtime,
        })
    }

    fn import(&self, events: Vec<Event>) -> anyhow::Result<Vec<Answer>> {
        let mut replies = Vec::with_capacity(events.len());
        for event in events {
            replies.push(match ingest::check_import(&event, &self.limits, &self.url) {
                Ok(()) => Ok(self.submit(|reply| Command::Import { event: Box::new(event), reply })),
                Err(text) => Err(Answer::Refused(text)),
            });
        }
        let answer = |reply: Result<oneshot::Receiver<_>, Answer>| match reply {
            Ok(outcome) => outcome.blocking_recv().map(Answer::from).context("the writer has ended"),
            Err(answer) => Ok(answer),
        };
        replies.into_iter().map(answer).collect()
    }

    fn delete(&self, filter: Filter) -> anyhow::Result<u64> {
        let mut total = 0;
        loop {
            let removed = self.submit(|reply| Command::Delete { filter: filter.clone(), reply });
            match removed.blocking_recv().context("the writer has ended")?.map_err(|text| anyhow!(text))? {
                0 => return Ok(total),
                removed => total += removed,
            }
        }
    }

    fn submit<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> oneshot::Receiver<T> {
        let (reply, outcome) = oneshot::channel();
        self.runtime.block_on(self.handle.send(command(reply)));
        outcome
    }

    fn finish(mut self) -> anyhow::Result<()> {
        self.end()?;
        Ok(self.store.sync()?)
    }

    fn end(&mut self) -> anyhow::Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.runtime.block_on(self.handle.stop());
        thread.join().map_err(|_| anyhow!("the writer did not end well"))
    }
}

impl Drop for StoreWriter {
    /// Also who gives up waits for the writer: RocksDB aborts a process that ends while its threads are at work.
    fn drop(&mut self) {
        // Why it gave up has been told.
        let _ = self.end();
    }
}
