//! What is counted of questions about stored events.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::{Histogram, Labelled};

/// What a question came as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Req,
    Count,
    Negentropy,
}

#[derive(Debug)]
pub struct QueryMeters {
    pub slices: Counter,
    pub failed: Counter,
    answered: Labelled<Histogram, 3>,
}

impl Default for QueryMeters {
    fn default() -> Self {
        Self {
            slices: Counter::default(),
            failed: Counter::default(),
            answered: Labelled::latencies("verb", ["REQ", "COUNT", "NEG"]),
        }
    }
}

impl QueryMeters {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("mercato_query_slices", "Slices of work done for questions", self.slices.clone());
        registry.register("mercato_failed_queries", "Questions that the store failed to answer", self.failed.clone());
        let help = "From a question to the end of its stored answer (EOSE), the wait for its turn included";
        self.answered.register(registry, "mercato_query_seconds", help);
    }

    pub fn answered(&self, asked: Asked) -> &Histogram {
        self.answered.at(asked as usize)
    }
}
