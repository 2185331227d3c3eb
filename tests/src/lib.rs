//! What the end-to-end tests share: the real binary under a harness, a small client that hides nothing,
//! and naive twins of what the relay does cleverly.
//!
//! Nothing here uses the relay's own code: events are signed and hashed by the `nostr` crate, and JSON
//! is read by `serde_json`, so that a mistake in the relay has no double here.

pub mod client;
pub mod data;
pub mod event;
pub mod http;
pub mod market;
pub mod naive;
pub mod random;
pub mod relay;
pub mod said;

pub use client::Client;
pub use event::{Draft, Event, now_s};
pub use nostr::Keys;
pub use relay::Relay;
pub use said::Said;
