//! The command line's side of the control socket.

use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};

use super::{Answer, Info, Peer, Request, WINDOW};
use crate::negentropy::trees::TreeInfo;
use crate::nostr::{Event, Filter};

/// Bytes of one answer at most.
const MAX_ANSWER_BYTES: u64 = 64 << 10;

/// A conversation with a running relay.
pub struct Client {
    answers: BufReader<UnixStream>,
    requests: BufWriter<UnixStream>,
}

impl Client {
    /// Finds the relay that runs on the store in `folder`; `None` when there is none.
    pub fn connect(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = super::path(folder);
        match UnixStream::connect(&path) {
            Ok(stream) => Ok(Some(Self::new(stream)?)),
            // No socket, one that a relay left behind, or a name that no relay could have made.
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::InvalidInput => Ok(None),
                _ => Err(anyhow::Error::new(error).context(format!("asking the relay at {}", path.display()))),
            },
        }
    }

    fn new(stream: UnixStream) -> io::Result<Self> {
        Ok(Self { answers: BufReader::new(stream.try_clone()?), requests: BufWriter::new(stream) })
    }

    pub fn info(&mut self) -> anyhow::Result<Info> {
        match self.ask(&Request::Info)? {
            Answer::Info(info) => Ok(info),
            other => unexpected(&other),
        }
    }

    /// Who is connected.
    pub fn monitor(&mut self) -> anyhow::Result<Vec<Peer>> {
        let count = match self.ask(&Request::Monitor)? {
            Answer::Connections(count) => count,
            other => return unexpected(&other),
        };
        let peer = |_| match self.answer()? {
            Answer::Connection(peer) => Ok(peer),
            other => unexpected(&other),
        };
        (0..count).map(peer).collect()
    }

    /// Removes what matches; how many events that were.
    pub fn delete(&mut self, filter: &Filter) -> anyhow::Result<u64> {
        let filter = serde_json::from_str(&filter.to_json())?;
        match self.ask(&Request::Delete { filter })? {
            Answer::Deleted(removed) => Ok(removed),
            other => unexpected(&other),
        }
    }

    /// Waits until the relay has compacted its store.
    pub fn compact(&mut self) -> anyhow::Result<()> {
        match self.ask(&Request::Compact)? {
            Answer::Compacted => Ok(()),
            other => unexpected(&other),
        }
    }

    /// Has the relay copy its store; the folder of the copy, which is to be moved away.
    pub fn checkpoint(&mut self) -> anyhow::Result<PathBuf> {
        match self.ask(&Request::Checkpoint)? {
            Answer::Checkpoint(folder) => Ok(folder),
            other => unexpected(&other),
        }
    }

    /// The negentropy trees.
    pub fn trees(&mut self) -> anyhow::Result<Vec<TreeInfo>> {
        match self.ask(&Request::Trees)? {
            Answer::Trees(trees) => Ok(trees),
            other => unexpected(&other),
        }
    }

    /// Has a tree built, anew or for the first time; returns before it is.
    pub fn build_tree(&mut self, filter: &Filter) -> anyhow::Result<()> {
        let filter = serde_json::from_str(&filter.to_json())?;
        match self.ask(&Request::BuildTree { filter })? {
            Answer::Begun => Ok(()),
            other => unexpected(&other),
        }
    }

    /// From here on this conversation is about events only.
    pub fn begin_import(&mut self) -> anyhow::Result<()> {
        self.send(&Request::Import)
    }

    /// Has the relay store up to `WINDOW` events, and waits for what it says to each, in order.
    pub fn import(&mut self, events: &[Event]) -> anyhow::Result<Vec<Answer>> {
        // The relay takes in a window without waiting for its answers to be read.
        ensure!(events.len() <= WINDOW, "more than {WINDOW} events at once");
        for event in events {
            self.requests.write_all(event.body()).map_err(lost)?;
            self.requests.write_all(b"\n").map_err(lost)?;
        }
        self.requests.flush().map_err(lost)?;
        events.iter().map(|_| self.answer()).collect()
    }

    fn ask(&mut self, request: &Request) -> anyhow::Result<Answer> {
        self.send(request)?;
        self.answer()
    }

    fn send(&mut self, request: &Request) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.requests.write_all(&line).and_then(|()| self.requests.flush()).map_err(lost)
    }

    fn answer(&mut self) -> anyhow::Result<Answer> {
        let mut line = Vec::new();
        self.answers.by_ref().take(MAX_ANSWER_BYTES).read_until(b'\n', &mut line).map_err(lost)?;
        ensure!(line.ends_with(b"\n"), "the relay ended the conversation");
        serde_json::from_slice(&line).context("the relay's answer is not understood")
    }
}

fn lost(error: io::Error) -> anyhow::Error {
    anyhow!(error).context("the relay is gone")
}

/// An answer that does not fit the request: an error, told or not.
fn unexpected<T>(answer: &Answer) -> anyhow::Result<T> {
    match answer {
        Answer::Error(text) => bail!("the relay says: {text}"),
        other => bail!("the relay's answer does not fit: {other:?}"),
    }
}
