//! One folder per rule.

pub mod bulyan;
pub mod centered_clipping;
pub mod clipping;
pub mod contra;
pub mod fltrust;
pub mod geometric_median;
pub mod krum;
pub mod median;
pub mod nnm;
pub mod outer_step;
pub mod trimmed_mean;
pub mod weighted_mean;
pub mod weighted_sum;
