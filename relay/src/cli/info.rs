//! `mercato info`: what is stored, and what a running relay says of itself.

use super::jobs::board::Board;
use super::npub::npub;
use super::output::Output;
use super::{duration, keys, storage};
use crate::config::Config;
use crate::control::Info;
use crate::control::client::Client;
use crate::nostr::Pubkey;
use crate::store::Store;

pub fn run(config: &Config) -> anyhow::Result<()> {
    let running = Client::connect(&config.store.path)?.map(|mut client| client.info()).transpose()?;
    let store = storage::open_to_read(config)?;
    let stats = store.stats()?;
    let mut output = Output::new();
    let mut row = |name: &str, value: String| output.line(format!("{name:<9} {value}"));
    row("store", storage::database(config).display().to_string())?;
    row("format", stats.format.to_string())?;
    row("events", stats.events.to_string())?;
    row("on disk", indicatif::BinaryBytes(stats.bytes_on_disk).to_string())?;
    row("sequence", stats.last_sequence.to_string())?;
    row("relay", running.as_ref().map_or_else(|| "not running".to_owned(), headline))?;
    if let Some(running) = &running {
        row("clients", running.clients.to_string())?;
    }
    if let Some(own) = own(config, running.as_ref())? {
        row("self", own.to_hex())?;
        row("", npub(&own))?;
        let mut board = Board::new(own);
        board.update(&store)?;
        row("jobs", board.summary())?;
    }
    output.flush()
}

fn headline(running: &Info) -> String {
    let span = duration::short(running.uptime_s);
    format!("ws://{}, version {}, up {span}", running.address, running.version)
}

/// What a running relay says, so that this verb works for whoever may talk to it.
fn own(config: &Config, running: Option<&Info>) -> anyhow::Result<Option<Pubkey>> {
    match running {
        Some(running) => Ok(running.own.as_deref().and_then(Pubkey::from_hex)),
        None => keys::own(config),
    }
}
