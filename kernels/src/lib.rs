//! Aggregation rules: arithmetic over model updates, and nothing else.
//!
//! A kernel takes what was already checked and decided elsewhere and returns numbers. It knows neither jobs nor
//! Nostr, spawns no thread, reads no clock and keeps no state between calls.
//!
//! # Layout
//!
//! - `ops/<rule>/mod.rs`: the mathematics of one rule, its contract, and the checks at its door;
//! - `ops/<rule>/cpu.rs`: the same formula as code;
//! - `error.rs`: why a kernel refuses its input.
//!
//! # Contract of every rule
//!
//! 1. **The bits are part of the result.** Two machines that aggregate the same updates in the same order get the same
//!    bytes, so a result can be checked by its hash. Each rule writes down its order of operations and each of its
//!    roundings; the width of a SIMD register, the size of a tile and the number of threads are not among them.
//! 2. **Coordinates are independent.** A caller may split `0..d` into ranges, give each to a thread, and get the bits
//!    of the undivided call.
//! 3. **All numbers in and out are finite.** Anything else is an [`Error`] that names the update it came from.
//! 4. **Updates are borrowed, the output is the caller's.** After an error its content is unspecified.

mod error;
pub mod ops;

pub use error::Error;
pub use ops::weighted_mean::weighted_mean;
