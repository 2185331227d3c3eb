//! The only writer: takes what waits, commits it as one group, then answers and delivers.
//!
//! The market is asked about every event before it is stored, and what it decides (journal entries,
//! leases, states) is committed in the same group: there is no moment at which a job is stored but
//! not scheduled, or leased but not told. Nobody hears of anything before it is on disk.

mod answer;
mod delivery;
mod group;
mod seat;
mod turn;

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use crate::clock::StepWatch;
use crate::connection::Connection;
use crate::live::Live;
use crate::market::Settled;
use crate::metrics::WriterMeters;
use crate::nostr::{Event, Filter, Pubkey};
use crate::policy::Readers;
use crate::store::{Follower, Store};
use crate::sweep::Sweeper;

pub use self::seat::{MarketSeat, Restore};
use self::turn::Writer;

/// Committed groups that may wait for live delivery before the writer waits too.
const GROUPS_UNDELIVERED: usize = 64;

/// What the writer is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Store and deliver an event that has passed the door.
    Publish { event: Box<Event>, reply: Reply },
    /// Store an event of the past: no market, no delivery.
    Import { event: Box<Event>, reply: oneshot::Sender<Imported> },
    /// Store and deliver an event of another relay: no market, its jobs are the other's to schedule.
    Mirror { event: Box<Event>, reply: oneshot::Sender<Imported> },
    /// Remove what matches, without a trace, up to a bound; once more until it answers 0.
    Delete { filter: Filter, reply: oneshot::Sender<Result<u64, String>> },
    /// A connection has proved to hold a key.
    Connected(Pubkey),
    /// A connection with that key listens for these job kinds, in place of those before.
    Listening { pubkey: Pubkey, connection: u64, kinds: Vec<u16> },
    /// Such a connection is gone.
    Disconnected(Pubkey),
    /// Somebody who was asked says that a payment's money has moved.
    Settled(Box<Settled>),
    /// Commit what came before, then end.
    Stop,
}

/// Who is told what became of an event.
#[derive(Debug)]
pub enum Reply {
    Connection(Arc<Connection>),
    /// `Err` holds the text of an `OK false`.
    Call(oneshot::Sender<Result<(), String>>),
}

/// What became of an imported event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    Stored,
    Duplicate,
    /// Replaced, deleted, or of a kind that is not kept.
    Refused(&'static str),
    Failed(String),
}

/// The way to the writer. Sending waits while its queue is full, and holds up only who sends.
#[derive(Debug, Clone)]
pub struct WriterHandle {
    commands: mpsc::Sender<Queued>,
    meters: Arc<WriterMeters>,
}

/// A command and when its sender came with it, so that the wait for it can be told.
#[derive(Debug)]
struct Queued {
    command: Command,
    since: Instant,
}

impl WriterHandle {
    pub async fn send(&self, command: Command) {
        // After the writer has stopped there is no relay to answer.
        let _ = self.commands.send(Queued { command, since: Instant::now() }).await;
    }

    pub fn meters(&self) -> &WriterMeters {
        &self.meters
    }

    /// Commands that wait, and how many may.
    pub fn queue(&self) -> (usize, usize) {
        let max = self.commands.max_capacity();
        (max - self.commands.capacity(), max)
    }

    pub fn is_ended(&self) -> bool {
        self.commands.is_closed()
    }

    pub async fn stop(&self) {
        self.send(Command::Stop).await;
    }

    /// Resolves when the writer takes no more commands: after `stop`, or because it could not go on.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }
}

/// Starts the writer and live delivery. Join after `stop` to know that all it had accepted is on disk.
pub fn start(
    store: Arc<dyn Store>,
    market: Option<MarketSeat>,
    readers: Arc<Readers>,
    live: Arc<Live>,
    upkeep: Upkeep,
) -> std::io::Result<(WriterHandle, JoinHandle<()>)> {
    let (commands, queue) = mpsc::channel(upkeep.max_pending);
    let (groups, committed) = sync_channel(GROUPS_UNDELIVERED);
    let meters = Arc::new(WriterMeters::default());
    let delivery = {
        let (store, live, meters) = (store.clone(), live.clone(), meters.clone());
        let run = move || delivery::deliver(&live, &*store, &committed, &meters);
        std::thread::Builder::new().name("live".to_owned()).spawn(run)?
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (sweeper, followers) = (upkeep.sweeper, upkeep.followers);
    let mut writer = Writer {
        store,
        market,
        readers,
        live,
        followers,
        groups,
        sweeper,
        // A removal that the last stop cut short is taken up at once.
        next_vanish_ms: 0,
        next_census_ms: 0,
        steps: StepWatch::start(),
        outage: None,
        meters: meters.clone(),
    };
    let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
        runtime.block_on(writer.run(queue));
        drop(writer);
        // A panic over there has been reported by its thread.
        let _ = delivery.join();
    })?;
    Ok((WriterHandle { commands, meters }, thread))
}

/// How a writer keeps house.
#[derive(Debug)]
pub struct Upkeep {
    /// Commands that may wait; who sends more waits too.
    pub max_pending: usize,
    /// What removes events that have expired (NIP-40), as a relay must; an import keeps what it is given.
    pub sweeper: Option<Sweeper>,
    /// Sets that follow what is committed.
    pub followers: Vec<Arc<dyn Follower>>,
}
