//! Standard output, for results only: everything said about them goes to stderr.

use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

/// Nobody reads standard output any more, which is how `head` says that it has enough.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub struct ReaderGone;

/// Buffered standard output.
pub struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub fn new() -> Self {
        Self(BufWriter::with_capacity(256 << 10, io::stdout().lock()))
    }

    /// Writes `text` and ends the line.
    pub fn line(&mut self, text: impl AsRef<[u8]>) -> anyhow::Result<()> {
        told(self.0.write_all(text.as_ref()).and_then(|()| self.0.write_all(b"\n")))
    }

    /// Hands on what is buffered. To be called before the end: a drop could not tell of a full disk.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        told(self.0.flush())
    }
}

fn told(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        Err(error) => Err(anyhow::Error::new(error).context("writing to standard output")),
        Ok(()) => Ok(()),
    }
}
