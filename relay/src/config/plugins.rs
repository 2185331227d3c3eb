//! Programs of the operator's that decide which events are stored and which questions answered (docs/operators.md).

use std::time::Duration;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use crate::policy::plugin::PluginConfig;

/// Processes of one plugin, so that a slip of the keyboard does not start a million.
const MAX_PROCESSES: usize = 256;

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PluginsConfig {
    /// Command that judges events, as strfry's `writePolicy.plugin`; empty: none.
    pub write: String,
    /// Processes of it; all events of one author go to the same.
    pub write_processes: usize,
    /// Command that judges REQ, COUNT and NEG-OPEN; empty: none.
    pub read: String,
    pub read_processes: usize,
    /// Whether `mercato import` asks the plugin for events, too.
    pub import: bool,
    /// How long the oldest unanswered question may wait before its process is ended.
    pub timeout_s: u64,
    /// Questions that one process may have before it has answered the first.
    pub max_in_flight: usize,
}

impl Default for PluginsConfig {
    fn default() -> Self {
        Self {
            write: String::new(),
            write_processes: 1,
            read: String::new(),
            read_processes: 1,
            import: false,
            timeout_s: 10,
            max_in_flight: 256,
        }
    }
}

impl PluginsConfig {
    /// The program that judges events.
    pub fn write(&self) -> Option<PluginConfig> {
        self.plugin(&self.write, self.write_processes)
    }

    /// The program that judges questions.
    pub fn read(&self) -> Option<PluginConfig> {
        self.plugin(&self.read, self.read_processes)
    }

    /// Any command, used as the others are; `None` for an empty one.
    pub fn plugin(&self, command: &str, processes: usize) -> Option<PluginConfig> {
        let timeout = Duration::from_secs(self.timeout_s);
        let command = command.to_owned();
        let config = PluginConfig { command, processes, timeout, max_in_flight: self.max_in_flight };
        (!config.command.is_empty()).then_some(config)
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.timeout_s >= 1, "plugins.timeout_s must be 1 or more");
        ensure!(self.max_in_flight >= 1, "plugins.max_in_flight must be 1 or more");
        let processes = 1..=MAX_PROCESSES;
        ensure!(
            processes.contains(&self.write_processes) && processes.contains(&self.read_processes),
            "plugins.write_processes and plugins.read_processes must be between 1 and {MAX_PROCESSES}"
        );
        Ok(())
    }
}
