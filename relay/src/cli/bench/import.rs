//! `bench import`: what a program that reads events as JSON lines on its standard input costs for each of them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};

use super::Common;
use super::child::TempFolder;
use super::data::Data;
use super::process;
use super::report::{Report, Row};
use crate::nostr::Event;

/// People who wrote the events.
const AUTHORS: usize = 1_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Events to import
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    events: u32,
    /// Program to run instead of this one's own import, with its arguments: -- strfry import
    #[arg(last = true)]
    command: Vec<String>,
}

/// Writes the events to a file and runs the import on it: ours once with signatures checked and once without, each on
/// a new store; or the program given, once.
///
/// # Errors
/// When the program cannot be run or fails.
pub async fn run(args: &Args, common: &Common) -> anyhow::Result<Report> {
    let folder = TempFolder::new("bench-import")?;
    let lines = folder.path().join("events.jsonl");
    write_lines(&lines, &Data::new(common.seed, AUTHORS).sign(args.events as usize))?;
    let mut report = Report::new("import", format!("{} events", args.events));
    if let [program, arguments @ ..] = args.command.as_slice() {
        let mut command = Command::new(program);
        command.args(arguments);
        report.push(time(&program.clone(), command, &lines, args.events)?);
        return Ok(report);
    }
    for (name, flag) in [("verified", None), ("not verified", Some("--no-verify"))] {
        let config = folder.path().join("config.toml");
        std::fs::write(&config, "").with_context(|| format!("writing {}", config.display()))?;
        let mut command = Command::new(std::env::current_exe().context("finding this program")?);
        command.arg("import").args(flag).env("MERCATO_CONFIG", &config);
        command.args(["--set", &format!("store.path={}", folder.path().join(name).display())]);
        for set in &common.set {
            command.args(["--set", set]);
        }
        report.push(time(name, command, &lines, args.events)?);
    }
    Ok(report)
}

fn time(name: &str, mut command: Command, lines: &Path, count: u32) -> anyhow::Result<Row> {
    let input = File::open(lines).with_context(|| format!("reading {}", lines.display()))?;
    command.stdin(input).stdout(Stdio::null()).stderr(Stdio::null());
    let before_s = process::children_cpu_s();
    let started = Instant::now();
    let status = command.status().with_context(|| format!("running {name}"))?;
    let wall_s = started.elapsed().as_secs_f64();
    ensure!(status.success(), "{name} ended with {status}");
    let cpu_s = process::children_cpu_s() - before_s;
    Ok(Row::new(name)
        .with("events", u64::from(count))
        .with("wall_s", wall_s)
        .with("events_per_s", f64::from(count) / wall_s)
        .with("cpu_us_per_event", cpu_s * 1e6 / f64::from(count)))
}

fn write_lines(path: &Path, events: &[Event]) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path).with_context(|| format!("writing {}", path.display()))?);
    for event in events {
        file.write_all(event.body())?;
        file.write_all(b"\n")?;
    }
    Ok(file.flush()?)
}
