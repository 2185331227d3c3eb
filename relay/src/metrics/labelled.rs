//! Metrics told apart by one label whose values are known beforehand: counting is one atomic addition.

use std::array;

use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Histogram;

type Labels = [(&'static str, &'static str); 1];

/// One `M` for each of `N` values of a label.
#[derive(Debug, Clone)]
pub struct Labelled<M, const N: usize> {
    family: Family<Labels, M, fn() -> M>,
    each: [M; N],
}

impl<const N: usize> Labelled<Counter, N> {
    pub fn counters(label: &'static str, values: [&'static str; N]) -> Self {
        Self::new(label, values, Counter::default)
    }

    /// Adds one to the value at this place.
    pub fn inc(&self, place: usize) {
        self.each[place].inc();
    }
}

impl<const N: usize> Labelled<Histogram, N> {
    pub fn latencies(label: &'static str, values: [&'static str; N]) -> Self {
        Self::new(label, values, Histogram::of_latency)
    }
}

impl<M: Clone + TypedMetric, const N: usize> Labelled<M, N> {
    pub fn new(label: &'static str, values: [&'static str; N], make: fn() -> M) -> Self {
        let family = Family::new_with_constructor(make);
        let each = array::from_fn(|place| family.get_or_create_owned(&[(label, values[place])]));
        Self { family, each }
    }

    /// The metric of the value at this place.
    pub fn at(&self, place: usize) -> &M {
        &self.each[place]
    }

    pub fn register(&self, registry: &mut Registry, name: &str, help: &str)
    where
        M: EncodeMetric + Send + Sync + std::fmt::Debug + 'static,
    {
        registry.register(name, help, self.family.clone());
    }
}
