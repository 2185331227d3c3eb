//! From the file and the command line to a configuration.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Config;

impl Config {
    /// Reads `file`, lays each `key=value` of `sets` over it, and checks the whole.
    pub fn load(file: Option<&Path>, sets: &[String]) -> anyhow::Result<Self> {
        let Some(file) = file else { return Self::parse("", sets) };
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let table = text.parse().with_context(|| format!("in {}", file.display()))?;
        Self::from_table(table, sets)
    }

    /// The same for what a file would hold.
    pub fn parse(text: &str, sets: &[String]) -> anyhow::Result<Self> {
        Self::from_table(text.parse()?, sets)
    }

    pub fn from_table(mut table: toml::Table, sets: &[String]) -> anyhow::Result<Self> {
        for set in sets {
            lay_over(&mut table, set).with_context(|| format!("in --set {set}"))?;
        }
        let config: Self = table.try_into().context("in the configuration")?;
        config.check()?;
        Ok(config)
    }

    /// The file to read when the command line names none: `$MERCATO_CONFIG`, else
    /// `/etc/mercato/config.toml`, else `config.toml` in the working folder.
    pub fn search() -> Option<PathBuf> {
        if let Some(named) = std::env::var_os("MERCATO_CONFIG") {
            return Some(PathBuf::from(named));
        }
        let usual = ["/etc/mercato/config.toml", "config.toml"];
        usual.iter().map(PathBuf::from).find(|path| path.is_file())
    }
}

/// Sets `a.b.c=value` in a table. A value that is not TOML is taken as a string.
fn lay_over(table: &mut toml::Table, set: &str) -> anyhow::Result<()> {
    let (key, value) = set.split_once('=').context("expected key=value")?;
    let value = match format!("value = {value}").parse::<toml::Table>() {
        Ok(mut parsed) => parsed.remove("value").context("expected a value")?,
        Err(_) => toml::Value::String(value.to_owned()),
    };
    let mut names: Vec<&str> = key.trim().split('.').collect();
    let last = names.pop().filter(|last| !last.is_empty()).context("expected key=value")?;
    let mut inner = table;
    for name in names {
        inner = inner
            .entry(name)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()))
            .as_table_mut()
            .with_context(|| format!("{name} is not a section"))?;
    }
    inner.insert(last.to_owned(), value);
    Ok(())
}
