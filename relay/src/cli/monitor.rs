//! `mercato monitor`: who is connected to the running relay, and what waits for whom.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::npub::npub;
use super::output::Output;
use super::screen::{Screen, cut};
use super::terminal::{self, Size};
use super::{duration, storage};
use crate::config::Config;
use crate::control::Peer;
use crate::control::client::Client;
use crate::nostr::Pubkey;

const PERIOD: Duration = Duration::from_secs(1);
const HEADINGS: [&str; COLUMNS] = ["ID", "ADDRESS", "SINCE", "SUBS", "QUERIES", "JUDGED", "WAITING", "KEYS"];
const COLUMNS: usize = 8;
/// Letters of a key that are enough to tell it from others.
const SHORT: usize = 12;

#[derive(Debug, clap::Args)]
pub struct MonitorArgs {
    /// Show them anew every second.
    #[arg(long)]
    watch: bool,
    /// A JSON line for each connection instead of a table.
    #[arg(long)]
    json: bool,
}

pub fn run(config: &Config, args: &MonitorArgs) -> anyhow::Result<()> {
    let Some(client) = Client::connect(&config.store.path)? else {
        bail!("no relay runs on {}", storage::database(config).display());
    };
    if args.watch {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(watch(client, args));
    }
    print(client, args).map(drop)
}

/// Goes on until SIGINT or SIGTERM, or until the relay ends.
async fn watch(mut client: Client, args: &MonitorArgs) -> anyhow::Result<()> {
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
        match (&screen, terminal::size()) {
            (Some(screen), Some(size)) => {
                let peers = busiest_first(client.monitor().context("asking the relay")?);
                screen.draw(&frame(&peers, size))?;
            }
            _ => client = print(client, args)?,
        }
    }
}

fn print(mut client: Client, args: &MonitorArgs) -> anyhow::Result<Client> {
    let peers = client.monitor().context("asking the relay")?;
    let mut output = Output::new();
    if args.json {
        for peer in &peers {
            output.line(serde_json::to_string(peer)?)?;
        }
    } else {
        let columns = terminal::size().map_or(usize::MAX, |size| size.columns);
        for line in table(&busiest_first(peers)) {
            output.line(cut(&line, columns))?;
        }
    }
    output.flush()?;
    Ok(client)
}

/// Who makes the most work stands where the eye falls first.
fn busiest_first(mut peers: Vec<Peer>) -> Vec<Peer> {
    peers.sort_by_key(|peer| (std::cmp::Reverse((peer.pending_bytes, peer.queries, peer.judged)), peer.id));
    peers
}

/// The lines that fit.
fn frame(peers: &[Peer], size: Size) -> Vec<String> {
    let sum = |of: fn(&Peer) -> u64| peers.iter().map(of).sum::<u64>();
    let (subscriptions, waiting) = (sum(|peer| peer.subscriptions), sum(|peer| peer.pending_bytes));
    let waiting = indicatif::BinaryBytes(waiting);
    let mut lines =
        vec![format!("{} connections, {subscriptions} subscriptions, {waiting} waiting", peers.len()), String::new()];
    // A line for the summary, one empty, one for the headings, and one for what does not fit.
    let shown = peers.len().min(size.rows.saturating_sub(4));
    lines.extend(table(&peers[..shown]));
    if shown < peers.len() {
        lines.push(format!("and {} more", peers.len() - shown));
    }
    lines.iter().map(|line| cut(line, size.columns)).collect()
}

/// A line for the headings and one for each connection.
fn table(peers: &[Peer]) -> Vec<String> {
    let rows: Vec<_> = std::iter::once(HEADINGS.map(str::to_owned)).chain(peers.iter().map(cells)).collect();
    let mut widths = [0; COLUMNS];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let line = |row: &[String; COLUMNS]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn cells(peer: &Peer) -> [String; COLUMNS] {
    let short = |key: &String| Pubkey::from_hex(key).map(|key| npub(&key).chars().take(SHORT).collect::<String>());
    let keys: Vec<String> = peer.keys.iter().filter_map(short).collect();
    [
        peer.id.to_string(),
        peer.address.to_string(),
        duration::short(peer.connected_s),
        peer.subscriptions.to_string(),
        peer.queries.to_string(),
        peer.judged.to_string(),
        indicatif::BinaryBytes(peer.pending_bytes).to_string(),
        if keys.is_empty() { "-".to_owned() } else { keys.join(" ") },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: u64, pending_bytes: u64, keys: Vec<String>) -> Peer {
        let address = "203.0.113.7:4000".parse().expect("an address");
        Peer { id, address, connected_s: 250, keys, subscriptions: 3, queries: 1, judged: 0, pending_bytes }
    }

    #[test]
    fn the_busiest_stands_first_and_columns_are_aligned() {
        let key = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".to_owned();
        let peers = busiest_first(vec![peer(1, 0, vec![]), peer(12, 2_048, vec![key])]);
        let expected = [
            "ID  ADDRESS           SINCE  SUBS  QUERIES  JUDGED  WAITING   KEYS",
            "12  203.0.113.7:4000  4m10s  3     1        0       2.00 KiB  npub10xlxvlh",
            "1   203.0.113.7:4000  4m10s  3     1        0       0 B       -",
        ];
        assert_eq!(table(&peers), expected);
        let size = Size { columns: 20, rows: 5 };
        let frame = frame(&peers, size);
        assert_eq!(frame.len(), size.rows);
        assert!(frame.iter().all(|line| line.len() <= size.columns));
        assert_eq!(frame[4], "and 1 more");
    }
}
