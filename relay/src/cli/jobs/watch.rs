//! `mercato jobs --watch`: on a terminal a table that is drawn anew every second, elsewhere a line for every change.

use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::board::Board;
use super::{JobsArgs, table};
use crate::cli::output::Output;
use crate::cli::screen::{Screen, cut};
use crate::cli::terminal::{self, Size};
use crate::clock::now_s;
use crate::store::rocks::RocksStore;

const PERIOD: Duration = Duration::from_secs(1);

/// Goes on until SIGINT or SIGTERM.
pub fn run(store: &RocksStore, board: Board, args: &JobsArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(watch(store, board, args))
}

async fn watch(store: &RocksStore, mut board: Board, args: &JobsArgs) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let screen = terminal::size().filter(|_| !args.json).map(|_| Screen::open()).transpose()?;
    let mut clock = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = clock.tick() => {}
        }
        store.catch_up().context("reading on")?;
        let changed = board.update(store)?;
        match (&screen, terminal::size()) {
            (Some(screen), Some(size)) => screen.draw(&frame(&board, size, args))?,
            _ => {
                let mut output = Output::new();
                for job in changed.iter().filter(|job| args.wants(job)) {
                    let line = if args.json { serde_json::to_string(job)? } else { table::change(job, now_s()) };
                    output.line(line)?;
                }
                output.flush()?;
            }
        }
    }
}

/// The lines that fit.
fn frame(board: &Board, size: Size, args: &JobsArgs) -> Vec<String> {
    let mut jobs = board.sorted(|job| args.wants(job));
    jobs.truncate(args.limit.unwrap_or(usize::MAX));
    // A line for the summary, one empty, one for the headings, and one for what does not fit.
    let shown = jobs.len().min(size.rows.saturating_sub(4));
    let mut lines = vec![cut(&format!("jobs: {}", board.summary()), size.columns), String::new()];
    lines.extend(table::render(&jobs[..shown], now_s(), size.columns, terminal::has_colour()));
    if shown < jobs.len() {
        lines.push(cut(&format!("and {} more", jobs.len() - shown), size.columns));
    }
    lines
}
