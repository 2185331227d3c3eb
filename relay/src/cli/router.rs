//! `mercato router`: many links, as a file of strfry's syntax wants them, followed as it changes.

use std::path::PathBuf;

use super::linking::{self, Plan};
use crate::config::Config;
use crate::peer::router;

#[derive(Debug, clap::Args)]
pub struct RouterArgs {
    /// A router file, as strfry's.
    file: PathBuf,
    /// Only say whether the file is right.
    #[arg(long)]
    check: bool,
}

pub fn run(config: &Config, args: RouterArgs) -> anyhow::Result<()> {
    let file = router::read(&args.file)?;
    if args.check {
        return Ok(());
    }
    linking::run(config, Plan { file, path: Some(args.file), keep: true })
}
