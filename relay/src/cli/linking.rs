//! Links for as long as a verb runs: kept by the relay that has the store open, else by the verb itself.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use arc_swap::ArcSwap;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::log::Log;
use super::output::Output;
use super::standing;
use super::storage::{self, Commits};
use crate::access::{Access, Refresher};
use crate::config::Config;
use crate::control::{self, Answer, Request, WINDOW};
use crate::live::Live;
use crate::peer::router::{Router, RouterFile, watch};
use crate::peer::{Home, LinkInfo, LinkState, Marks, Stock};
use crate::store::Store;
use crate::writer::{self, Upkeep};

/// How often a relay that has gone is looked for.
const PAUSE: Duration = Duration::from_secs(1);

/// What is to be linked.
pub struct Plan {
    pub file: RouterFile,
    /// Where the file lies, if it is to be followed.
    pub path: Option<PathBuf>,
    /// Whether how far each link came is kept for the next time.
    pub keep: bool,
}

/// Runs until SIGINT or SIGTERM.
pub fn run(config: &Config, plan: Plan) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("starting the threads")?;
    let links = runtime.block_on(async {
        match connect(config).await? {
            Some(stream) => beside_relay(config, plan, stream).await,
            None => alone(config, plan).await,
        }
    })?;
    let mut output = Output::new();
    for link in &links {
        output.line(summary(link))?;
    }
    output.flush()
}

/// The control socket of the relay, where one runs.
async fn connect(config: &Config) -> anyhow::Result<Option<UnixStream>> {
    let path = control::path(&config.store.path);
    match UnixStream::connect(&path).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::InvalidInput => Ok(None),
            _ => Err(anyhow!(error).context(format!("asking the relay at {}", path.display()))),
        },
    }
}

/// Opens the store as its writer, and keeps the links in this process.
async fn alone(config: &Config, plan: Plan) -> anyhow::Result<Vec<LinkInfo>> {
    Log::start(&config.log)?;
    let store: Arc<dyn Store> = Arc::new(storage::open_to_write(config, Commits::Durable)?);
    let readers = standing::readers(config, store.clone())?;
    let live = Arc::new(Live::new(store.last_sequence()));
    let upkeep = Upkeep { max_pending: WINDOW, sweeper: None, followers: Vec::new() };
    let (writer, thread) = writer::start(store.clone(), None, readers.clone(), live.clone(), upkeep)?;
    let access = Arc::new(Access::open(config)?);
    let _members = Refresher::start(&access, store.clone())?;
    let config = Arc::new(ArcSwap::from_pointee(config.clone()));
    let home = Arc::new(Home::open(Stock { store, readers, live, writer: writer.clone(), access, config })?);
    let marks = if plan.keep { home.marks.clone() } else { Arc::new(Marks::default()) };
    let mut router = Router::new(home.clone(), marks);
    router.apply(&plan.file);
    let links = {
        let (files, changes) = mpsc::channel(1);
        tokio::select! {
            () = router.run(changes) => home.links.info(),
            () = follow(plan, files) => home.links.info(),
            () = writer.ended() => bail!("the writer could not go on, its reason is in the log"),
            stopped = stop() => stopped.map(|()| home.links.info())?,
        }
    };
    writer.stop().await;
    let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
    joined.map_err(|_| anyhow!("the writer did not end well"))?;
    Ok(links)
}

/// Has the relay keep the links, anew when it comes back after a restart.
async fn beside_relay(config: &Config, plan: Plan, stream: UnixStream) -> anyhow::Result<Vec<LinkInfo>> {
    eprintln!("the relay keeps the links while this runs");
    let (keep, current) = (plan.keep, plan.file.clone());
    let (files, mut changes) = mpsc::channel(1);
    let mut told = Told { file: current, keep, links: Vec::new(), shown: HashMap::new() };
    let talking = async {
        let mut stream = Some(stream);
        loop {
            let ended = match stream.take() {
                Some(stream) => told.converse(stream, &mut changes).await,
                None => Ok(()),
            };
            // The relay's own word ends the verb; that it is gone does not.
            ended?;
            tokio::time::sleep(PAUSE).await;
            stream = connect(config).await?;
        }
    };
    let ended: anyhow::Result<()> = tokio::select! {
        ended = talking => ended,
        () = follow(plan, files) => Ok(()),
        stopped = stop() => stopped,
    };
    ended?;
    Ok(told.links)
}

/// Sends the file whenever it changes; never ends where there is none to follow.
async fn follow(plan: Plan, files: mpsc::Sender<RouterFile>) {
    match plan.path {
        Some(path) => watch(path, plan.file, files).await,
        None => {
            std::future::pending::<()>().await;
            drop(files);
        }
    }
}

async fn stop() -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// What was said to the relay, and what it said.
struct Told {
    file: RouterFile,
    keep: bool,
    links: Vec<LinkInfo>,
    /// The state of each link that was shown last.
    shown: HashMap<(String, String), LinkState>,
}

impl Told {
    /// Until the relay is gone; an error is its refusal.
    async fn converse(&mut self, stream: UnixStream, changes: &mut mpsc::Receiver<RouterFile>) -> anyhow::Result<()> {
        let (input, mut output) = stream.into_split();
        let mut answers = BufReader::new(input).lines();
        if output.write_all(&self.request()?).await.is_err() {
            return Ok(());
        }
        loop {
            tokio::select! {
                answer = answers.next_line() => match answer {
                    Ok(Some(line)) => self.take(&line)?,
                    Ok(None) | Err(_) => {
                        eprintln!("the relay is gone; waiting for it to come back");
                        return Ok(());
                    }
                },
                Some(file) = changes.recv() => {
                    self.file = file;
                    if output.write_all(&self.request()?).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn request(&self) -> anyhow::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(&Request::Route { file: self.file.to_json(), keep: self.keep })?;
        line.push(b'\n');
        Ok(line)
    }

    fn take(&mut self, line: &str) -> anyhow::Result<()> {
        match serde_json::from_str(line).context("the relay's answer is not understood")? {
            Answer::Links(links) => {
                for link in &links {
                    let name = (link.stream.clone(), link.url.clone());
                    if self.shown.insert(name, link.state.clone()).as_ref() != Some(&link.state) {
                        eprintln!("{} {}: {}", link.stream, link.url, link.state);
                    }
                }
                self.links = links;
                Ok(())
            }
            Answer::Error(text) => bail!("the relay says: {text}"),
            other => bail!("the relay's answer does not fit: {other:?}"),
        }
    }
}

/// A link in a line.
pub fn summary(link: &LinkInfo) -> String {
    let LinkInfo { stream, url, down, up, .. } = link;
    let mut parts = Vec::new();
    if link.dir.is_down() {
        let of = format!("{} known, {} refused, {} bad", down.known, down.refused, down.bad);
        parts.push(format!("down {} stored of {} received ({of})", down.stored, down.received));
    }
    if link.dir.is_up() {
        parts.push(format!("up {} taken, {} refused", up.accepted, up.refused));
    }
    format!("{stream} {url}: {}", parts.join("; "))
}
