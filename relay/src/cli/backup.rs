//! `mercato backup`: the store as it is at one moment, beside a running relay or without one.
//!
//! Whoever has the store open makes a checkpoint in the store's own folder, which on most disks copies nothing but a
//! few notes. From there it is moved to where it is wanted, or copied when that is another disk.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use indicatif::BinaryBytes;

use super::output::Output;
use super::storage::{self, Commits};
use super::{files, keys};
use crate::config::Config;
use crate::control::client::Client;
use crate::store::{Store, unused_checkpoint};

#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// Where to put it: a folder that is empty or not there yet.
    folder: PathBuf,
    /// Also the relay's secret keys, readable by their owner only.
    #[arg(long)]
    with_keys: bool,
}

pub fn run(config: &Config, args: &BackupArgs) -> anyhow::Result<()> {
    storage::require(&storage::database(config))?;
    ensure!(files::is_empty(&args.folder)?, "{} is not empty", args.folder.display());
    files::create_private(&args.folder)?;
    let checkpoint = match Client::connect(&config.store.path)? {
        Some(mut client) => client.checkpoint()?,
        None => {
            let store = storage::open_to_write(config, Commits::Durable)?;
            let folder = unused_checkpoint(&config.store.path)?;
            store.checkpoint(&folder).context("copying the store")?;
            folder
        }
    };
    let database = args.folder.join("db");
    files::relocate(&checkpoint, &database)?;
    let keys = config.store.path.join(keys::FOLDER);
    let has_keys = keys.try_exists()?;
    if has_keys && args.with_keys {
        files::copy_private(&keys, &args.folder.join(keys::FOLDER))?;
    }
    let stats = storage::open_copy_to_read(config, &database)?.stats()?;
    let mut output = Output::new();
    let (bytes, place) = (BinaryBytes(stats.bytes_on_disk), args.folder.display());
    output.line(format!("{} events, {bytes} in {place}", stats.events))?;
    output.flush()?;
    if has_keys && !args.with_keys {
        tell_of_keys(&keys);
    }
    Ok(())
}

fn tell_of_keys(keys: &Path) {
    let place = keys.display();
    eprintln!("mercato: the secret keys in {place} are not in it: keep a copy apart, or use --with-keys");
}
