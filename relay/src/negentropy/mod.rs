//! Set reconciliation (NIP-77, negentropy protocol V1): two sides find out which events either lacks, without telling
//! each other all they have.
//!
//! `tree` holds a set, `message` is the wire, `reconcile` answers one message: all three are pure. `client` is our side
//! when we ask, about a set that `gather` took from the store; `exchange` is one client's NEG subscription, `trees` are the sets of configured filters, kept up to
//! date by the writer.
//!
//! The `negentropy` crate is the other side in the tests. It cannot be the engine here: its storage trait does not let a
//! set hand over the sums it keeps, so each fingerprint would read every event below it.

pub mod budget;
pub mod client;
pub mod desk;
pub mod exchange;
pub mod filters;
pub mod gather;
pub mod item;
pub mod message;
pub mod reconcile;
pub mod span;
pub mod sum;
pub mod tree;
pub mod trees;

pub use client::Client;
pub use desk::Desk;
pub use exchange::{Exchange, Exchanges};
pub use gather::gather;
pub use item::Item;
pub use message::FrameError;
pub use span::Span;
pub use sum::{Fingerprint, Sum};
pub use tree::Tree;
pub use trees::Trees;
