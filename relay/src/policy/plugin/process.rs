//! One process of a plugin: its pipes, and its end.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::chatter::Chatter;
use crate::control::line::{Line, Splitter};

/// Longest line of output that is looked at; strfry's is 8192.
const MAX_LINE_BYTES: usize = 1 << 20;
/// Longest line of standard error that goes to the log whole.
const MAX_LOG_LINE_BYTES: usize = 4 << 10;
/// How long a process may take to leave once it was asked to.
const GRACE: Duration = Duration::from_secs(2);

/// A running plugin. It is killed when this is dropped; `end` is kinder.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// `None` once the process reads no more.
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// Not yet taken by the process; its bound is what may be in flight.
    outgoing: BytesMut,
    incoming: BytesMut,
    splitter: Splitter,
    /// Output since whoever reads it last set this to 0.
    pub noise_bytes: usize,
}

/// What a process did.
#[derive(Debug)]
pub enum Heard {
    /// It took what it was told, or said less than a line.
    Nothing,
    Lines(Vec<Line>),
    /// It closed its output: there will be no more answers.
    Ended,
}

impl Process {
    /// Starts `/bin/sh -c command` in a process group of its own, so that a Ctrl-C does not reach it before the relay
    /// has stopped, and that all it started can be ended with it.
    pub fn start(command: &str) -> io::Result<Self> {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(command).process_group(0).kill_on_drop(true);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = shell.spawn()?;
        let piped = |pipe: &str| io::Error::other(format!("no {pipe}"));
        let output = child.stdout.take().ok_or_else(|| piped("stdout"))?;
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(log(stderr));
        }
        Ok(Self {
            input: child.stdin.take(),
            child,
            output,
            outgoing: BytesMut::new(),
            incoming: BytesMut::with_capacity(8 << 10),
            splitter: Splitter::new(MAX_LINE_BYTES),
            noise_bytes: 0,
        })
    }

    /// Has the process told `line` as soon as it reads.
    pub fn tell(&mut self, line: &[u8]) {
        self.outgoing.extend_from_slice(line);
    }

    /// Waits until the process reads or says something. May be cancelled without loss.
    pub async fn step(&mut self) -> io::Result<Heard> {
        let Self { input, output, outgoing, incoming, .. } = self;
        let write = async {
            match input {
                Some(input) if !outgoing.is_empty() => input.write(outgoing).await,
                Some(_) | None => std::future::pending().await,
            }
        };
        tokio::select! {
            read = output.read_buf(incoming) => match read? {
                0 => Ok(Heard::Ended),
                count => {
                    self.noise_bytes += count;
                    Ok(self.cut())
                }
            },
            written = write => {
                match written {
                    Ok(count) => outgoing.advance(count),
                    // It may still answer what it has read; if not, its output ends too, or time does.
                    Err(_) => *input = None,
                }
                if outgoing.is_empty() {
                    // Does not keep the room of the busiest moment.
                    *outgoing = BytesMut::new();
                }
                Ok(Heard::Nothing)
            }
        }
    }

    fn cut(&mut self) -> Heard {
        let mut lines = Vec::new();
        while !self.incoming.is_empty() {
            let (taken, line) = self.splitter.feed(&self.incoming);
            self.incoming.advance(taken);
            lines.extend(line);
        }
        self.incoming.reserve(8 << 10);
        if lines.is_empty() { Heard::Nothing } else { Heard::Lines(lines) }
    }

    /// Asks the process and what it started to leave, and makes them if they do not.
    pub async fn end(mut self) {
        drop(self.input.take());
        self.signal(libc::SIGTERM);
        if tokio::time::timeout(GRACE, self.child.wait()).await.is_err() {
            self.signal(libc::SIGKILL);
            // Nothing survives that.
            let _ = self.child.wait().await;
        }
    }

    fn signal(&self, signal: i32) {
        // `None` once it has been waited for: then the number may be somebody else's.
        if let Some(id) = self.child.id() {
            // SAFETY: killpg takes no pointers.
            unsafe { libc::killpg(id as i32, signal) };
        }
    }
}

/// Hands what a plugin writes to standard error to the log, until it closes it.
async fn log(mut stderr: ChildStderr) {
    let (mut splitter, mut chatter) = (Splitter::new(MAX_LOG_LINE_BYTES), Chatter::default());
    let mut buffer = BytesMut::with_capacity(4 << 10);
    // An error is an end like any other.
    while stderr.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
        while !buffer.is_empty() {
            let (taken, line) = splitter.feed(&buffer);
            buffer.advance(taken);
            if let Some(line) = line {
                chatter.log("plugin", &line);
            }
        }
        buffer.reserve(4 << 10);
    }
    if let Some(line) = splitter.finish() {
        chatter.log("plugin", &line);
    }
}
