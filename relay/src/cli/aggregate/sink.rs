//! A file that is there whole or not at all, and its hash.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Written beside the place where it is to be, and named once it is on disk.
pub struct Sink {
    file: BufWriter<File>,
    hasher: Sha256,
    bytes: u64,
    partial: Partial,
}

/// Removed unless it was named.
struct Partial {
    path: PathBuf,
    place: PathBuf,
}

/// On disk, not named yet: of several files all are written before the first is named.
pub struct Closed {
    partial: Partial,
    written: Written,
}

/// A file that was written.
#[derive(Debug, Clone, Serialize)]
pub struct Written {
    pub file: PathBuf,
    pub sha256: String,
    pub bytes: u64,
}

impl Sink {
    pub fn create(place: &Path) -> anyhow::Result<Self> {
        let name = place.file_name().with_context(|| format!("{} is no name of a file", place.display()))?;
        let mut partial = name.to_os_string();
        partial.push(".partial");
        let path = place.with_file_name(partial);
        let file = File::create(&path).with_context(|| format!("writing {}", path.display()))?;
        let partial = Partial { path, place: place.to_owned() };
        Ok(Self { file: BufWriter::with_capacity(1 << 20, file), hasher: Sha256::new(), bytes: 0, partial })
    }

    pub fn close(self) -> anyhow::Result<Closed> {
        let Self { file, hasher, bytes, partial } = self;
        let place = || format!("writing {}", partial.path.display());
        let file = file.into_inner().map_err(io::IntoInnerError::into_error).with_context(place)?;
        file.sync_all().with_context(place)?;
        let written = Written { file: partial.place.clone(), sha256: const_hex::encode(hasher.finalize()), bytes };
        Ok(Closed { partial, written })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.file.write(bytes)?;
        self.hasher.update(&bytes[..len]);
        self.bytes += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Closed {
    pub fn name(self) -> anyhow::Result<Written> {
        let Partial { path, place } = &self.partial;
        fs::rename(path, place).with_context(|| format!("naming {}", place.display()))?;
        Ok(self.written.clone())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // There is none any more once it was named.
        drop(fs::remove_file(&self.path));
    }
}
