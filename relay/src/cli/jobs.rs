//! `mercato jobs`: the states that the relay has signed, as a table.

pub mod board;
pub mod job;
mod table;
mod watch;

use super::output::Output;
use super::{keys, storage, terminal};
use crate::clock::now_s;
use crate::config::Config;

use self::board::Board;
use self::job::{Job, STATES};

#[derive(Debug, clap::Args)]
pub struct JobsArgs {
    /// Show them anew every second; without a terminal, print each change.
    #[arg(long)]
    watch: bool,
    /// Only jobs in this state.
    #[arg(long, value_parser = STATES)]
    state: Option<String>,
    /// Only requests of this kind.
    #[arg(long)]
    kind: Option<u16>,
    /// A JSON line for each instead of a table.
    #[arg(long)]
    json: bool,
}

impl JobsArgs {
    fn wants(&self, job: &Job) -> bool {
        self.state.as_ref().is_none_or(|state| *state == job.state) && self.kind.is_none_or(|kind| kind == job.kind)
    }
}

pub fn run(config: &Config, args: &JobsArgs) -> anyhow::Result<()> {
    let store = storage::open_to_read(config)?;
    // Without a key no state was ever signed.
    let Some(own) = keys::own(config)? else { return say_none() };
    let mut board = Board::new(own);
    if args.watch {
        return watch::run(&store, board, args);
    }
    board.update(&store)?;
    print(&board.sorted(|job| args.wants(job)), args)
}

fn print(jobs: &[&Job], args: &JobsArgs) -> anyhow::Result<()> {
    let mut output = Output::new();
    if args.json {
        for job in jobs {
            output.line(serde_json::to_string(job)?)?;
        }
        return output.flush();
    }
    if jobs.is_empty() {
        return say_none();
    }
    let columns = terminal::size().map_or(usize::MAX, |size| size.columns);
    for line in table::render(jobs, now_s(), columns, terminal::has_colour()) {
        output.line(line)?;
    }
    output.flush()
}

fn say_none() -> anyhow::Result<()> {
    eprintln!("no jobs");
    Ok(())
}
