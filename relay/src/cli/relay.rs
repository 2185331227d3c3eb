//! `mercato relay`: runs until SIGINT, SIGTERM or SIGUSR1.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::descriptors;
use super::log::Log;
use super::npub::npub;
use super::storage::{self, Commits};
use crate::config::Config;
use crate::control::server::Server;
use crate::listener::Listeners;
use crate::policy::Policies;
use crate::relay::Relay;
use crate::reload::{Source, Watch, Watched};
use crate::store::rocks::RocksStore;
use crate::supervisor;

/// Descriptors that are not connections: RocksDB's files, logs and sockets.
const FILES_OF_STORE: u64 = 1_024;

/// How long tasks may take to be dropped once the relay has stopped.
const LAST_TASKS: Duration = Duration::from_secs(5);

pub fn run(source: Source) -> anyhow::Result<()> {
    let file = Watched::file(&source);
    let config = source.load()?;
    let log = Log::start(&config.log)?;
    check_descriptors(&config);
    // For all but the connections, which have threads of their own (`serving`).
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().context("starting the threads")?;
    let served = runtime.block_on(serve(source, file, config, log));
    match &served {
        // Whatever still holds the store lets go of it here, and not while the process ends.
        Ok(()) => runtime.shutdown_timeout(LAST_TASKS),
        // A stop at once waits for nothing.
        Err(_) => runtime.shutdown_background(),
    }
    served
}

/// Says beforehand what would otherwise be refused connections later.
fn check_descriptors(config: &Config) {
    let wanted = config.limits.max_connections as u64 + FILES_OF_STORE;
    match descriptors::raise_limit() {
        Ok(limit) if limit < wanted => tracing::warn!(
            "{limit} open files are allowed, limits.max_connections needs {wanted}: raise LimitNOFILE or ulimit -n"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit on open files could not be raised"),
    }
}

async fn serve(source: Source, file: Watched, config: Config, log: Log) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    // Before the store is open: who comes now waits in the socket's queue, and is not refused.
    let listeners = Listeners::open(&config.relay)?;
    let opened = tokio::select! {
        opened = open_store(&config) => opened?,
        asked = signals.next() => bail!("{}: stopped before the store was open", asked.name()),
    };
    let certificate = Watched::certificate(&config.tls);
    let store = Arc::new(opened);
    let scheme = if config.tls.is_on() { "wss" } else { "ws" };
    let folder = config.store.path.clone();
    let relay = Relay::start_on(listeners, config.clone(), store.clone(), Policies::default()).await?;
    let control = Server::start(&folder, &relay)?;
    tracing::info!("listening on {scheme}://{}", relay.address);
    match &relay.shared.own {
        Some(own) => tracing::info!("self {} ({})", own.relay, npub(&own.relay)),
        None => tracing::info!("the market is off"),
    }
    let hangup = signal(SignalKind::hangup())?;
    let watch =
        Watch::new(source, config, (file, certificate), relay.shared.clone(), Box::new(move |config| log.set(config)));
    let watching = tokio::spawn(watch.run(hangup));
    let guarding = tokio::spawn(supervisor::guard(relay.shared.clone()));
    supervisor::ready();
    let asked = tokio::select! {
        asked = signals.next() => asked,
        // Without it nothing is ever answered; who watches over the process can start it anew.
        () = relay.shared.writer.ended() => bail!("the writer could not go on, its reason is in the log"),
    };
    watching.abort();
    if let Asked::Drain = asked {
        let patience = Duration::from_secs(relay.shared.now.load().relay.drain_s);
        supervisor::stopping(patience);
        let seconds = patience.as_secs();
        tracing::info!("SIGUSR1: no more clients are taken, those that are here may stay {seconds} s");
        tokio::select! {
            () = relay.drain(patience) => {}
            asked = signals.next() => tracing::info!("{}: waiting no longer", asked.name()),
        }
    }
    supervisor::stopping(Duration::ZERO);
    tracing::info!("{}: stopping, another signal stops at once", asked.name());
    tokio::select! {
        stopped = stop(control, relay) => stopped?,
        asked = signals.next() => bail!("{} again: stopped at once", asked.name()),
    }
    guarding.abort();
    close(store).await;
    tracing::info!("stopped");
    Ok(())
}

/// Opens the store, and waits while the process before has it.
async fn open_store(config: &Config) -> anyhow::Result<RocksStore> {
    let patience = Duration::from_secs(config.relay.lock_wait_s);
    supervisor::starting(patience);
    let config = config.clone();
    tokio::task::spawn_blocking(move || storage::wait_to_write(&config, Commits::Durable, patience)).await?
}

/// Closes the store here, once its last reader has let go of it, and not while the process ends.
async fn close(store: Arc<RocksStore>) {
    let last = async {
        while Arc::strong_count(&store) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(LAST_TASKS, last).await.is_err() {
        tracing::warn!("somebody still holds the store");
    }
}

async fn stop(control: Server, relay: Relay) -> anyhow::Result<()> {
    control.stop().await;
    relay.stop().await
}

/// The signals that ask for an end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    user: Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Interrupt,
    Terminate,
    /// Let the clients leave first.
    Drain,
}

impl Asked {
    fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::Drain => "SIGUSR1",
        }
    }
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.user.recv() => Asked::Drain,
        }
    }
}
