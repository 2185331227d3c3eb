//! `mercato config check`: the first thing that is wrong, with its line.

use std::path::PathBuf;

use anyhow::{Context, anyhow};

use crate::cli::Source;
use crate::cli::output::Output;
use crate::config::Config;

pub fn run(mut source: Source, file: Option<PathBuf>) -> anyhow::Result<()> {
    source.config = file.or(source.config);
    let Some(file) = source.file() else {
        source.load()?;
        return say("there is no file: the defaults hold");
    };
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    // Reads the same as what follows, but knows where it is.
    toml::from_str::<Config>(&text).with_context(|| format!("in {}", file.display()))?;
    source.load().map_err(|error| {
        let error = anyhow!(super::super::with_causes(&error));
        match line_of(&text, &error.to_string()) {
            Some(line) => error.context(format!("in {}, line {line}", file.display())),
            None => error.context(format!("in {}", file.display())),
        }
    })?;
    say(&format!("{} is fine", file.display()))
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut output = Output::new();
    output.line(text)?;
    output.flush()
}

/// Line, from 1, of the key with which a complaint begins: `limits.max_limit must be ...`.
fn line_of(text: &str, complaint: &str) -> Option<usize> {
    let (section, key) = complaint.split_whitespace().next()?.split_once('.')?;
    let mut within = "";
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            within = name.trim();
        } else if within == section && line.split('=').next().is_some_and(|name| name.trim() == key) {
            return Some(number + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_found_where_its_key_stands() {
        let text = "[relay]\nport = 1\n\n[limits]\n# max_limit\n max_limit = 0 # none\n";
        assert_eq!(line_of(text, "limits.max_limit must be 1 or more"), Some(6));
        assert_eq!(line_of(text, "relay.max_limit must be 1 or more"), None);
        assert_eq!(line_of(text, "nonsense"), None);
    }
}
