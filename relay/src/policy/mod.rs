//! What the operator allows beyond the protocol: rates, and policies that others write.

pub mod plugin;
pub mod rate;
mod readers;
#[cfg(feature = "relay-builder")]
pub mod relay_builder;
mod source;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use self::plugin::Plugin;
use crate::config::PluginsConfig;
use crate::nostr::{Event, Filter};

pub use self::readers::{Reach, Readers};
pub use self::source::{Channel, Source};

/// What a policy says of an event. Texts start with a machine prefix (NIP-01).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    /// The sender is told so.
    Reject(String),
    /// The sender is told that the event was taken, with this text; it is neither stored nor delivered.
    Shadow(String),
}

/// What a policy says of a question; `Err` holds the text with which it is refused.
pub type QueryVerdict = Result<(), String>;

/// A verdict that may take time to reach. It holds up its own client only.
pub type Judging<'a, V> = Pin<Box<dyn Future<Output = V> + Send + 'a>>;

/// Decides which well-formed, signed events of clients are stored.
pub trait WritePolicy: std::fmt::Debug + Send + Sync {
    fn admit_event<'a>(&'a self, event: &'a Event, from: &'a SocketAddr) -> Judging<'a, Verdict>;
}

/// Decides which filters are answered.
pub trait QueryPolicy: std::fmt::Debug + Send + Sync {
    fn admit_query<'a>(&'a self, filter: &'a Filter, from: &'a SocketAddr) -> Judging<'a, QueryVerdict>;
}

/// What a client wants to know, whatever the message is called.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// `REQ`, `COUNT` or `NEG-OPEN`.
    pub verb: &'static str,
    pub subscription: &'a str,
    pub filters: &'a [Filter],
}

/// Every policy of a relay; all must agree.
#[derive(Debug, Default)]
pub struct Policies {
    pub write: Vec<Box<dyn WritePolicy>>,
    pub query: Vec<Box<dyn QueryPolicy>>,
    plugins: Plugins,
}

/// The operator's programs. They come last: what the relay refuses itself need not be asked.
#[derive(Debug, Default)]
struct Plugins {
    write: ArcSwapOption<Plugin>,
    read: ArcSwapOption<Plugin>,
}

impl Policies {
    pub fn new(write: Vec<Box<dyn WritePolicy>>, query: Vec<Box<dyn QueryPolicy>>) -> Self {
        Self { write, query, plugins: Plugins::default() }
    }

    /// Starts the plugins that `config` names, in place of those that run; what these were asked they still answer.
    /// Must be called within a tokio runtime.
    pub fn configure(&self, config: &PluginsConfig) {
        reconfigure(&self.plugins.write, config.write());
        reconfigure(&self.plugins.read, config.read());
    }

    /// Whether every event is accepted, so that nobody need be asked.
    pub fn admit_every_event(&self) -> bool {
        self.write.is_empty() && self.plugins.write.load().is_none()
    }

    /// The program that judges events, if there is one.
    pub fn write_plugin(&self) -> Option<Arc<Plugin>> {
        self.plugins.write.load_full()
    }

    /// What the relay's own policies, without the plugin, say of a client's event.
    pub async fn judge_event(&self, event: &Event, from: &SocketAddr) -> Verdict {
        for policy in &self.write {
            match policy.admit_event(event, from).await {
                Verdict::Accept => {}
                refusal => return refusal,
            }
        }
        Verdict::Accept
    }

    /// What all policies say of an event, from wherever it comes. Several may be asked for at once; those of one author
    /// are answered in the order in which they were asked.
    pub async fn admit_event(&self, event: &Event, source: &Source<'_>) -> Verdict {
        if let Channel::Client(address) = &source.channel {
            match self.judge_event(event, address).await {
                Verdict::Accept => {}
                refusal => return refusal,
            }
        }
        match self.write_plugin() {
            Some(plugin) => plugin.judge_event(event, source).await,
            None => Verdict::Accept,
        }
    }

    /// Whether a question is answered at all; `Err` holds the text of a CLOSED or NEG-ERR.
    pub async fn admit_query(&self, question: &Question<'_>, source: &Source<'_>) -> QueryVerdict {
        if let Channel::Client(address) = &source.channel {
            for policy in &self.query {
                for filter in question.filters {
                    policy.admit_query(filter, address).await?;
                }
            }
        }
        match self.plugins.read.load_full() {
            Some(plugin) => plugin.judge_question(question, source).await,
            None => Ok(()),
        }
    }

    /// Ends the plugins' processes.
    pub async fn stop(&self) {
        for plugin in [self.plugins.write.swap(None), self.plugins.read.swap(None)].into_iter().flatten() {
            plugin.stop().await;
        }
    }
}

/// Leaves a plugin alone whose configuration has not changed.
fn reconfigure(slot: &ArcSwapOption<Plugin>, config: Option<plugin::PluginConfig>) {
    if slot.load().as_ref().map(|plugin| plugin.config()) != config.as_ref() {
        slot.store(config.map(|config| Arc::new(Plugin::start(config))));
    }
}

/// A refusal's text with the machine prefix that every one has (NIP-01); authors of policies tend to forget it.
pub fn with_prefix(text: &str) -> String {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    match text.split_once(':') {
        Some((word, _)) if is_word(word) => text.to_owned(),
        _ if text.is_empty() => "blocked: refused by the relay's policy".to_owned(),
        _ => format!("blocked: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_without_a_machine_prefix_gets_one() {
        assert_eq!(with_prefix("blocked: no"), "blocked: no");
        assert_eq!(with_prefix("rate-limited: slow down"), "rate-limited: slow down");
        assert_eq!(with_prefix("not a note"), "blocked: not a note");
        assert_eq!(with_prefix("See https://example.com: no"), "blocked: See https://example.com: no");
        assert_eq!(with_prefix(""), "blocked: refused by the relay's policy");
    }
}
