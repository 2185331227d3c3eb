//! The log: text or JSON on stderr, plain under systemd's journal, its level changed while the relay runs.

use std::fmt;
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::{LogConfig, LogFormat};

/// Changes what passes.
pub struct Log(reload::Handle<EnvFilter, Registry>);

impl Log {
    /// Starts to log. `RUST_LOG` goes before the configuration.
    pub fn start(config: &LogConfig) -> anyhow::Result<Self> {
        let (filter, handle) = reload::Layer::new(filter(config)?);
        let stderr = || tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let layer = match config.format {
            LogFormat::Json => stderr().json().flatten_event(true).with_target(true).boxed(),
            LogFormat::Text if is_journal() => stderr().event_format(Journal::default()).boxed(),
            LogFormat::Text => stderr().with_ansi(std::io::stderr().is_terminal()).with_target(false).boxed(),
        };
        tracing_subscriber::registry().with(filter).with(layer).init();
        Ok(Self(handle))
    }

    pub fn set(&self, config: &LogConfig) -> anyhow::Result<()> {
        Ok(self.0.reload(filter(config)?)?)
    }
}

fn filter(config: &LogConfig) -> anyhow::Result<EnvFilter> {
    match std::env::var("RUST_LOG") {
        Ok(wanted) if !wanted.is_empty() => Ok(EnvFilter::builder().parse_lossy(wanted)),
        _ => config.filter(),
    }
}

/// Whether stderr is the journal itself, as `JOURNAL_STREAM` says: device and inode.
fn is_journal() -> bool {
    let Some((device, inode)) = std::env::var("JOURNAL_STREAM").ok().and_then(|named| {
        let (device, inode) = named.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    }) else {
        return false;
    };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|stderr| stderr.dev() == device && stderr.ino() == inode)
}

/// Lines for the journal, which has the time itself and reads the level from a number before the line (sd-daemon(3)).
struct Journal(Format<Full, ()>);

impl Default for Journal {
    fn default() -> Self {
        Self(Format::default().without_time().with_target(false).with_level(false).with_ansi(false))
    }
}

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}
