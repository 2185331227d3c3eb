//! The relay's side of the control socket.

use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use super::line::{Line, Splitter};
use super::{Answer, Info, Request, WINDOW};
use crate::config::tree_filter;
use crate::ingest;
use crate::negentropy::trees::MAX_TREES;
use crate::nostr::{Event, Filter, FilterLimits};
use crate::peer::router::{Router, RouterFile};
use crate::relay::{Relay, Shared};
use crate::store::{Store, StoreError};
use crate::writer::{Command, Imported};

/// Conversations at once; more are told so and closed.
const CONVERSATIONS: usize = 16;
/// How often a conversation about links is told how they stand.
const REPORT_PERIOD: Duration = Duration::from_secs(1);
/// What is answered when the writer has ended.
const STOPPING: &str = "the relay is stopping";

/// A control socket that answers until it is stopped.
pub struct Server {
    path: PathBuf,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Listens in `folder`, on behalf of a relay that holds the store there.
    pub fn start(folder: &Path, relay: &Relay) -> anyhow::Result<Self> {
        let path = super::path(folder);
        let listener = bind(&path).with_context(|| format!("listening on {}", path.display()))?;
        let host = Host {
            shared: relay.shared.clone(),
            address: relay.address,
            started: Instant::now(),
            housekeeping: Default::default(),
        };
        let accepting = tokio::spawn(accept(listener, Arc::new(host)));
        Ok(Self { path, accepting })
    }

    /// Ends every conversation and removes the socket. What the writer has taken in is still stored.
    pub async fn stop(self) {
        self.accepting.abort();
        // Aborted, which is how it ends.
        let _ = self.accepting.await;
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the control socket was not removed");
        }
    }
}

/// Takes the place of a socket that nobody answers.
fn bind(path: &Path) -> io::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(ErrorKind::AddrInUse, "a relay is running here"));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    // Whoever connected before this is caught by `is_trusted`.
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn accept(listener: UnixListener, host: Arc<Host>) {
    // Dropped with this task, which ends the conversations.
    let mut conversations = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                while conversations.try_join_next().is_some() {}
                let busy = conversations.len() >= CONVERSATIONS;
                conversations.spawn(serve(stream, host.clone(), busy));
            }
            Err(error) => {
                tracing::warn!(%error, "a control connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, host: Arc<Host>, busy: bool) {
    if !is_trusted(&stream) {
        return tracing::warn!("a control connection of another user was refused");
    }
    let (input, output) = stream.into_split();
    let max_bytes = host.shared.rules().limits.max_message_bytes;
    let mut lines = Lines { input: BufReader::new(input), splitter: Splitter::new(max_bytes) };
    let mut answers = BufWriter::new(output);
    let spoken = if busy {
        say(&mut answers, &Answer::Error("too many control connections, try again later".to_owned())).await
    } else {
        converse(&host, &mut lines, &mut answers).await
    };
    if let Err(error) = spoken {
        tracing::debug!(%error, "a control connection ended badly");
    }
}

/// Root may do everything anyway.
fn is_trusted(stream: &UnixStream) -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    let own = unsafe { libc::geteuid() };
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

/// What conversations are about.
struct Host {
    shared: Arc<Shared>,
    address: std::net::SocketAddr,
    started: Instant,
    /// Held while the store is compacted or copied: two at once would only be slower.
    housekeeping: tokio::sync::Mutex<()>,
}

async fn converse(
    host: &Host,
    lines: &mut Lines<impl AsyncBufRead + Unpin>,
    answers: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    while let Some(line) = lines.next().await? {
        match read_request(&line) {
            Ok(Request::Info) => say(answers, &Answer::Info(host.info())).await?,
            Ok(Request::Monitor) => monitor(host, answers).await?,
            Ok(Request::Delete { filter }) => say(answers, &host.delete(&filter).await).await?,
            Ok(Request::Compact) => say(answers, &host.compact().await).await?,
            Ok(Request::Checkpoint) => say(answers, &host.checkpoint().await).await?,
            Ok(Request::Links) => say(answers, &Answer::Links(host.shared.home.links.info())).await?,
            Ok(Request::Route { file, keep }) => return route(host, lines, answers, &file, keep).await,
            Ok(Request::Trees) => say(answers, &Answer::Trees(host.shared.exchanges.trees.list())).await?,
            Ok(Request::BuildTree { filter }) => say(answers, &host.build_tree(&filter)).await?,
            Ok(Request::Import) => return import(host, lines, answers).await,
            Err(text) => say(answers, &Answer::Error(text)).await?,
        }
    }
    Ok(())
}

fn read_request(line: &Line) -> Result<Request, String> {
    match line {
        Line::Whole(bytes) => serde_json::from_slice(bytes).map_err(|error| format!("not a request: {error}")),
        Line::TooLong => Err("the line is too long".to_owned()),
    }
}

impl Host {
    fn info(&self) -> Info {
        Info {
            address: self.address,
            own: self.shared.own.map(|own| own.relay.to_hex()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            clients: self.shared.clients(),
            uptime_s: self.started.elapsed().as_secs(),
        }
    }

    fn build_tree(&self, filter: &serde_json::Value) -> Answer {
        let filter = match tree_filter(&filter.to_string()) {
            Ok(filter) => filter,
            Err(error) => return Answer::Error(format!("{error:#}")),
        };
        let trees = &self.shared.exchanges.trees;
        if !self.shared.config.negentropy.enabled {
            return Answer::Error("negentropy is turned off".to_owned());
        }
        if !(trees.reset(&filter) || trees.add(filter)) {
            return Answer::Error(format!("{MAX_TREES} trees are kept, which is the most"));
        }
        match trees.build(self.shared.store.clone()) {
            Ok(()) => Answer::Begun,
            Err(error) => Answer::Error(error.to_string()),
        }
    }

    async fn delete(&self, filter: &serde_json::Value) -> Answer {
        let limits = FilterLimits { max_elements: usize::MAX, max_tags: usize::MAX };
        let filter = match Filter::parse(&filter.to_string(), limits) {
            Ok(filter) => filter,
            Err(error) => return Answer::Error(error.to_string()),
        };
        let mut total = 0;
        loop {
            let (reply, removed) = oneshot::channel();
            self.shared.writer.send(Command::Delete { filter: filter.clone(), reply }).await;
            match removed.await {
                Ok(Ok(0)) => return Answer::Deleted(total),
                Ok(Ok(removed)) => total += removed,
                Ok(Err(text)) => return Answer::Error(text),
                Err(_) => return Answer::Error(STOPPING.to_owned()),
            }
        }
    }

    async fn compact(&self) -> Answer {
        self.keep_house(|store, _| store.compact().map(|()| Answer::Compacted)).await
    }

    async fn checkpoint(&self) -> Answer {
        self.keep_house(|store, folder| {
            let copy = crate::store::unused_checkpoint(folder)?;
            store.checkpoint(&copy).map(|()| Answer::Checkpoint(copy))
        })
        .await
    }

    /// Runs what takes its time on a thread of its own, one at a time.
    async fn keep_house(
        &self,
        work: impl FnOnce(&dyn Store, &Path) -> Result<Answer, StoreError> + Send + 'static,
    ) -> Answer {
        let Ok(_turn) = self.housekeeping.try_lock() else {
            return Answer::Error("the relay is compacting or copying its store already".to_owned());
        };
        let shared = self.shared.clone();
        let done = tokio::task::spawn_blocking(move || work(&*shared.store, &shared.config.store.path)).await;
        match done {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer::Error(error.to_string()),
            Err(_) => Answer::Error(STOPPING.to_owned()),
        }
    }

    /// Hands the event on a line to the writer.
    async fn submit(&self, line: Line) -> Pending {
        let event = match self.read_event(&line) {
            Ok(event) => event,
            Err(text) => return Pending::Known(Answer::Refused(text)),
        };
        let (reply, outcome) = oneshot::channel();
        self.shared.writer.send(Command::Import { event, reply }).await;
        Pending::Coming(outcome)
    }

    fn read_event(&self, line: &Line) -> Result<Box<Event>, String> {
        let Line::Whole(bytes) = line else { return Err("the event is too large".to_owned()) };
        let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
        let event = Event::parse(text).map_err(|error| error.to_string())?;
        ingest::check_import(&event, &self.shared.rules().limits, &self.shared.now.load().relay.url)?;
        Ok(Box::new(event))
    }
}

/// Keeps links for as long as the conversation lasts.
async fn route(
    host: &Host,
    lines: &mut Lines<impl AsyncBufRead + Unpin>,
    answers: &mut (impl AsyncWrite + Unpin),
    file: &str,
    keep: bool,
) -> io::Result<()> {
    let home = &host.shared.home;
    let marks = if keep { home.marks.clone() } else { Arc::default() };
    let mut router = Router::new(home.clone(), marks);
    let mut file = file.to_owned();
    let mut reports = tokio::time::interval(REPORT_PERIOD);
    loop {
        match RouterFile::parse(&file) {
            Ok(file) => router.apply(&file),
            Err(error) => return say(answers, &Answer::Error(error.to_string())).await,
        }
        file = loop {
            tokio::select! {
                line = lines.next() => match line?.as_ref().map(read_request) {
                    None => return Ok(()),
                    Some(Ok(Request::Route { file, .. })) => break file,
                    Some(Ok(_)) => say(answers, &Answer::Error("only another router file may follow".to_owned())).await?,
                    Some(Err(text)) => say(answers, &Answer::Error(text)).await?,
                },
                _ = reports.tick() => {
                    router.save().await;
                    say(answers, &Answer::Links(router.info())).await?;
                }
            }
        };
    }
}

/// An answer to an event, now or later.
enum Pending {
    Known(Answer),
    Coming(oneshot::Receiver<Imported>),
}

impl Pending {
    async fn answer(self) -> Answer {
        match self {
            Self::Known(answer) => answer,
            Self::Coming(outcome) => outcome.await.map_or_else(|_| Answer::Error(STOPPING.to_owned()), Answer::from),
        }
    }
}

impl From<Imported> for Answer {
    fn from(imported: Imported) -> Self {
        match imported {
            Imported::Stored => Self::Stored,
            Imported::Duplicate => Self::Duplicate,
            Imported::Refused(reason) => Self::Refused(reason.to_owned()),
            Imported::Failed(text) => Self::Error(text),
        }
    }
}

/// Reads events while those before them are on their way, and answers each in its turn.
async fn import(
    host: &Host,
    lines: &mut Lines<impl AsyncBufRead + Unpin>,
    answers: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let (sent, mut under_way) = mpsc::channel(WINDOW);
    let reading = async move {
        while let Some(line) = lines.next().await? {
            if sent.send(host.submit(line).await).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let answering = async {
        while let Some(pending) = under_way.recv().await {
            write(answers, &pending.answer().await).await?;
            if under_way.is_empty() {
                answers.flush().await?;
            }
        }
        answers.flush().await
    };
    tokio::try_join!(reading, answering).map(|((), ())| ())
}

async fn monitor(host: &Host, answers: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let peers = host.shared.peers();
    write(answers, &Answer::Connections(peers.len() as u64)).await?;
    for peer in peers {
        write(answers, &Answer::Connection(peer)).await?;
    }
    answers.flush().await
}

async fn say(output: &mut (impl AsyncWrite + Unpin), answer: &Answer) -> io::Result<()> {
    write(output, answer).await?;
    output.flush().await
}

async fn write(output: &mut (impl AsyncWrite + Unpin), answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    output.write_all(&line).await
}

struct Lines<R> {
    input: R,
    splitter: Splitter,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// `None` at the end.
    async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let bytes = self.input.fill_buf().await?;
            if bytes.is_empty() {
                return Ok(self.splitter.finish());
            }
            let (taken, line) = self.splitter.feed(bytes);
            self.input.consume(taken);
            if line.is_some() {
                return Ok(line);
            }
        }
    }
}
