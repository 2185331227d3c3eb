//! A wall clock that a test can set, for one process only: a small library that is loaded before all others adds an
//! offset to it.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context;
use tempfile::TempDir;

use crate::relay::Settings;

const SOURCE: &str = include_str!("shifted.c");

pub struct ShiftedClock {
    folder: TempDir,
    offset: std::fs::File,
}

impl ShiftedClock {
    /// `None`, and a word about it on stderr, where there is no C compiler.
    pub fn build() -> anyhow::Result<Option<Self>> {
        let folder = tempfile::tempdir().context("making a folder for the clock")?;
        let offset = folder.path().join("offset");
        std::fs::write(&offset, 0_i64.to_ne_bytes())?;
        let offset = std::fs::File::options().write(true).open(&offset)?;
        let clock = Self { folder, offset };
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut command = Command::new(&compiler);
        command.args(["-shared", "-fPIC", "-O1", "-x", "c", "-", "-ldl", "-o"]).arg(clock.library());
        let Ok(mut child) = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
            eprintln!("not tested: no C compiler ({}), which a clock that can be set needs", compiler.display());
            return Ok(None);
        };
        child.stdin.take().context("no way to the compiler")?.write_all(SOURCE.as_bytes())?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "the clock does not compile: {said}");
        Ok(Some(clock))
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("shifted.so")
    }

    /// Has a process that is started with these settings see this clock.
    pub fn worn_by(&self, settings: Settings) -> Settings {
        let file = self.folder.path().join("offset");
        settings.variable("LD_PRELOAD", &self.library()).variable("MERCATO_TEST_CLOCK", &file)
    }

    /// Sets the clock this far ahead of the true one, in seconds; behind it when negative.
    pub fn set(&self, ahead_s: i64) -> anyhow::Result<()> {
        self.offset.write_all_at(&ahead_s.to_ne_bytes(), 0).context("setting the clock")
    }
}
