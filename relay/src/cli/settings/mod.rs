//! `mercato config`: what a configuration says, whether it can be run with, and one made from strfry's.

mod check;
mod strfry;

use std::path::PathBuf;

use anyhow::Context;

use super::output::Output;
use super::{Nothing, Source, With};

#[derive(Debug, clap::Args)]
pub struct SettingsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Translate a strfry.conf; print it as TOML, and what has no counterpart as comments.
    Import {
        /// Of strfry.
        file: PathBuf,
    },
    /// Say whether the relay would start with a configuration, and where it would not.
    Check(With<CheckArgs>),
    /// Print every key with the value that holds.
    Show(With<Nothing>),
}

#[derive(Debug, clap::Args)]
struct CheckArgs {
    /// Instead of the one that the relay would read.
    file: Option<PathBuf>,
}

/// `before` stood before the verb.
pub fn run(before: Source, args: SettingsArgs) -> anyhow::Result<()> {
    match args.verb {
        Verb::Import { file } => import(&file),
        Verb::Check(with) => check::run(before.join(with.source), with.args.file),
        Verb::Show(with) => show(before.join(with.source)),
    }
}

fn import(file: &std::path::Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let translated = strfry::translate(&text).with_context(|| format!("in {}", file.display()))?;
    let mut output = Output::new();
    output.line(format!("# Made from {} by `mercato config import`.", file.display()))?;
    output.line(translated.trim_end())?;
    output.flush()?;
    // Two values may each be fine for strfry and together be none for us.
    crate::config::Config::parse(&translated, &[]).context("the relay would not start with this").map(drop)
}

fn show(source: Source) -> anyhow::Result<()> {
    let file = source.file();
    let config = source.load()?;
    let mut output = Output::new();
    output.line(match &file {
        Some(file) => format!("# From {} and the defaults.", file.display()),
        None => "# The defaults: there is no file.".to_owned(),
    })?;
    output.line(toml::to_string(&config)?.trim_end())?;
    output.flush()
}
