//! A router file that may change.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::sync::mpsc;

use super::RouterFile;

/// How often the file is looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// A longer file is not one.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the file as it is now.
pub fn read(path: &Path) -> anyhow::Result<RouterFile> {
    let text = read_text(path)?;
    RouterFile::parse(&text).with_context(|| format!("in {}", path.display()))
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    let size = std::fs::metadata(path).with_context(|| format!("reading {}", path.display()))?.len();
    ensure!(size <= MAX_BYTES, "{} is too large for a router file", path.display());
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// Sends the file whenever it has changed, beginning from `current`, until nobody wants to know. What cannot be read is
/// logged, and the file before it stays in force.
pub async fn watch(path: PathBuf, mut current: RouterFile, files: mpsc::Sender<RouterFile>) {
    let mut fault = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = files.closed() => return,
        }
        let read = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || read(&path)).await
        };
        match read {
            Ok(Ok(file)) if file != current => {
                tracing::info!(file = %path.display(), "the router file has changed");
                current = file.clone();
                fault = None;
                if files.send(file).await.is_err() {
                    return;
                }
            }
            Ok(Ok(_)) => fault = None,
            Ok(Err(error)) => {
                let text = format!("{error:#}");
                // Said once, not every second.
                if fault.as_ref() != Some(&text) {
                    tracing::error!("{text}; the links stay as they were");
                    fault = Some(text);
                }
            }
            // The runtime is ending.
            Err(_) => return,
        }
    }
}
