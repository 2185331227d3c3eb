//! The write plugin's word on imported events, where the operator wants to hear it.

use futures_util::future::join_all;
use tokio::runtime::Runtime;

use crate::config::Config;
use crate::nostr::Event;
use crate::policy::plugin::Plugin;
use crate::policy::{Channel, Source, Verdict};

/// The plugin in processes of our own, whether or not a relay runs.
pub struct Judge {
    runtime: Runtime,
    plugin: Plugin,
}

impl Judge {
    /// `None` when imports are taken as they are.
    pub fn start(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(plugin) = config.plugins.write().filter(|_| config.plugins.import) else { return Ok(None) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let plugin = runtime.block_on(async { Plugin::start(plugin) });
        Ok(Some(Self { runtime, plugin }))
    }

    /// A verdict for each event, in order.
    pub fn ask(&self, events: &[Event]) -> Vec<Verdict> {
        let source = Source::link(Channel::Import);
        self.runtime.block_on(join_all(events.iter().map(|event| self.plugin.judge_event(event, &source))))
    }

    pub fn finish(self) {
        self.runtime.block_on(self.plugin.stop());
    }
}
