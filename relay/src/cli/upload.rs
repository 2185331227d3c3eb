//! `mercato upload`: our stored events to another relay, or those of a file, several in flight.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::import::read::Input;
use super::output::Output;
use super::progress::Progress;
use super::range::Range;
use super::{reading, standing, storage, stream};
use crate::clock::now_s;
use crate::config::Config;
use crate::control::line::Line;
use crate::nostr::{Event, EventId, Filter};
use crate::peer::pipeline::{Pipeline, Settled};
use crate::peer::socket::{self, Terms};
use crate::peer::{LinkError, LinkKey};
use crate::policy::Reach;

/// How long the connection may take to open.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);
/// Connections that may break one after the other without an answer in between.
const ATTEMPTS: u32 = 5;
/// Events read ahead of the connection; when so many wait, no more are read.
const WAITING: usize = 256;
/// Reasons that are counted apart; further ones are counted together.
const REASONS: usize = 30;

#[derive(Debug, clap::Args)]
pub struct UploadArgs {
    /// The other relay, as wss://relay.example.com.
    #[arg(value_parser = stream::relay_url)]
    url: String,
    /// Send the events of this file, one a line, instead of those stored; `-` for standard input, which is also read when
    /// it is a pipe or a file and neither filter nor range is given.
    file: Option<PathBuf>,
    /// Events in flight.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pipeline: u16,
    /// Only stored events that match, as in a REQ.
    #[arg(long, value_parser = super::parse_filter, conflicts_with = "file")]
    filter: Option<Filter>,
    /// Only stored events of these ages, as 2h- or 1Y-6M; units s m h d w M Y.
    #[arg(long, allow_hyphen_values = true, conflicts_with = "file")]
    range: Option<Range>,
}

pub fn run(config: &Config, args: UploadArgs) -> anyhow::Result<()> {
    let key = LinkKey::configured(&config.router)?;
    let source = Source::choose(&args)?;
    let (sender, events) = mpsc::channel(WAITING);
    let reader = {
        let config = config.clone();
        std::thread::Builder::new().name("read".to_owned()).spawn(move || source.read(&config, &sender))?
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut upload =
        Upload { events, pipeline: Pipeline::new(args.pipeline.into()), tally: Tally::default(), done: false };
    let sent = runtime.block_on(upload.run(&args.url, key));
    let Upload { tally, events, .. } = upload;
    // When the connection has failed the reader has nobody to read for, and ends.
    drop(events);
    let mut output = Output::new();
    for (reason, count) in &tally.refused {
        output.line(format!("{count} refused: {reason}"))?;
    }
    let read = reader.join().map_err(|_| anyhow!("reading did not end well"))?;
    sent.map_err(|error| anyhow!(error).context(format!("uploading to {}; {tally} until then", args.url)))?;
    output.line(format!("{tally}, {}", read?))?;
    output.flush()
}

/// Where the events come from.
enum Source {
    Store(Filter),
    Lines(PathBuf),
}

/// What was read but not sent.
#[derive(Debug, Default)]
struct Withheld {
    /// Not for everyone, or only for their author to publish.
    private: u64,
    faulty: u64,
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} withheld, {} faulty lines", self.private, self.faulty)
    }
}

type Sender = mpsc::Sender<(EventId, Bytes)>;

impl Source {
    fn choose(args: &UploadArgs) -> anyhow::Result<Self> {
        let is_asked = args.filter.is_some() || args.range.is_some();
        match &args.file {
            Some(file) => Ok(Self::Lines(file.clone())),
            None if !is_asked && input_has_events() => {
                eprintln!("sending the events on standard input; --filter '{{}}' sends those stored");
                Ok(Self::Lines(PathBuf::from("-")))
            }
            None => {
                let mut filter = args.filter.clone().unwrap_or_default();
                if let Some(range) = args.range {
                    range.restrict(&mut filter, now_s())?;
                }
                Ok(Self::Store(filter))
            }
        }
    }

    /// Ends early when nobody wants more.
    fn read(self, config: &Config, events: &Sender) -> anyhow::Result<Withheld> {
        match self {
            Self::Store(filter) => read_store(config, filter, events),
            Self::Lines(file) => read_lines(config, file, events),
        }
    }
}

/// Everything that a link may hand on too.
fn read_store(config: &Config, filter: Filter, events: &Sender) -> anyhow::Result<Withheld> {
    let store = Arc::new(storage::open_to_read(config)?);
    let readers = standing::readers(config, store.clone())?;
    let mut withheld = Withheld::default();
    let named = filter.kinds.clone().unwrap_or_default();
    reading::every(&*store, filter, true, now_s(), |record| {
        let may_leave = match readers.reach(&record.view()) {
            Reach::Everyone | Reach::Others(_) => true,
            Reach::Only(_) => named.contains(&record.kind),
            Reach::Named(_) | Reach::Withheld(_) => false,
        };
        if !may_leave || record.event()?.protected {
            withheld.private += 1;
            return Ok(());
        }
        events.blocking_send((record.position.id, record.body())).map_err(|_| LinkError::Gone.into())
    })?;
    Ok(withheld)
}

fn read_lines(config: &Config, file: PathBuf, events: &Sender) -> anyhow::Result<Withheld> {
    // Canonical escapes take up to six bytes for one.
    let mut input = Input::open(Some(&file), config.limits.max_event_bytes.saturating_mul(6), WAITING)?;
    let mut withheld = Withheld::default();
    while let Some(batch) = input.next()? {
        for (number, line) in batch.lines {
            match read_line(&line) {
                Ok(event) => events.blocking_send((event.id, event.body().clone())).map_err(|_| LinkError::Gone)?,
                Err(fault) => {
                    eprintln!("line {number}: {fault}");
                    withheld.faulty += 1;
                }
            }
        }
    }
    Ok(withheld)
}

fn read_line(line: &Line) -> Result<Event, String> {
    let Line::Whole(bytes) = line else { return Err("the line is too long".to_owned()) };
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    Event::parse(text).map_err(|error| error.to_string())
}

/// Whether standard input is a pipe or a file, as behind `mercato export |`.
fn input_has_events() -> bool {
    use std::os::unix::fs::FileTypeExt;
    let input = std::io::stdin().as_fd().try_clone_to_owned().map(std::fs::File::from);
    let kind = input.and_then(|file| file.metadata()).map(|metadata| metadata.file_type());
    kind.is_ok_and(|kind| kind.is_file() || kind.is_fifo())
}

struct Upload {
    events: mpsc::Receiver<(EventId, Bytes)>,
    pipeline: Pipeline,
    tally: Tally,
    /// Everything was read.
    done: bool,
}

impl Upload {
    /// Over several connections if need be.
    async fn run(&mut self, url: &str, key: Option<LinkKey>) -> Result<(), LinkError> {
        let progress = Progress::bytes(None);
        let mut failed = 0;
        loop {
            let before = self.tally.settled();
            let Err(error) = self.attempt(url, key.clone(), &progress).await else { return Ok(()) };
            failed = if self.tally.settled() > before { 1 } else { failed + 1 };
            let is_passing =
                !matches!(error, LinkError::Auth(_) | LinkError::Connect(_) | LinkError::ConnectTimeout(_));
            if failed >= ATTEMPTS || !is_passing && before == 0 {
                return Err(error);
            }
            progress.print(&format!("{error}; connecting again"));
            tokio::time::sleep(Duration::from_secs(u64::from(failed))).await;
        }
    }

    async fn attempt(&mut self, url: &str, key: Option<LinkKey>, progress: &Progress) -> Result<(), LinkError> {
        let (peer, driver) = socket::connect(url, Terms::new(key, CONNECTION_TIMEOUT)).await?;
        let work = async {
            peer.authenticated().await?;
            self.pipeline.resume(&peer).await?;
            while !(self.done && self.pipeline.is_empty()) {
                let wants_more = !self.done && !self.pipeline.is_full();
                tokio::select! {
                    event = self.events.recv(), if wants_more => match event {
                        Some((id, body)) => {
                            progress.advance(body.len() as u64);
                            self.pipeline.offer(&peer, id, body, 0).await?;
                        }
                        None => self.done = true,
                    },
                    settled = self.pipeline.settle(&peer) => {
                        self.tally.count(settled?);
                        progress.say(self.tally.to_string());
                    }
                }
            }
            Ok(())
        };
        driver.run_for(work).await
    }
}

/// What the peer said.
#[derive(Debug, Default)]
struct Tally {
    accepted: u64,
    duplicates: u64,
    refused: BTreeMap<String, u64>,
}

impl Tally {
    fn count(&mut self, settled: Settled) {
        let text = settled.verdict.text;
        match settled.verdict.accepted {
            _ if text.starts_with("duplicate:") => self.duplicates += 1,
            true => self.accepted += 1,
            false => {
                let reason: String = text.chars().take(200).collect();
                let known = self.refused.contains_key(&reason) || self.refused.len() < REASONS;
                let reason = if known { reason } else { "other reasons".to_owned() };
                *self.refused.entry(reason).or_default() += 1;
            }
        }
    }

    fn settled(&self) -> u64 {
        self.accepted + self.duplicates + self.refused.values().sum::<u64>()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = self.refused.values().sum::<u64>();
        write!(f, "{} accepted, {} duplicates, {refused} refused", self.accepted, self.duplicates)
    }
}
