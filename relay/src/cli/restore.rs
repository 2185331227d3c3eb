//! `mercato restore`: puts what `mercato backup` has made in the place of the store.
//!
//! The copy is made and synced beside the store first, and takes its place by a change of name: whenever this is cut
//! short, either store is there whole, and the verb can be run again.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use indicatif::BinaryBytes;

use super::output::Output;
use super::{files, keys, storage};
use crate::config::Config;
use crate::control::client::Client;
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// What `mercato backup` was given.
    folder: PathBuf,
    /// Replace the store that is there, and its keys if the backup has some.
    #[arg(long)]
    force: bool,
}

pub fn run(config: &Config, args: &RestoreArgs) -> anyhow::Result<()> {
    let saved = args.folder.join("db");
    storage::require(&saved)?;
    // Before anything is touched: a backup that cannot be read replaces nothing.
    let stats = storage::open_copy_to_read(config, &saved)?.stats()?;
    ensure!(Client::connect(&config.store.path)?.is_none(), "a relay is running on the store: stop it first");
    storage::create_folder(config)?;
    let database = storage::database(config);
    let _lock = files::Lock::take(&database)?;
    let is_there = !files::is_empty_store(&database)?;
    ensure!(!is_there || args.force, "{} holds a store already; --force replaces it", database.display());
    let keys = restorable_keys(config, args)?;
    let (arriving, leaving) = (database.with_extension("restoring"), database.with_extension("replaced"));
    files::remove(&arriving)?;
    files::copy(&saved, &arriving)?;
    if database.try_exists()? {
        files::remove(&leaving)?;
        std::fs::rename(&database, &leaving).context("putting the old store aside")?;
    }
    std::fs::rename(&arriving, &database).context("putting the backup in place")?;
    files::sync(&config.store.path)?;
    if let Some(keys) = keys {
        files::copy_private(&keys, &config.store.path.join(keys::FOLDER))?;
    }
    files::remove(&leaving)?;
    let mut output = Output::new();
    output.line(format!("{} events, {} restored", stats.events, BinaryBytes(stats.bytes_on_disk)))?;
    output.flush()
}

/// The backup's keys, when it has some that are to be put in place.
fn restorable_keys(config: &Config, args: &RestoreArgs) -> anyhow::Result<Option<PathBuf>> {
    let saved = args.folder.join(keys::FOLDER);
    if !saved.try_exists()? {
        return Ok(None);
    }
    let own = config.store.path.join(keys::FOLDER);
    if own.try_exists()? && !files::same(&saved, &own)? && !args.force {
        bail!("{} holds other keys than the backup; --force replaces them", own.display());
    }
    Ok(Some(saved))
}
