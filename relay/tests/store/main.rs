//! What a store promises, checked on the one on disk and on its twin in memory.

#[cfg(feature = "rocksdb")]
mod check;
mod contract;
mod database;
#[cfg(feature = "rocksdb")]
mod disk;
#[cfg(feature = "rocksdb")]
mod fixture;
#[cfg(feature = "rocksdb")]
mod full;
#[cfg(feature = "rocksdb")]
mod planner;
mod real;
mod support;
#[cfg(feature = "rocksdb")]
mod twin;
