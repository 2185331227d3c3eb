//! What the system knows of this process, under the names that Prometheus' own clients use.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Default)]
pub struct ProcessMeters {
    resident_bytes: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    threads: Gauge,
}

impl ProcessMeters {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("process_resident_memory_bytes", "Memory held", self.resident_bytes.clone());
        registry.register("process_open_fds", "Files and sockets open", self.open_fds.clone());
        registry.register("process_max_fds", "Files and sockets that may be open", self.max_fds.clone());
        registry.register("process_threads", "Threads", self.threads.clone());
    }

    /// Asks the system; what it does not tell stays as it was.
    pub fn read(&self) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |name: &str| -> Option<i64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        if let Some(kib) = number("VmRSS:") {
            self.resident_bytes.set(kib * 1_024);
        }
        if let Some(threads) = number("Threads:") {
            self.threads.set(threads);
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            self.open_fds.set(open.count() as i64);
        }
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        if let Some(max) = soft.and_then(|rest| rest.split_whitespace().next()?.parse().ok()) {
            self.max_fds.set(max);
        }
    }
}
