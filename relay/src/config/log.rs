//! What is logged, and how it looks.

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    pub format: LogFormat,
    /// As `RUST_LOG` has it, which goes before: `info`, `debug`, `mercato::writer=debug,info`.
    pub level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl LogConfig {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.level.trim().is_empty(), "log.level must say something, as info");
        self.filter().map(drop)
    }

    /// What passes.
    pub fn filter(&self) -> anyhow::Result<EnvFilter> {
        EnvFilter::try_new(&self.level).context("log.level is no level, as info or debug")
    }
}
