//! What is wrong with single updates, before anything is aggregated or paid. A validator finds; it decides nothing.

mod loss;
mod round;

pub use loss::{Reported, loss_gain};
pub use round::{Finding, Limits, inspect, not_finite};
