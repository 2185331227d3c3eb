//! Where the store lies, and the ways to open it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};

use super::{files, memory};
use crate::config::Config;
use crate::store::rocks::{RocksOptions, RocksStore};
use crate::store::{CHECKPOINT, StoreError};

/// How often opening beside a relay is tried: it may remove a file that was about to be read.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// What an import may hold before it sorts it: fewer and larger files are merged less often.
const BULK_BUFFER_BYTES: usize = 128 << 20;
/// What a relay may hold before it sorts it: more would make restarts slower and a full disk harder to leave.
const MAX_BUFFER_BYTES: usize = 32 << 20;
/// Parts of the memory that the caches may take where the operator does not say.
const BLOCK_SHARE: usize = 8;
const BODY_SHARE: usize = 32;
/// What a machine is taken to have that does not say.
const USUAL_MEMORY: u64 = 2 << 30;

/// Whether a commit waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commits {
    /// It does.
    Durable,
    /// It does not; whoever writes calls `RocksStore::sync` at the end.
    SyncedAtEnd,
    /// The same for an import, which takes more memory and hardly reads.
    Bulk,
}

/// Folder of the database itself, beside the keys and the control socket.
pub fn database(config: &Config) -> PathBuf {
    config.store.path.join("db")
}

/// Makes the folder of everything, which holds secrets, for its owner only.
pub fn create_folder(config: &Config) -> anyhow::Result<()> {
    files::create_private(&config.store.path)
}

/// Refuses a folder in which there is no store.
pub fn require(database: &Path) -> anyhow::Result<()> {
    ensure!(!files::is_empty_store(database)?, "no store in {}", database.display());
    Ok(())
}

/// Opens the store as its only writer, and makes it when there is none.
pub fn open_to_write(config: &Config, commits: Commits) -> anyhow::Result<RocksStore> {
    try_to_write(config, commits)?.map_err(|error| explain(config, error))
}

fn explain(config: &Config, error: StoreError) -> anyhow::Error {
    let path = database(config);
    match is_locked(&error) {
        true => anyhow!("{} is in use by another process: is a relay running on it?", path.display()),
        false => anyhow::Error::new(error).context(format!("opening {}", path.display())),
    }
}

fn try_to_write(config: &Config, commits: Commits) -> anyhow::Result<Result<RocksStore, StoreError>> {
    let path = database(config);
    files::create_private(&path)?;
    let cache = sized(config.store.block_cache_mib, BLOCK_SHARE);
    let bulk = commits == Commits::Bulk;
    let buffers = if bulk { BULK_BUFFER_BYTES } else { (cache / 2).min(MAX_BUFFER_BYTES) };
    let options = RocksOptions {
        // The buffers are part of it.
        block_cache_bytes: if bulk { cache + buffers } else { cache },
        write_buffer_bytes: buffers,
        bulk,
        body_cache_bytes: sized(config.store.body_cache_mib, BODY_SHARE) as u64,
        background_jobs: std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8) as i32),
        durable: commits == Commits::Durable,
        ..RocksOptions::default()
    };
    let store = match RocksStore::open(&path, options) {
        Ok(store) => store,
        Err(error) => return Ok(Err(error)),
    };
    remove_checkpoints(&config.store.path)?;
    Ok(Ok(store))
}

/// What a backup that was cut short has left.
fn remove_checkpoints(folder: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(CHECKPOINT) {
            files::remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Opens the store as its only writer; while another process has it, it is waited for up to `patience`.
pub fn wait_to_write(config: &Config, commits: Commits, patience: Duration) -> anyhow::Result<RocksStore> {
    let (begun, mut told) = (Instant::now(), false);
    loop {
        match try_to_write(config, commits)? {
            Ok(store) => return Ok(store),
            Err(error) if begun.elapsed() >= patience => return Err(explain(config, error)),
            Err(error) if !is_locked(&error) => return Err(explain(config, error)),
            Err(_) if !told => {
                told = true;
                tracing::info!("another process has the store: waiting up to {} s", patience.as_secs());
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Opens the store to read it, whether or not a relay has it open.
pub fn open_to_read(config: &Config) -> anyhow::Result<RocksStore> {
    open_copy_to_read(config, &database(config))
}

/// The same for a copy of it elsewhere.
pub fn open_copy_to_read(config: &Config, path: &Path) -> anyhow::Result<RocksStore> {
    let options = RocksOptions {
        block_cache_bytes: sized(config.store.block_cache_mib, BLOCK_SHARE).min(mib(64)),
        write_buffer_bytes: mib(16),
        // What is read here is read once.
        body_cache_bytes: mib(1) as u64,
        background_jobs: 1,
        ..RocksOptions::default()
    };
    // Only RocksDB's log of its own doings lies there: it is in the way of nobody, and goes with this function.
    let scratch = Scratch::new()?;
    let mut attempt = 1;
    loop {
        match RocksStore::open_secondary(path, &scratch.0, options) {
            Err(StoreError::Rocks(_)) if attempt < ATTEMPTS => std::thread::sleep(PAUSE * attempt),
            opened => return opened.with_context(|| format!("opening {} to read", path.display())),
        }
        attempt += 1;
    }
}

/// RocksDB has one kind of error for all trouble with files; only the text tells which.
fn is_locked(error: &StoreError) -> bool {
    matches!(error, StoreError::Rocks(error) if error.to_string().contains("lock"))
}

/// The bytes of a cache: as many MiB as the operator says, else a share of the memory.
fn sized(count_mib: usize, share: usize) -> usize {
    match count_mib {
        0 => usize::try_from(memory::total_bytes().unwrap_or(USUAL_MEMORY)).unwrap_or(usize::MAX) / share,
        count => mib(count),
    }
}

fn mib(count: usize) -> usize {
    count.saturating_mul(1 << 20)
}

/// A private folder that is removed when dropped. What RocksDB holds open in it stays usable.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let path = std::env::temp_dir().join(format!("mercato-{}", const_hex::encode(random)));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("making the folder {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        tracing::debug!(%error, folder = %folder.display(), "a scratch folder was left behind");
    }
}
