//! Filters that an operator has added to those of the configuration, one a line in the folder of the store.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::{Config, tree_filter};
use crate::nostr::Filter;

fn path(config: &Config) -> PathBuf {
    config.store.path.join("negentropy.filters")
}

/// Every filter that a tree is to be kept for, each once.
pub fn all(config: &Config) -> anyhow::Result<Vec<Filter>> {
    let mut filters = config.negentropy.tree_filters()?;
    for filter in added(&path(config))? {
        if !filters.contains(&filter) {
            filters.push(filter);
        }
    }
    Ok(filters)
}

/// Adds one for good. False when it was there.
pub fn add(config: &Config, filter: &Filter) -> anyhow::Result<bool> {
    if all(config)?.contains(filter) {
        return Ok(false);
    }
    let path = path(config);
    let written = OpenOptions::new().append(true).create(true).open(&path).and_then(|mut file| {
        writeln!(file, "{}", filter.to_json())?;
        file.sync_all()
    });
    written.with_context(|| format!("writing {}", path.display()))?;
    Ok(true)
}

fn added(path: &Path) -> anyhow::Result<Vec<Filter>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            lines.map(tree_filter).collect::<anyhow::Result<_>>().with_context(|| format!("in {}", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_added_is_there_once_and_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.store.path = folder.path().to_owned();
        let filter = tree_filter(r#"{"kinds":[3,0,3]}"#).unwrap();
        assert!(add(&config, &filter).unwrap() && !add(&config, &filter).unwrap());
        assert!(!add(&config, &Filter::default()).unwrap(), "it is in the configuration");
        assert_eq!(all(&config).unwrap(), [Filter::default(), filter]);
        std::fs::write(path(&config), "{\"since\":5}\n").unwrap();
        assert!(all(&config).is_err());
    }
}
