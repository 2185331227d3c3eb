//! `mercato jobs`: the states that the relay has signed, as a table.

pub mod board;
pub mod job;
mod table;
mod watch;

use super::output::Output;
use super::{keys, npub, storage, terminal};
use crate::clock::now_s;
use crate::config::Config;
use crate::nostr::Pubkey;

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
    /// Only those of this customer, in hex or as npub1...
    #[arg(long, value_name = "KEY", value_parser = npub::parse)]
    customer: Option<Pubkey>,
    /// Only those that this provider holds or ended, in hex or as npub1...
    #[arg(long, value_name = "KEY", value_parser = npub::parse)]
    provider: Option<Pubkey>,
    /// So many at most.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// A JSON line for each instead of a table.
    #[arg(long)]
    json: bool,
}

impl JobsArgs {
    fn wants(&self, job: &Job) -> bool {
        let of_customer = |key: Pubkey| job.customer.as_ref().is_some_and(|customer| *customer == key.to_hex());
        self.state.as_ref().is_none_or(|state| *state == job.state)
            && self.kind.is_none_or(|kind| kind == job.kind)
            && self.customer.is_none_or(of_customer)
            && self.provider.is_none_or(|key| job.is_by(&key.to_hex()))
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
    let mut jobs = board.sorted(|job| args.wants(job));
    jobs.truncate(args.limit.unwrap_or(usize::MAX));
    print(&jobs, args)
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
