//! How far each link had come: what a reconnection, or the next process, goes on from.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::clock::now_s;

/// A link that was not seen for so long is forgotten.
const FORGOTTEN_S: u64 = 366 * 86_400;

/// Where one link stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Mark {
    /// Up to when, in seconds since 1970, everything of the peer's has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_s: Option<u64>,
    /// Up to which of our sequences the peer has answered everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_sequence: Option<u64>,
    /// When this was last true, in seconds since 1970.
    #[serde(default)]
    pub seen_s: u64,
}

/// The marks of all links, in a file or in memory only.
#[derive(Debug, Default)]
pub struct Marks {
    marks: Mutex<Marked>,
    file: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct Marked {
    by_link: BTreeMap<String, Mark>,
    unsaved: bool,
}

impl Marks {
    /// Reads the file, if it is there. One that cannot be read is as good as none: links then begin with what is new.
    pub fn open(file: PathBuf) -> Self {
        let by_link = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice::<BTreeMap<String, Mark>>(&text).unwrap_or_else(|error| {
                tracing::warn!(%error, file = %file.display(), "the marks of links are not readable, and begun anew");
                BTreeMap::new()
            }),
            Err(_) => BTreeMap::new(),
        };
        Self { marks: Mutex::new(Marked { by_link, unsaved: false }), file: Some(file) }
    }

    pub fn get(&self, link: &str) -> Mark {
        self.lock().by_link.get(link).copied().unwrap_or_default()
    }

    pub fn change(&self, link: &str, change: impl FnOnce(&mut Mark)) {
        let mut marked = self.lock();
        let mark = marked.by_link.entry(link.to_owned()).or_default();
        let before = *mark;
        change(mark);
        mark.seen_s = now_s();
        marked.unsaved |= before != *mark;
    }

    /// Writes the file if anything has changed since. A power cut leaves the one before.
    pub fn save(&self) {
        let Some(file) = &self.file else { return };
        let text = {
            let mut marked = self.lock();
            if !std::mem::take(&mut marked.unsaved) {
                return;
            }
            let oldest = now_s().saturating_sub(FORGOTTEN_S);
            marked.by_link.retain(|_, mark| mark.seen_s >= oldest);
            serde_json::to_vec_pretty(&marked.by_link)
        };
        let written = text.map_err(Into::into).and_then(|text| replace(file, &text));
        if let Err(error) = written {
            tracing::warn!(%error, file = %file.display(), "the marks of links could not be saved");
            self.lock().unsaved = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Marked> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn replace(file: &Path, text: &[u8]) -> std::io::Result<()> {
    let new = file.with_extension("new");
    let mut options = OpenOptions::new();
    let mut written = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    written.write_all(text)?;
    written.sync_all()?;
    std::fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_outlive_the_process_and_a_spoilt_file_does_not_stop_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("links.json");
        let marks = Marks::open(file.clone());
        marks.change("a", |mark| mark.down_s = Some(5));
        marks.change("b", |mark| mark.up_sequence = Some(7));
        marks.save();
        let read = Marks::open(file.clone());
        assert_eq!((read.get("a").down_s, read.get("b").up_sequence), (Some(5), Some(7)));
        assert_eq!(read.get("c"), Mark::default());
        std::fs::write(&file, "{").unwrap();
        assert_eq!(Marks::open(file).get("a"), Mark::default());
    }
}
