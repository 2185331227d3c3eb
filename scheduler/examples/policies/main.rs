//! Compares schedulers in the same simulated markets: `policies --seeds 5 --hours 4 --providers 200`.
//!
//! Everybody is told the same by the same people at the same times: `script` writes it from a seed, `world` plays it under a scheduler,
//! `policy` says what one is asked, `simple` has the three to compare with. `--json yes` prints JSON lines, `--plots FOLDER` draws.

#[path = "../../tests/sim/agenda.rs"]
mod agenda;
#[path = "../../tests/sim/cast.rs"]
mod cast;
mod figures;
mod plot;
mod policy;
#[path = "../../tests/sim/rng.rs"]
mod rng;
mod script;
mod simple;
mod world;

use cast::Cast;
use figures::{BIN_MS, Figures, Row, json, table};
use mercato_scheduler::{Config, Request};
use plot::Chart;
use policy::{Ours, Policy};
use script::{Ask, Script};
use simple::{Pick, Simple};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use world::World;

const USAGE: &str = "usage: policies [--seeds N] [--hours H] [--providers P] [--json yes] [--plots FOLDER]";

/// A scheduler, and what customers send it.
struct Contender {
    name: &'static str,
    make: fn() -> Box<dyn Policy>,
    form: fn(&Ask) -> Request,
}

const CONTENDERS: [Contender; 5] = [
    Contender { name: "mercato", make: || Box::new(Ours::new(config())), form: adaptive },
    Contender { name: "mercato, one", make: || Box::new(Ours::new(config())), form: plain },
    Contender { name: "first come", make: || simple(Pick::IdleLongest, 1), form: plain },
    Contender { name: "random", make: || simple(Pick::Random, 1), form: plain },
    Contender { name: "two of each", make: || simple(Pick::Random, 2), form: plain },
];

fn simple(pick: Pick, quorum: usize) -> Box<dyn Policy> {
    Box::new(Simple::new(config(), pick, quorum))
}

/// The defaults, and a quota that somebody who never pays can feel.
fn config() -> Config {
    Config { jobs_per_customer_max: 100, ..Config::default() }
}

/// One result, whoever delivers it.
fn plain(ask: &Ask) -> Request {
    Request { bid_msat: ask.bid_msat, ..Request::new(ask.kind) }
}

/// A second opinion unless the provider is trusted.
fn adaptive(ask: &Ask) -> Request {
    Request { replicas: 2, quorum: 2, adaptive: true, ..plain(ask) }
}

struct Arguments {
    seeds: u64,
    hours: u64,
    providers: u64,
    json: bool,
    plots: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Some(arguments) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let Arguments { seeds, hours, providers, .. } = arguments;
    let mut results = compare(seeds, hours, providers);
    let rows = rows(&mut results);
    print!("{}", if arguments.json { json(providers, &rows) } else { table(&rows) });
    let Some(folder) = arguments.plots else {
        return ExitCode::SUCCESS;
    };
    match draw(&folder, &mut results) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{}: {e}", folder.display());
            ExitCode::FAILURE
        }
    }
}

/// The same worlds under each scheduler.
fn compare(seeds: u64, hours: u64, providers: u64) -> Vec<(&'static str, Figures)> {
    let mut results: Vec<_> = CONTENDERS.iter().map(|contender| (contender.name, Figures::default())).collect();
    for seed in 0..seeds {
        let script = Script::write(seed, Cast::of(providers), hours);
        for (contender, (_, sum)) in CONTENDERS.iter().zip(&mut results) {
            sum.add(World::play(&script, hours, (contender.make)(), contender.form));
        }
    }
    results
}

fn rows(results: &mut [(&'static str, Figures)]) -> Vec<(&'static str, Row)> {
    results.iter_mut().map(|(name, figures)| (*name, figures.row())).collect()
}

fn draw(folder: &Path, results: &mut [(&'static str, Figures)]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let hours = |results: &[(&str, Figures)]| {
        let bins = results.iter().map(|(_, figures)| figures.bins.len() as u64).max().unwrap_or(1);
        (0..=bins * BIN_MS / script::HOUR).map(|hour| (hour * script::HOUR, format!("{hour} h"))).collect::<Vec<_>>()
    };
    let over_time = |results: &[(&'static str, Figures)], value: fn(&figures::Bin) -> u64| {
        let line = |(name, figures): &(&'static str, Figures)| {
            let bins = (0..).zip(&figures.bins).filter(|(_, bin)| bin.right + bin.wrong > 0);
            (*name, bins.map(|(at, bin)| (at * BIN_MS + BIN_MS / 2, value(bin))).collect::<Vec<_>>())
        };
        results.iter().map(line).collect::<Vec<_>>()
    };
    let wrong = Chart {
        title: "Accepted results that are wrong",
        x: ("virtual time", hours(results)),
        y: ("in a hundred", (0..=4).map(|at| (at * 50, (at * 5).to_string())).collect()),
        lines: over_time(results, |bin| bin.wrong * 1_000 / (bin.right + bin.wrong)),
    };
    std::fs::write(folder.join("wrong.svg"), wrong.svg())?;
    let overhead = Chart {
        title: "Results delivered for each job",
        x: ("virtual time", hours(results)),
        y: ("results", (0..=5).map(|at| (at * 500, format!("{}.{}", at / 2, at % 2 * 5))).collect()),
        lines: over_time(results, |bin| bin.results * 1_000 / (bin.right + bin.wrong)),
    };
    std::fs::write(folder.join("overhead.svg"), overhead.svg())?;
    let wait = |(name, figures): &mut (&'static str, Figures)| {
        let places =
            (0..=99).map(|percent| (percent * 10, figures.wait_ms(usize::try_from(percent * 10).unwrap_or(0))));
        (*name, places.map(|(permille, ms)| (permille, ms.min(180_000))).collect::<Vec<_>>())
    };
    let waits = Chart {
        title: "Time from the request to the accepted result",
        x: ("jobs, the quickest first", (0..=10).map(|at| (at * 100, format!("{}%", at * 10))).collect()),
        y: ("seconds (cut at 180)", (0..=6).map(|at| (at * 30_000, (at * 30).to_string())).collect()),
        lines: results.iter_mut().map(wait).collect(),
    };
    std::fs::write(folder.join("wait.svg"), waits.svg())
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments = Arguments { seeds: 3, hours: 4, providers: 200, json: false, plots: None };
    while let Some(word) = words.next() {
        let value = words.next()?;
        let number = || value.parse().ok().filter(|number| *number > 0);
        match word.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--hours" => arguments.hours = number()?,
            "--providers" => arguments.providers = number()?,
            "--json" => arguments.json = value == "yes",
            "--plots" => arguments.plots = Some(PathBuf::from(value)),
            _ => return None,
        }
    }
    Some(arguments)
}
