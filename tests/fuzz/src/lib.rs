//! What must hold of any bytes at all: one function for each thing that is parsed.
//!
//! `targets` has libFuzzer call them; `relay/tests/corpus.rs` calls them with every input that fuzzing found worth keeping
//! (`tests/fuzz/corpus`), so that what was found once is tried by every test run.

pub mod event;
pub mod frames;
pub mod fried;
pub mod keys;
pub mod message;
pub mod negentropy;
pub mod plugin;
pub mod record;
pub mod router;
