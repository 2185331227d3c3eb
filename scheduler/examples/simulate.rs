//! Runs simulated worlds: `simulate --seeds 0..1000 --hours 24`.
//!
//! `--bugs yes` tells which seeds find each planted mistake of the relay; `--digest yes` counts a digest of all that the scheduler answered, so
//! that a change which is to leave every decision as it was can be held against the build before it.
//!
//! Prints each violation with its seed and step, and at the end the virtual hours per minute and what happened how often.

#[path = "../tests/sim/mod.rs"]
mod sim;

use sim::{Cast, Counts, Sabotage, Setup, run};
use std::ops::Range;
use std::process::ExitCode;

const USAGE: &str = "usage: simulate [--seeds A..B] [--hours H] [--providers P] [--check-every STEPS] [--sabotage NAME] [--bugs yes] \
     [--digest yes]";

struct Arguments {
    seeds: Range<u64>,
    hours: u64,
    providers: u64,
    check_every: u64,
    sabotage: Option<Sabotage>,
    bugs: bool,
    digest: bool,
}

#[expect(clippy::disallowed_types, reason = "measures itself; the worlds have virtual time")]
type Stopwatch = std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "measures itself; the worlds have virtual time")]
fn start() -> Stopwatch {
    Stopwatch::now()
}

fn main() -> ExitCode {
    let Some(arguments) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if arguments.bugs {
        find_bugs(&arguments);
        return ExitCode::SUCCESS;
    }
    let stopwatch = start();
    let mut total = Counts::new();
    let mut violations = 0_u64;
    for seed in arguments.seeds {
        let Arguments { hours, check_every, sabotage, providers, digest, .. } = arguments;
        let cast = Cast::of(providers);
        match run(Setup { seed, cast, hours, check_every, sabotage, digest }) {
            Ok(counts) => counts.into_iter().for_each(|(what, times)| {
                *total.entry(what).or_default() += times;
            }),
            Err(violation) => {
                violations += 1;
                println!("{violation}");
            }
        }
    }
    let wall_ms = stopwatch.elapsed().as_millis().max(1);
    report(&total, wall_ms);
    println!("{violations:>12} violations");
    if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Which seeds find each planted mistake.
fn find_bugs(arguments: &Arguments) {
    let Arguments { hours, check_every, providers, .. } = *arguments;
    let cast = Cast::of(providers);
    for mistake in Sabotage::ALL.iter().copied() {
        let setup = |seed| Setup { seed, cast, hours, check_every, sabotage: Some(mistake), digest: false };
        let found: Vec<_> = arguments.seeds.clone().filter_map(|seed| run(setup(seed)).err()).collect();
        let of = arguments.seeds.end.saturating_sub(arguments.seeds.start);
        let first = found.first().map(ToString::to_string).unwrap_or_default();
        println!("{mistake:?}: {} of {of} seeds; {first}", found.len());
    }
}

fn report(total: &Counts, wall_ms: u128) {
    for (what, times) in total {
        println!("{times:>12} {what}");
    }
    let hours = u128::from(total.get("virtual hours").copied().unwrap_or(0));
    println!("{wall_ms:>12} wall ms");
    println!("{:>12} virtual hours per minute", hours * 60_000 / wall_ms);
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments = Arguments {
        seeds: 0..100,
        hours: 10,
        providers: 40,
        check_every: 500,
        sabotage: None,
        bugs: false,
        digest: false,
    };
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--seeds" => {
                let (from, to) = value.split_once("..")?;
                arguments.seeds = from.parse().ok()?..to.parse().ok()?;
            }
            "--hours" => arguments.hours = value.parse().ok()?,
            "--providers" => arguments.providers = value.parse().ok().filter(|n| *n > 0)?,
            "--check-every" => arguments.check_every = value.parse().ok().filter(|n| *n > 0)?,
            "--digest" => arguments.digest = value == "yes",
            "--bugs" => arguments.bugs = value == "yes",
            "--sabotage" => {
                let named = |sabotage: &Sabotage| format!("{sabotage:?}") == value;
                arguments.sabotage = Some(Sabotage::ALL.iter().copied().find(named)?);
            }
            _ => return None,
        }
    }
    Some(arguments)
}
