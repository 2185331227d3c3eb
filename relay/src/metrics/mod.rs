//! The relay in figures, for Prometheus.
//!
//! Each part of the relay owns its meters and counts in them by atomic additions; `Metrics` holds them together and
//! writes them out when it is asked. Names that strfry has are kept (`nostr_...`), so that dashboards go on working; ours
//! start with `mercato_`.

mod clients;
mod histogram;
mod kinds;
mod labelled;
mod market;
mod message;
mod process;
mod query;
mod store;
mod writer;

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use clients::{ClientMeters, TurnedAway};
pub use histogram::Histogram;
pub use kinds::KindCounts;
pub use labelled::Labelled;
pub use market::MarketMeters;
pub use query::{Asked, QueryMeters};
pub use writer::{Outcome, WriterMeters};

use self::process::ProcessMeters;
use self::store::StoreMeters;
use crate::relay::Shared;

/// What `Metrics::write` writes, as HTTP names it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub clients: Arc<ClientMeters>,
    writer_queue: Gauge,
    writer_queue_max: Gauge,
    subscriptions: Gauge,
    ready: Gauge,
    process: ProcessMeters,
    store: StoreMeters,
}

impl Metrics {
    /// What is given is counted in elsewhere.
    pub fn new(writer: &WriterMeters, queries: &QueryMeters, market: Option<&MarketMeters>) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            clients: Arc::default(),
            writer_queue: Gauge::default(),
            writer_queue_max: Gauge::default(),
            subscriptions: Gauge::default(),
            ready: Gauge::default(),
            process: ProcessMeters::default(),
            store: StoreMeters::default(),
        };
        let registry = &mut metrics.registry;
        metrics.clients.register(registry);
        writer.register(registry);
        queries.register(registry);
        if let Some(market) = market {
            market.register(registry);
        }
        metrics.process.register(registry);
        metrics.store.register(registry);
        registry.register("mercato_subscriptions", "Subscriptions open now", metrics.subscriptions.clone());
        registry.register("mercato_writer_queue", "Commands that wait for the writer", metrics.writer_queue.clone());
        let max = metrics.writer_queue_max.clone();
        registry.register("mercato_writer_queue_max", "Commands that may wait; publishers then wait too", max);
        registry.register("mercato_ready", "1 when /ready answers 200", metrics.ready.clone());
        metrics
    }

    /// Everything, as of now. Reads files and asks the store: not for a thread that must not wait.
    pub fn write(&self, shared: &Shared) -> Result<String, fmt::Error> {
        self.clients.connections.set(shared.clients() as i64);
        self.clients.carried(&shared.traffic);
        let (waiting, max) = shared.writer.queue();
        self.writer_queue.set(waiting as i64);
        self.writer_queue_max.set(max as i64);
        self.subscriptions.set(shared.live.subscriptions() as i64);
        self.ready.set(i64::from(shared.ready().is_ok()));
        self.process.read();
        self.store.read(&*shared.store);
        let mut written = String::new();
        text::encode(&mut written, &self.registry)?;
        Ok(written)
    }
}
