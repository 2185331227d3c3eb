//! `mercato relay`: runs until SIGINT or SIGTERM.

use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::descriptors;
use super::npub::npub;
use super::storage::{self, Commits};
use crate::config::Config;
use crate::control::server::Server;
use crate::policy::Policies;
use crate::relay::Relay;
use crate::store::Store;

/// Descriptors that are not connections: RocksDB's files, logs and sockets.
const FILES_OF_STORE: u64 = 1_024;

pub fn run(config: Config) -> anyhow::Result<()> {
    start_log();
    check_descriptors(&config);
    let store = Arc::new(storage::open_to_write(&config, Commits::Durable)?);
    // For all but the connections, which have threads of their own (`serving`).
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().context("starting the threads")?;
    let served = runtime.block_on(serve(config, store));
    // A stop in good order leaves nothing running; one at once waits for nothing.
    runtime.shutdown_background();
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

pub(super) fn start_log() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_ansi(std::io::stderr().is_terminal()).with_target(false).init();
}

async fn serve(config: Config, store: Arc<dyn Store>) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let folder = config.store.path.clone();
    let relay = Relay::start(config, store, Policies::default()).await?;
    let control = Server::start(&folder, &relay)?;
    tracing::info!("listening on ws://{}", relay.address);
    match &relay.shared.own {
        Some(own) => tracing::info!("self {own} ({})", npub(own)),
        None => tracing::info!("the market is off"),
    }
    let name = tokio::select! {
        name = signals.next() => name,
        // Without it nothing is ever answered; who watches over the process can start it anew.
        () = relay.shared.writer.ended() => bail!("the writer could not go on, its reason is in the log"),
    };
    tracing::info!("{name}: stopping, another one stops at once");
    tokio::select! {
        stopped = stop(control, relay) => stopped?,
        name = signals.next() => bail!("{name} again: stopped at once"),
    }
    tracing::info!("stopped");
    Ok(())
}

async fn stop(control: Server, relay: Relay) -> anyhow::Result<()> {
    control.stop().await;
    relay.stop().await
}

/// The signals that ask for a stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for one; its name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
