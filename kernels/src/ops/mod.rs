//! One folder per rule.

pub mod weighted_mean;
