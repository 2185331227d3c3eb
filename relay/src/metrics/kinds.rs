//! Events stored, by kind, without a lock and with a bounded number of kinds.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

/// Kinds that are told apart, a power of two. Those that come first have their own line, all others share `other`: whoever
/// publishes thousands of kinds must not fill the operator's database.
const KINDS: usize = 256;
/// No kind.
const FREE: u32 = u32::MAX;

#[derive(Clone)]
pub struct KindCounts(Arc<Table>);

struct Table {
    slots: [Slot; KINDS],
    other: AtomicU64,
}

struct Slot {
    kind: AtomicU32,
    count: AtomicU64,
}

impl Default for KindCounts {
    fn default() -> Self {
        let free = |_| Slot { kind: AtomicU32::new(FREE), count: AtomicU64::new(0) };
        Self(Arc::new(Table { slots: std::array::from_fn(free), other: AtomicU64::new(0) }))
    }
}

impl KindCounts {
    pub fn inc(&self, kind: u16) {
        let wanted = u32::from(kind);
        // Linear probing: kinds that are used are few and lie together.
        for step in 0..KINDS {
            let slot = &self.0.slots[(usize::from(kind) + step) % KINDS];
            let held = match slot.kind.load(Ordering::Relaxed) {
                FREE => slot
                    .kind
                    .compare_exchange(FREE, wanted, Ordering::Relaxed, Ordering::Relaxed)
                    .map_or_else(|held| held, |_| wanted),
                held => held,
            };
            if held == wanted {
                slot.count.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        self.0.other.fetch_add(1, Ordering::Relaxed);
    }

    /// The kinds seen and how often, lowest first.
    fn counts(&self) -> Vec<(u32, u64)> {
        let load = |slot: &Slot| (slot.kind.load(Ordering::Relaxed), slot.count.load(Ordering::Relaxed));
        let mut counts: Vec<_> = self.0.slots.iter().map(load).filter(|(kind, _)| *kind != FREE).collect();
        counts.sort_unstable();
        counts
    }
}

impl Collector for KindCounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (name, help) = ("nostr_events", "Events stored or, if ephemeral, passed on");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (kind, count) in self.counts() {
            ConstCounter::new(count).encode(family.encode_family(&[("kind", kind)])?)?;
        }
        let other = self.0.other.load(Ordering::Relaxed);
        ConstCounter::new(other).encode(family.encode_family(&[("kind", "other")])?)
    }
}

impl fmt::Debug for KindCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.counts()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_counted_and_only_so_many_kinds_are_told_apart() {
        let counts = KindCounts::default();
        for kind in 0..1_000u16 {
            counts.inc(kind);
            counts.inc(kind);
        }
        let told = counts.counts();
        assert_eq!(told.len(), KINDS);
        assert!(told.contains(&(7, 2)), "the first kinds keep their own line");
        let other = counts.0.other.load(Ordering::Relaxed);
        assert_eq!(told.iter().map(|(_, count)| count).sum::<u64>() + other, 2_000);
    }

    #[test]
    fn threads_that_count_at_once_lose_nothing() {
        let counts = KindCounts::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000u16).for_each(|number| counts.inc(number % 50)));
            }
        });
        assert_eq!(counts.counts().len(), 50);
        assert!(counts.counts().iter().all(|(_, count)| *count == 800));
    }
}
