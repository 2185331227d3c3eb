//! `bench generate`: the events of the other scenarios as JSON lines, for `mercato import` or another relay's.

use super::super::output::Output;
use super::data::Data;

/// Events signed before they are written: bounds the memory.
const BATCH: usize = 20_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many
    #[arg(long, default_value_t = 100_000)]
    events: usize,
    /// People who write them
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    authors: u32,
}

/// Prints them, oldest first.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &Args, seed: u64) -> anyhow::Result<()> {
    let data = Data::new(seed, args.authors as usize);
    let mut output = Output::new();
    for first in (0..args.events).step_by(BATCH) {
        for event in data.sign_some(first..(first + BATCH).min(args.events), args.events) {
            output.line(event.body())?;
        }
    }
    output.flush()
}
