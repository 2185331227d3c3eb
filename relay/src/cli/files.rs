//! Folders that are copied, moved and removed whole. What is copied is on disk when the copy is there.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, bail};

/// Makes a folder for its owner only.
pub fn create_private(path: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("making the folder {}", path.display()))
}

/// Whether there is nothing in a folder, or no folder.
pub fn is_empty(folder: &Path) -> anyhow::Result<bool> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("reading {}", folder.display())),
    }
}

/// Whether no database is in a folder.
pub fn is_empty_store(folder: &Path) -> anyhow::Result<bool> {
    Ok(!folder.join("CURRENT").try_exists()?)
}

/// Removes a folder that may not be there.
pub fn remove(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Moves a folder, by a copy when it is to go to another disk.
pub fn relocate(from: &Path, to: &Path) -> anyhow::Result<()> {
    match std::fs::rename(from, to) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            let partial = to.with_extension("partial");
            let copied = copy(from, &partial);
            // Not needed any more, whether or not all of it has arrived.
            remove(from)?;
            copied?;
            std::fs::rename(&partial, to).with_context(|| format!("naming {}", to.display()))?;
        }
        Err(error) => return Err(error).with_context(|| format!("moving {} to {}", from.display(), to.display())),
    }
    to.parent().map_or(Ok(()), sync)
}

/// Copies the files of a folder, which has no folders in it.
pub fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    copy_with(from, to, None)
}

/// The same for secrets: the copies are readable by their owner only, from the first byte on.
pub fn copy_private(from: &Path, to: &Path) -> anyhow::Result<()> {
    copy_with(from, to, Some(0o600))
}

fn copy_with(from: &Path, to: &Path, mode: Option<u32>) -> anyhow::Result<()> {
    create_private(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        copy_file(&entry.path(), &target, mode).with_context(|| format!("copying {}", entry.path().display()))?;
    }
    sync(to)
}

fn copy_file(from: &Path, to: &Path, mode: Option<u32>) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut target = OpenOptions::new().write(true).create(true).truncate(true).mode(mode.unwrap_or(0o644)).open(to)?;
    if let Some(mode) = mode {
        // The file may have been there.
        target.set_permissions(Permissions::from_mode(mode))?;
    }
    io::copy(&mut source, &mut target)?;
    target.sync_all()
}

/// Waits until the disk knows the names in a folder.
pub fn sync(folder: &Path) -> anyhow::Result<()> {
    // An empty path is the working folder.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(|| format!("syncing {}", folder.display()))
}

/// Whether two folders have the same files.
pub fn same(a: &Path, b: &Path) -> anyhow::Result<bool> {
    for entry in std::fs::read_dir(a)? {
        let name = entry?.file_name();
        match std::fs::read(b.join(&name)) {
            Ok(bytes) if bytes == std::fs::read(a.join(&name))? => {}
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// RocksDB's own lock on a database, held so that nobody opens what is being replaced.
pub struct Lock(#[expect(dead_code, reason = "held, not used")] Option<File>);

impl Lock {
    pub fn take(database: &Path) -> anyhow::Result<Self> {
        let path = database.join("LOCK");
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self(None)),
            Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
        };
        // SAFETY: all zero is a valid flock, and fcntl reads it only.
        let locked = unsafe {
            let mut lock: libc::flock = std::mem::zeroed();
            lock.l_type = libc::F_WRLCK as _;
            lock.l_whence = libc::SEEK_SET as _;
            libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &lock)
        };
        if locked == -1 {
            bail!("{} is in use by another process", database.display());
        }
        Ok(Self(Some(file)))
    }
}
