//! Aggregation rules: arithmetic over model updates, and nothing else.
//!
//! A kernel takes what was already checked and decided elsewhere and returns numbers. It knows neither jobs nor
//! Nostr, reads no clock and keeps no state between calls; the threads it is asked to use are gone when it returns.
//!
//! # Layout
//!
//! - `updates.rs`: where the numbers come from, read a range at a time; `plan.rs`: how the work is cut;
//! - `gram.rs`: all norms, distances and angles from one reading of the data;
//! - `columns/`: order statistics by sorting networks;
//! - `ops/<rule>/mod.rs`: the mathematics of one rule, its contract, and the checks at its door;
//! - `ops/<rule>/cpu.rs`: the same formula as code, where a rule looks at coordinates. Rules that weigh whole updates
//!   are `n × n` work over the Gram matrix and end in `ops/weighted_sum`;
//! - `rule.rs`, `decision.rs`: a rule by its name, what it decides first, and the writing, window by window;
//! - `validate/`: what is wrong with single updates;
//! - `format/`: updates as files, decoded where they are accumulated;
//! - `isa.rs`, `lanes.rs`: the same source compiled for what the processor has;
//! - `error.rs`: why a kernel refuses its input.
//!
//! # Contract of every rule
//!
//! 1. **The bits are part of the result.** Two machines that aggregate the same updates in the same order get the same
//!    bytes, so a result can be checked by its hash. Each rule writes down its order of operations and each of its
//!    roundings; the width of a SIMD register, the size of a tile and the number of threads are not among them. Only
//!    `+ - * / sqrt` and fused multiply-add are used, which IEEE 754 defines to the last bit.
//! 2. **Coordinates are independent**, once a rule over whole updates has its coefficients. A caller may split `0..d`
//!    into ranges ([`Window`]) and get the bits of the undivided call.
//! 3. **All numbers in and out are finite.** Anything else is an [`Error`] that names the update it came from.
//! 4. **Updates are borrowed, the output is the caller's.** After an error its content is unspecified.
//! 5. **Memory is bounded by tiles**, not by `n · d`: a rule reads every update once, or twice if it needs the Gram
//!    matrix, whatever it iterates.

mod columns;
mod decision;
mod error;
pub mod format;
mod gram;
mod isa;
mod lanes;
pub mod ops;
mod plan;
mod rule;
mod updates;
pub mod validate;

pub use decision::Decision;
pub use error::Error;
pub use gram::Gram;
pub use isa::Isa;
pub use ops::bulyan::bulyan;
pub use ops::centered_clipping::centered_clipping;
pub use ops::clipping::clipping;
pub use ops::contra::Contra;
pub use ops::fltrust::fltrust;
pub use ops::geometric_median::geometric_median;
pub use ops::krum::{krum, multi_krum};
pub use ops::median::median;
pub use ops::nnm::{Mixed, Mixing};
pub use ops::outer_step::OuterStep;
pub use ops::trimmed_mean::trimmed_mean;
pub use ops::weighted_mean::weighted_mean;
pub use ops::weighted_sum::{Combination, weighted_sum};
pub use plan::Plan;
pub use rule::{Aggregator, Parameters, Rule, UnknownRule};
pub use updates::{Chosen, Dense, Difference, Joined, Updates, Window, Zeros};
