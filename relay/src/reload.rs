//! Takes up a changed configuration while the relay runs: reads it, says what changed, applies what can be applied, and
//! names what needs a restart. A file that is no good is logged, and everything stays as it was.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use toml::{Table, Value};

use crate::config::{Config, LogConfig, TlsConfig};
use crate::relay::Shared;
use crate::supervisor;

/// How often the files are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// Keys that are read anew wherever they count, so that a change holds at once. All others need a restart: whoever makes
/// one of them change while the relay runs adds it here.
const LIVE: &[&str] = &[
    "relay.url",
    "relay.name",
    "relay.description",
    "relay.pubkey",
    "relay.contact",
    "relay.icon",
    "relay.banner",
    "relay.terms_of_service",
    "relay.privacy_policy",
    "relay.posting_policy",
    "relay.payments_url",
    "relay.relay_countries",
    "relay.language_tags",
    "relay.tags",
    "relay.fees",
    "relay.retention",
    "relay.trusted_proxies",
    "relay.real_ip_header",
    "relay.drain_s",
    "relay.ready_free_mib",
    "limits.max_connections",
    "limits.max_connections_per_ip",
    "limits.handshake_timeout_s",
    "limits.max_message_bytes",
    "limits.max_event_bytes",
    "limits.max_tags",
    "limits.max_tag_value_bytes",
    "limits.max_subscriptions",
    "limits.max_filters",
    "limits.max_filter_elements",
    "limits.max_filter_tags",
    "limits.max_outbound_bytes",
    "limits.created_at_future_s",
    "limits.created_at_past_s",
    "limits.ephemeral_past_s",
    "limits.event_rate_ip",
    "limits.event_burst_ip",
    "limits.event_rate_pubkey",
    "limits.event_burst_pubkey",
    "limits.job_min_pow",
    "limits.job_rate_ip",
    "limits.job_burst_ip",
    "limits.job_rate_pubkey",
    "limits.job_burst_pubkey",
    "limits.req_rate_ip",
    "limits.req_burst_ip",
    "limits.auth_rate_ip",
    "limits.auth_burst_ip",
    "limits.invalid_rate_ip",
    "limits.invalid_burst_ip",
    "limits.read_rate_ip",
    "limits.read_burst_ip",
    "limits.exempt",
    "metrics.allow",
    "log.level",
    "plugins.write",
    "plugins.write_processes",
    "plugins.read",
    "plugins.read_processes",
    "plugins.timeout_s",
    "plugins.max_in_flight",
];

/// Where a configuration comes from, so that it can be read again.
#[derive(Debug, Clone)]
pub struct Source {
    pub file: Option<PathBuf>,
    /// `key=value`, laid over the file.
    pub sets: Vec<String>,
}

impl Source {
    pub fn load(&self) -> anyhow::Result<Config> {
        Config::load(self.file.as_deref(), &self.sets)
    }
}

/// One key that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// As `limits.max_tags`.
    pub key: String,
    /// As TOML; hidden when it is a secret.
    pub from: String,
    pub to: String,
}

impl Change {
    /// Whether it holds without a restart.
    pub fn is_live(&self) -> bool {
        LIVE.contains(&self.key.as_str())
    }
}

/// What differs between two configurations, in the order of keys.
pub fn changes(from: &Config, to: &Config) -> Vec<Change> {
    let (from, to) = (table(from), table(to));
    let mut changes = Vec::new();
    for (section, after) in &to {
        let (Value::Table(after), Some(Value::Table(before))) = (after, from.get(section)) else { continue };
        for (key, after) in after {
            let before = before.get(key);
            if before != Some(after) {
                let text = |value: Option<&Value>| match is_secret(key) {
                    true => "(hidden)".to_owned(),
                    false => value.map_or_else(String::new, Value::to_string),
                };
                changes.push(Change { key: format!("{section}.{key}"), from: text(before), to: text(Some(after)) });
            }
        }
    }
    changes
}

/// `now` with those values of `new` that hold without a restart.
fn merge(now: &Config, new: &Config) -> anyhow::Result<Config> {
    let (mut merged, new_table) = (table(now), table(new));
    for change in changes(now, new).iter().filter(|change| change.is_live()) {
        if let Some((section, key)) = change.key.split_once('.')
            && let (Some(Value::Table(into)), Some(Value::Table(from))) =
                (merged.get_mut(section), new_table.get(section))
            && let Some(value) = from.get(key)
        {
            into.insert(key.to_owned(), value.clone());
        }
    }
    Config::from_table(merged, &[])
}

fn is_secret(key: &str) -> bool {
    ["secret", "password", "token", "nsec"].iter().any(|word| key.contains(word))
}

fn table(config: &Config) -> Table {
    // Every configuration was a table before.
    Table::try_from(config).unwrap_or_default()
}

/// Changes the filter of the log.
pub type SetLog = Box<dyn Fn(&LogConfig) -> anyhow::Result<()> + Send>;

/// Watches the files of a relay's configuration.
pub struct Watch {
    source: Source,
    shared: Arc<Shared>,
    set_log: SetLog,
    /// What was read last, applied or not.
    last: Config,
    file: Watched,
    certificate: Watched,
}

impl Watch {
    /// `config` is what the relay was started with, `file` and `certificate` what they were before they were read.
    pub fn new(
        source: Source,
        config: Config,
        (file, certificate): (Watched, Watched),
        shared: Arc<Shared>,
        set_log: SetLog,
    ) -> Self {
        Self { source, shared, set_log, last: config, file, certificate }
    }

    /// Looks at the files for as long as the relay runs, and whenever `hangup` (SIGHUP) asks for it.
    pub async fn run(mut self, mut hangup: Signal) {
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let now = tokio::select! {
                _ = period.tick() => false,
                _ = hangup.recv() => true,
            };
            if self.file.has_changed() || now {
                supervisor::reloading();
                self.reload();
                supervisor::ready();
            }
            if self.certificate.has_changed() || now {
                self.reload_certificate();
            }
        }
    }

    fn reload(&mut self) {
        let new = match self.source.load() {
            Ok(new) => new,
            Err(error) => return tracing::error!("the configuration is left as it was: {error:#}"),
        };
        let changes = changes(&self.last, &new);
        if let Err(error) = self.shared.reconfigure(&new).and_then(|()| (self.set_log)(&new.log)) {
            return tracing::error!("the configuration is left as it was: {error:#}");
        }
        self.last = new;
        for Change { key, from, to } in changes.iter().filter(|change| change.is_live()) {
            tracing::info!(key, from, to, "configuration changed");
        }
        for Change { key, from, to } in changes.iter().filter(|change| !change.is_live()) {
            tracing::warn!(key, from, to, "configuration changed, but this key needs a restart");
        }
        if changes.is_empty() {
            tracing::info!("the configuration was read again, nothing changed");
        }
    }

    fn reload_certificate(&self) {
        let Some(tls) = &self.shared.tls else { return };
        match tls.reload(&self.shared.config.tls) {
            Ok(()) => tracing::info!("the certificate was read again"),
            Err(error) => tracing::error!("the certificate is left as it was: {error:#}"),
        }
    }
}

impl Shared {
    /// Applies those values of `new` that hold without a restart.
    pub fn reconfigure(&self, new: &Config) -> anyhow::Result<()> {
        let before = self.now.load_full();
        let after = merge(&before, new)?;
        if after.limits != before.limits || after.relay.url != before.relay.url {
            self.set_rules(&after);
        }
        if after.plugins != before.plugins {
            self.policies.configure(&after.plugins);
        }
        self.now.store(Arc::new(after));
        Ok(())
    }
}

/// Files, of which it is told when they have become others.
pub struct Watched {
    files: Vec<PathBuf>,
    known: Vec<Stamp>,
    /// As of the last look; what is still being written changes from look to look.
    seen: Vec<Stamp>,
}

/// Size, inode and time of the last change; `None`: there is no such file.
type Stamp = Option<(u64, u64, i64, i64)>;

impl Watched {
    /// The file of a configuration, if there is one. To be called before it is read: no change is missed then.
    pub fn file(source: &Source) -> Self {
        Self::new(source.file.iter().cloned().collect())
    }

    /// The same for the certificate and its key.
    pub fn certificate(config: &TlsConfig) -> Self {
        match config.is_on() {
            true => Self::new(vec![config.cert.clone(), config.key.clone()]),
            false => Self::new(Vec::new()),
        }
    }

    fn new(files: Vec<PathBuf>) -> Self {
        let known: Vec<Stamp> = files.iter().map(|file| stamp(file)).collect();
        Self { files, seen: known.clone(), known }
    }

    /// Whether they have changed since this said so last, and have been left alone since the last look.
    fn has_changed(&mut self) -> bool {
        let stamps: Vec<Stamp> = self.files.iter().map(|file| stamp(file)).collect();
        let settled = stamps == self.seen;
        let changed = settled && stamps != self.known && stamps.iter().all(Option::is_some);
        if changed {
            self.known.clone_from(&stamps);
        }
        self.seen = stamps;
        changed
    }
}

fn stamp(file: &Path) -> Stamp {
    let found = fs::metadata(file).ok()?;
    Some((found.len(), found.ino(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(sets: &[&str]) -> Config {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        Config::load(None, &sets).unwrap()
    }

    #[test]
    fn every_live_key_exists() {
        let table = table(&Config::default());
        for key in LIVE {
            let (section, name) = key.split_once('.').unwrap();
            assert!(table[section].as_table().unwrap().contains_key(name), "{key}");
        }
    }

    #[test]
    fn a_change_names_the_key_with_its_old_and_new_value() {
        let found = changes(&config(&[]), &config(&["limits.max_tags=7", "relay.name=x"]));
        let change = |key: &str, from: &str, to: &str| Change { key: key.into(), from: from.into(), to: to.into() };
        let expected = [change("limits.max_tags", "2000", "7"), change("relay.name", "\"Mercato\"", "\"x\"")];
        assert_eq!(found.len(), 2);
        assert!(expected.iter().all(|change| found.contains(change)), "{found:?}");
        assert!(is_secret("api_token") && !is_secret("pubkey"));
    }

    #[test]
    fn what_needs_a_restart_stays_and_the_rest_is_taken() {
        let merged = merge(&config(&[]), &config(&["relay.port=1", "limits.max_tags=7", "market.slots=2"])).unwrap();
        assert_eq!(merged, config(&["limits.max_tags=7"]));
    }

    #[test]
    fn a_file_counts_once_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        std::fs::write(&file, "a").unwrap();
        let mut watched = Watched::new(vec![file.clone()]);
        assert!(!watched.has_changed());
        std::fs::write(&file, "ab").unwrap();
        assert!(!watched.has_changed(), "it may still be written");
        std::fs::write(&file, "abc").unwrap();
        assert!(!watched.has_changed(), "it was");
        assert!(watched.has_changed());
        assert!(!watched.has_changed(), "told once");
        std::fs::remove_file(&file).unwrap();
        assert!(!watched.has_changed() && !watched.has_changed(), "a file that is gone says nothing");
    }
}
