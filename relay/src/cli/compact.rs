//! `mercato compact`: gives the space of removed and replaced events back to the disk.

use std::path::Path;

use anyhow::Context;
use indicatif::BinaryBytes;

use super::output::Output;
use super::storage::{self, Commits};
use crate::config::Config;
use crate::control::client::Client;
use crate::store::Store;

/// Through the relay where one runs, which serves its clients meanwhile.
pub fn run(config: &Config) -> anyhow::Result<()> {
    let folder = storage::database(config);
    storage::require(&folder)?;
    let before = bytes_in(&folder)?;
    match Client::connect(&config.store.path)? {
        Some(mut client) => client.compact()?,
        None => storage::open_to_write(config, Commits::Durable)?.compact().context("compacting")?,
    }
    let after = bytes_in(&folder)?;
    let mut output = Output::new();
    output.line(format!("{} before, {} after", BinaryBytes(before), BinaryBytes(after)))?;
    output.flush()
}

/// Files come and go while they are counted; one that has gone counts nothing.
fn bytes_in(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        bytes += entry?.metadata().map_or(0, |file| file.len());
    }
    Ok(bytes)
}
