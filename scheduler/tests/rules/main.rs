//! The rules, one test for each claim.

mod adaptive;
mod auction;
mod backup;
mod bench;
mod bound;
mod chain;
mod credibility;
mod deadline;
mod fencing;
mod journal;
mod matching;
mod money;
mod open;
mod pace;
mod presence;
mod property;
mod queue;
mod replicas;
mod reputation;
mod retry;
mod twin;
mod validators;
mod votes;
mod walk_in;
