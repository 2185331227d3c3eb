//! `bench compare`: this relay and another one side by side, scenario by scenario, as one table of ratios.
//!
//! Both get the same events and the same questions, one relay after the other, never at the same time.

use clap::Parser;

use super::client::RelayUrl;
use super::report::{Report, Row};
use super::target::Target;
use super::{Common, Scenario, measure};

/// What is run, as it would be typed after `mercato bench`, at its full size and at about a tenth.
const PLAN: [(&str, &str); 7] = [
    ("idle --connections 1000", "idle --connections 200 --seconds 2"),
    ("publish --events 20000", "publish --events 2000"),
    ("req --events 100000", "req --events 10000 --queries 600"),
    ("count --stored 100000", "count --stored 10000 --queries 50"),
    ("pagination", "pagination --events 20000 --pages 20"),
    ("hostile", "hostile --subscriptions 1000 --events 100"),
    ("fanout --rate 500", "fanout --rate 500 --subscribers 100 --events 500"),
];
/// Needs other events than the run at a rate, hence another seed.
const FLAT_OUT: (&str, &str) = ("fanout --rate 0", "fanout --rate 0 --subscribers 100 --events 500");

/// Figures that are compared, all of them the better the smaller they are.
const COMPARED: [&str; 9] = [
    "cpu_us_per_event",
    "cpu_us_per_query",
    "cpu_us_per_delivery",
    "cpu_us_per_page",
    "p50_ms",
    "p99_ms",
    "mib_per_1000",
    "refused",
    "duplicates",
];

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The other relay, as ws://host:port; give it a new store
    #[arg(long)]
    against: RelayUrl,
    /// Its process on this machine
    #[arg(long)]
    against_pid: u32,
    /// About a tenth of each load
    #[arg(long)]
    quick: bool,
    /// Both have what `generate --events` of this number, seed and day printed: `req` and `count` store nothing
    #[arg(long)]
    stored: Option<u32>,
    /// Only scenarios whose name is one of these
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// A line of the plan as the command line reads it.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Line {
    #[command(subcommand)]
    scenario: Scenario,
}

/// Runs the plan against both.
///
/// # Errors
/// When a relay cannot be reached or ends a connection.
pub async fn run(args: &Args, common: &Common) -> anyhow::Result<Report> {
    let target = Target::open(common).await?;
    let ours = Common { url: Some(target.url.clone()), pid: target.pid(), set: Vec::new(), ..common.clone() };
    let theirs = Common { url: Some(args.against.clone()), pid: Some(args.against_pid), ..ours.clone() };
    let mut report = Report::new("compare", format!("ours: {}, theirs: {}", target.url, args.against)).upright();
    let pick = |(full, quick): (&'static str, &'static str)| if args.quick { quick } else { full };
    let plan = PLAN.map(|line| (pick(line), common.seed));
    for (line, seed) in plan.into_iter().chain([(pick(FLAT_OUT), common.seed.wrapping_add(1))]) {
        let name = line.split(' ').next().unwrap_or_default();
        if !(args.only.is_empty() || args.only.iter().any(|only| only == name)) {
            continue;
        }
        let line = match args.stored {
            Some(stored) if matches!(name, "req" | "count") => format!("{name} --stored {stored}"),
            _ => line.to_owned(),
        };
        let Line { scenario } = Line::try_parse_from(line.split(' '))?;
        let ours = Box::pin(measure(&scenario, &Common { seed, ..ours.clone() })).await?;
        let theirs = Box::pin(measure(&scenario, &Common { seed, ..theirs.clone() })).await?;
        side_by_side(&mut report, name, &ours, &theirs);
    }
    Ok(report)
}

/// A row for each figure that both have.
fn side_by_side(report: &mut Report, scenario: &str, ours: &Report, theirs: &Report) {
    for (mine, other) in ours.rows().iter().zip(theirs.rows()) {
        for column in COMPARED {
            let (Some(ours), Some(theirs)) = (mine.figure(column), other.figure(column)) else { continue };
            // Above all refusals and duplicates: where there are any, the rest is not what it seems.
            if ours == 0.0 && theirs == 0.0 {
                continue;
            }
            let name = format!("{scenario}, {}: {}", mine.name(), column.replace('_', " "));
            let ratio = (theirs > 0.0).then(|| ours / theirs);
            report.push(Row::new(name).with("ours", ours).with("theirs", theirs).with("ratio", ratio));
        }
    }
    for (whose, notes) in [("ours", ours.notes()), ("theirs", theirs.notes())] {
        for note in notes {
            report.note(format!("{scenario}, {whose}: {note}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_plan_is_a_command_line() {
        for line in PLAN.iter().chain([&FLAT_OUT]).flat_map(|(full, quick)| [full, quick]) {
            assert!(Line::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }

    #[test]
    fn only_figures_that_both_have_are_compared() {
        let report = |cpu: Option<f64>, refused: u64| {
            let mut report = Report::new("publish", "");
            let row = Row::new("1 connection").with("cpu_us_per_event", cpu).with("refused", refused);
            report.push(row.with("p50_ms", 4.0));
            report
        };
        let mut compared = Report::new("compare", "");
        side_by_side(&mut compared, "publish", &report(Some(1.0), 0), &report(Some(4.0), 0));
        side_by_side(&mut compared, "publish", &report(None, 0), &report(Some(4.0), 1));
        let rows: Vec<_> = compared.rows().iter().map(|row| (row.name(), row.figure("ratio"))).collect();
        let expected = [
            ("publish, 1 connection: cpu us per event", Some(0.25)),
            ("publish, 1 connection: p50 ms", Some(1.0)),
            ("publish, 1 connection: p50 ms", Some(1.0)),
            ("publish, 1 connection: refused", Some(0.0)),
        ];
        assert_eq!(rows, expected);
    }
}
