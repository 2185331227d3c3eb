//! `mercato keys`: the key that signs leases and job states. Never prints a secret.

use anyhow::bail;

use super::npub::npub;
use super::output::Output;
use super::storage;
use crate::config::Config;
use crate::market::MarketKeys;
use crate::nostr::Pubkey;

/// Where secret keys lie, in the folder of the store.
pub const FOLDER: &str = "keys";

#[derive(Debug, clap::Args)]
pub struct KeysArgs {
    /// Make the key when there is none yet, as the relay does at its first start.
    #[arg(long)]
    create: bool,
}

pub fn run(config: &Config, args: &KeysArgs) -> anyhow::Result<()> {
    let file = config.store.path.join(FOLDER).join("relay.key");
    if args.create {
        storage::create_folder(config)?;
    } else if !file.try_exists()? {
        bail!(
            "there is no key in {}: the relay makes one at its first start, or `mercato keys --create` now",
            file.display()
        );
    }
    let key = MarketKeys::load_or_create(&config.store.path)?.public();
    let mut output = Output::new();
    output.line(format!("self  {key}"))?;
    output.line(format!("npub  {}", npub(&key)))?;
    output.line(format!("file  {}", file.display()))?;
    output.flush()
}

/// The relay's public key; `None` when it was never started.
pub fn own(config: &Config) -> anyhow::Result<Option<Pubkey>> {
    if !config.store.path.join(FOLDER).join("relay.key").try_exists()? {
        return Ok(None);
    }
    Ok(Some(MarketKeys::load_or_create(&config.store.path)?.public()))
}
