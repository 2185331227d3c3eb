//! Mercato: a Nostr relay with built-in job scheduling.
//!
//! The main path of an event: `websocket` reads a message, `session` names its verb and checks what
//! can be checked without I/O, `policy` may refuse it, `writer` asks the `market` about it and commits
//! it in a group, then answers OK; `live` finds who waits for it. A REQ goes from `session` to `live`
//! (what comes) and to `query` (what is there).
//!
//! ARCHITECTURE.md, beside the workspace's Cargo.toml, draws the whole house.

pub mod access;
mod admin;
#[cfg(feature = "rocksdb")]
pub mod cli;
pub mod clock;
pub mod config;
pub mod connection;
mod connections;
pub mod control;
mod door;
mod http;
mod info;
pub mod ingest;
pub mod listener;
pub mod live;
pub mod market;
pub mod metrics;
pub mod negentropy;
pub mod nostr;
mod outage;
pub mod outbox;
pub mod payments;
pub mod peer;
pub mod policy;
mod publish;
pub mod query;
mod ready;
pub mod relay;
pub mod reload;
#[cfg(feature = "search")]
pub mod search;
mod serving;
pub mod session;
pub mod store;
// Called by the command line only.
#[cfg_attr(not(feature = "rocksdb"), expect(dead_code))]
mod supervisor;
pub mod sweep;
mod tls;
mod vanish;
pub mod websocket;
pub mod writer;
