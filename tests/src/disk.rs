//! A small disk in memory, to be filled by a test.
//!
//! Mounting takes rights. Who has none runs the test once more inside a namespace of its own, where it may; where that
//! is not possible either, the test says so and passes.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use tempfile::TempDir;

/// Set for the test that runs in a namespace of its own.
const INSIDE: &str = "MERCATO_TEST_NAMESPACE";

/// Gone when dropped.
pub struct Disk(TempDir);

/// Runs `test`, whose name is `name`, with a disk of so many MiB.
pub fn with(name: &str, mib: u64, test: impl FnOnce(&Disk) -> anyhow::Result<()>) -> anyhow::Result<()> {
    match Disk::mount(mib)? {
        Ok(disk) => test(&disk),
        Err(why) if std::env::var_os(INSIDE).is_some() || !may_unshare() => {
            eprintln!("not tested: no small disk could be mounted ({why}), nor is there `unshare -rm` to do it in");
            Ok(())
        }
        Err(_) => {
            let own = std::env::current_exe().context("asking for the path of the test itself")?;
            let mut command = Command::new("unshare");
            command.arg("-rm").arg(own).args(["--exact", "--nocapture", name]).env(INSIDE, "1");
            let status = command.status().context("running unshare")?;
            ensure!(status.success(), "{name} failed in its namespace");
            Ok(())
        }
    }
}

fn may_unshare() -> bool {
    Command::new("unshare").args(["-rm", "true"]).output().is_ok_and(|output| output.status.success())
}

impl Disk {
    /// The inner error says why there is none.
    fn mount(mib: u64) -> anyhow::Result<Result<Self, String>> {
        let folder = tempfile::tempdir().context("making a folder to mount on")?;
        let mut command = Command::new("mount");
        let output =
            command.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "mercato-test"]).arg(folder.path()).output();
        Ok(match output {
            Ok(output) if output.status.success() => Ok(Self(folder)),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A folder on it.
    pub fn folder(&self) -> anyhow::Result<TempDir> {
        tempfile::tempdir_in(self.path()).context("making a folder on the small disk")
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Takes all the space that is left, to the last block.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut file = File::options().append(true).create(true).open(self.ballast()).context("making ballast")?;
        for piece in [&[0; 1 << 20][..], &[0; 512]] {
            while file.write_all(piece).is_ok() {}
        }
        Ok(())
    }

    /// Gives the space back that `fill` took.
    pub fn free(&self) -> anyhow::Result<()> {
        std::fs::remove_file(self.ballast()).context("removing the ballast")
    }

    /// Takes so much of the space.
    pub fn load(&self, mib: u64) -> anyhow::Result<()> {
        let bytes = vec![0; (mib << 20) as usize];
        std::fs::write(self.ballast(), bytes).context("making ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process may still be ending.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
