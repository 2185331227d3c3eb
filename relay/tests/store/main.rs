//! What a store promises, checked on the one on disk and on its twin in memory.

mod contract;
mod database;
#[cfg(feature = "rocksdb")]
mod disk;
#[cfg(feature = "rocksdb")]
mod planner;
mod real;
mod support;
#[cfg(feature = "rocksdb")]
mod twin;
