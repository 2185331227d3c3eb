//! Nostr's wire, without I/O: what bytes mean, and whether they are well-formed.

pub mod event;
pub mod filter;
pub mod fried;
pub mod hex;
pub mod json;
pub mod kind;
pub mod message;
pub mod pow;
pub mod search;
pub mod verify;

pub use event::{Event, EventError, EventId, EventView, IndexTags, Pubkey};
pub use filter::{Filter, FilterError, FilterLimits};
pub use message::{ClientMessage, Completeness, MessageError, MessageLimits, Tally};
pub use verify::Verifier;
