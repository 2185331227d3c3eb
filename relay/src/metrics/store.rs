//! What the store says of itself, read when it is asked for.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::store::Store;

#[derive(Debug, Default)]
pub struct StoreMeters {
    events: Gauge,
    bytes: Gauge,
    memtable_bytes: Gauge,
    pending_compaction_bytes: Gauge,
    compactions: Gauge,
    write_stopped: Gauge,
    delayed_write_rate: Gauge,
    background_errors: Gauge,
}

impl StoreMeters {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("mercato_db_events", "Events stored", self.events.clone());
        registry.register("mercato_db_bytes", "Size on disk", self.bytes.clone());
        registry.register("mercato_db_memtable_bytes", "Writes not yet sorted into files", self.memtable_bytes.clone());
        let pending = self.pending_compaction_bytes.clone();
        registry.register("mercato_db_pending_compaction_bytes", "Bytes that wait to be merged", pending);
        registry.register("mercato_db_compactions_running", "Merges under way", self.compactions.clone());
        registry.register("mercato_db_write_stopped", "1 while writes wait for merges", self.write_stopped.clone());
        let rate = self.delayed_write_rate.clone();
        registry.register("mercato_db_delayed_write_rate", "Bytes a second to which writes are slowed; 0: none", rate);
        registry.register(
            "mercato_db_background_errors",
            "Faults of flushes and merges",
            self.background_errors.clone(),
        );
    }

    /// Asks the store; what it does not tell stays as it was.
    pub fn read(&self, store: &dyn Store) {
        if let Ok(stats) = store.stats() {
            self.events.set(stats.events as i64);
            self.bytes.set(stats.bytes_on_disk as i64);
        }
        let pressure = store.pressure();
        self.memtable_bytes.set(pressure.memtable_bytes as i64);
        self.pending_compaction_bytes.set(pressure.pending_compaction_bytes as i64);
        self.compactions.set(pressure.compactions as i64);
        self.write_stopped.set(i64::from(pressure.write_stopped));
        self.delayed_write_rate.set(pressure.delayed_write_rate as i64);
        self.background_errors.set(pressure.background_errors as i64);
    }
}
