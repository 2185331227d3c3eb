//! What the end-to-end tests share: the real binary under a harness, a small client that hides nothing,
//! and naive twins of what the relay does cleverly.
//!
//! `tests/` has a file for each subject, and in it a test for each claim; what a test needs of the environment it
//! says when that is missing. `$MERCATO_SEED` repeats a random run, `$MERCATO_KILLS` says how often `chaos` and `kills`
//! kill the relay, `$MERCATO_FILTERS` how much `filters` asks and `$MERCATO_TWIN_URL` whom besides, `$NAK` names a nak to
//! drive, `$MERCATO_STRFRY` a strfry to speak with.
//!
//! Nothing here uses the relay's own code: events are signed and hashed by the `nostr` crate, and JSON
//! is read by `serde_json`, so that a mistake in the relay has no double here.

pub mod claim;
pub mod client;
pub mod data;
pub mod disk;
pub mod event;
pub mod frames;
pub mod http;
pub mod link;
pub mod manage;
pub mod market;
pub mod naive;
pub mod random;
pub mod reconcile;
pub mod relay;
pub mod said;
pub mod shifted;
pub mod strfry;
pub mod wire;

pub use client::Client;
pub use event::{Draft, Event, now_s};
pub use nostr::Keys;
pub use relay::Relay;
pub use said::Said;
