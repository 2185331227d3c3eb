//! `mercato download`: what another relay has stored, newest first, as JSON lines or into our own store.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::sync::mpsc;

use super::output::Output;
use super::range::Range;
use super::stream;
use super::writing::Writing;
use crate::clock::now_s;
use crate::config::Config;
use crate::control::Answer;
use crate::nostr::{Event, Filter};
use crate::peer::pages::{self, Walk};
use crate::peer::recent::Recent;
use crate::peer::socket::{self, Terms};
use crate::peer::taker::{Found, Taker};
use crate::peer::{LinkError, LinkKey};

/// How long the connection may take to open.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);
/// Connections that may break one after the other without an event in between.
const ATTEMPTS: u32 = 5;
/// Events between the connection and who prints or stores them; when it is full the peer is read no further.
const WAITING: usize = 512;
/// Events remembered to tell those that come again after a broken connection.
const REMEMBERED: usize = 16_384;

#[derive(Debug, clap::Args)]
pub struct DownloadArgs {
    /// The other relay, as wss://relay.example.com.
    #[arg(value_parser = stream::relay_url)]
    url: String,
    /// Only events that match, as in a REQ; its limit bounds the whole.
    #[arg(long, value_parser = super::parse_filter)]
    filter: Option<Filter>,
    /// Only events of these ages, as 2h- or 1Y-6M; units s m h d w M Y.
    #[arg(long, allow_hyphen_values = true)]
    range: Option<Range>,
    /// Store the events instead of printing them.
    #[arg(long)]
    import: bool,
}

/// How a download went.
#[derive(Debug, Default)]
struct Report {
    /// Not valid, or not asked for.
    bad: u64,
    crowded: Vec<u64>,
}

pub fn run(config: &Config, args: DownloadArgs) -> anyhow::Result<()> {
    let mut filter = args.filter.unwrap_or_default();
    if let Some(range) = args.range {
        range.restrict(&mut filter, now_s())?;
    }
    let key = LinkKey::configured(&config.router)?;
    let (found, events) = mpsc::channel(WAITING);
    let fetching = std::thread::Builder::new().name("fetch".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(fetch(&args.url, key, filter, found))
    })?;
    // When this fails the fetching side has nobody to hand events to, and ends.
    if args.import {
        import(config, events)?;
    } else {
        print(events)?;
    }
    let report = fetching.join().map_err(|_| anyhow!("the download did not end well"))??;
    if report.bad > 0 {
        eprintln!("{} events of the relay were not valid or not asked for, and were dropped", report.bad);
    }
    for second in report.crowded {
        eprintln!("the relay may have more events of second {second} than it shows; mercato sync finds them");
    }
    Ok(())
}

/// Walks through the peer's events, over several connections if need be.
async fn fetch(
    url: &str,
    key: Option<LinkKey>,
    filter: Filter,
    events: mpsc::Sender<Box<Event>>,
) -> anyhow::Result<Report> {
    let mut walk = Walk::new(filter);
    let mut sink = Sink { events, seen: Recent::new(REMEMBERED), count: 0, bad: 0 };
    let mut failed = 0;
    loop {
        let before = sink.count;
        let walked = attempt(url, key.clone(), &mut walk, &mut sink).await;
        let Err(error) = walked else { return Ok(Report { bad: sink.bad, crowded: walk.crowded }) };
        failed = if sink.count > before { 1 } else { failed + 1 };
        if failed >= ATTEMPTS || sink.events.is_closed() || !is_passing(&error) {
            return Err(anyhow!(error).context(format!("downloading from {url}")));
        }
        eprintln!("{error}; connecting again");
        tokio::time::sleep(Duration::from_secs(u64::from(failed))).await;
    }
}

async fn attempt(url: &str, key: Option<LinkKey>, walk: &mut Walk, sink: &mut Sink) -> Result<(), LinkError> {
    let (peer, driver) = socket::connect(url, Terms::new(key, CONNECTION_TIMEOUT)).await?;
    let work = async {
        peer.authenticated().await?;
        pages::walk(&peer, walk, "download", sink).await
    };
    driver.run_for(work).await
}

/// Whether another connection may do better.
fn is_passing(error: &LinkError) -> bool {
    matches!(error, LinkError::Broken(_) | LinkError::Closed(_) | LinkError::Silent(_) | LinkError::Gone)
}

/// Checks signatures, and hands each event on once.
struct Sink {
    events: mpsc::Sender<Box<Event>>,
    seen: Recent,
    count: u64,
    bad: u64,
}

impl Taker for Sink {
    async fn take(&mut self, found: Found) -> Result<(), LinkError> {
        match found {
            Found::Event(event) if event.verify_signature().is_ok() => {
                if self.seen.note(event.id) {
                    self.count += 1;
                    self.events.send(event).await.map_err(|_| LinkError::Gone)?;
                }
            }
            Found::Event(_) | Found::Bad => self.bad += 1,
        }
        Ok(())
    }
}

fn print(mut events: mpsc::Receiver<Box<Event>>) -> anyhow::Result<()> {
    let mut output = Output::new();
    while let Some(event) = events.blocking_recv() {
        output.line(event.body())?;
    }
    output.flush()
}

fn import(config: &Config, mut events: mpsc::Receiver<Box<Event>>) -> anyhow::Result<()> {
    let mut writing = Writing::open_for_import(config)?;
    let (mut stored, mut known, mut refused) = (0_u64, 0_u64, 0_u64);
    let mut batch = Vec::with_capacity(WAITING);
    while events.blocking_recv_many(&mut batch, WAITING) > 0 {
        for answer in writing.import(batch.drain(..).map(|event| *event).collect())? {
            match answer {
                Answer::Stored => stored += 1,
                Answer::Duplicate => known += 1,
                Answer::Refused(_) => refused += 1,
                Answer::Error(text) => bail!("{text}; {stored} stored until then"),
                other @ (Answer::Info(_)
                | Answer::Links(_)
                | Answer::Trees(_)
                | Answer::Begun
                | Answer::Deleted(_)
                | Answer::Compacted
                | Answer::Checkpoint(_)
                | Answer::Connections(_)
                | Answer::Connection(_)) => {
                    bail!("the answer does not fit: {other:?}")
                }
            }
        }
    }
    writing.finish().context("closing the store")?;
    let mut output = Output::new();
    output.line(format!("{stored} stored, {known} duplicates, {refused} rejected"))?;
    output.flush()
}
