//! A seeded world around the scheduler: customers, providers of every character, a network that delays, repeats and loses,
//! and a relay that crashes. Time is virtual; a seed always gives the same run.
//!
//! `cast` says who takes part; `world` turns the clock; `relay` steps the scheduler and keeps the journal; `provider` and `customer` behave;
//! `truth` knows the right answers;
//! `purse` pays, and `ledger` judges what became of the money;
//! `observer` sees only what was committed and published, and judges it by its own book-keeping.

mod agenda;
mod cast;
mod customer;
mod ledger;
mod observer;
mod provider;
mod purse;
mod relay;
mod rng;
mod truth;
mod world;

pub use cast::Cast;
pub use relay::Sabotage;
pub use world::{Counts, Setup, run};
