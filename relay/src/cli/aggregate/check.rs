//! What is looked at in every file before anything is aggregated: its hash, and whether all of it is finite.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, anyhow, bail, ensure};
use mercato_kernels::{Chosen, Updates, validate};
use sha2::{Digest, Sha256};

use super::super::progress::Progress;
use super::inputs::Inputs;

/// One file.
#[derive(Debug, Clone)]
pub struct Look {
    pub sha256: [u8; 32],
    /// The first coordinate that is not finite.
    pub flaw: Option<usize>,
}

/// All of them, by row.
pub struct Checked(Vec<Look>);

/// Each thread takes the next file.
pub fn check(inputs: &Inputs, updates: &dyn Updates, threads: NonZeroUsize) -> anyhow::Result<Checked> {
    let next = AtomicUsize::new(0);
    let rows = inputs.rows();
    let work = || {
        let mut found = Vec::new();
        loop {
            let row = next.fetch_add(1, Ordering::Relaxed);
            if row >= rows.len() {
                return anyhow::Ok(found);
            }
            found.push((row, look(inputs.path(row), row, updates)?));
        }
    };
    let mut found = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.get().min(rows.len())).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread has panicked"))?);
        joined.collect::<anyhow::Result<Vec<_>>>().map(|found| found.concat())
    })?;
    found.sort_unstable_by_key(|(row, _)| *row);
    Ok(Checked(found.into_iter().map(|(_, file)| file).collect()))
}

fn look(path: &Path, row: usize, updates: &dyn Updates) -> anyhow::Result<Look> {
    let sha256 = hash(path).with_context(|| format!("reading {}", path.display()))?;
    let flaw = validate::not_finite(&Chosen::new(updates, &[row])?)?;
    Ok(Look { sha256, flaw: flaw.first().copied().flatten() })
}

fn hash(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let (mut hasher, mut bytes) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(hasher.finalize().into()),
            len => hasher.update(&bytes[..len]),
        }
    }
}

impl Checked {
    pub fn of(&self, row: usize) -> &Look {
        &self.0[row]
    }

    /// Rows of the clients that are to be aggregated. Each of the others is named.
    pub fn clients(&self, inputs: &Inputs, strict: bool, progress: &Progress) -> anyhow::Result<Vec<usize>> {
        let mut kept = Vec::new();
        for row in inputs.rows() {
            let Some(coordinate) = self.of(row).flaw else {
                kept.extend(inputs.clients().contains(&row).then_some(row));
                continue;
            };
            let (path, tensor) = (inputs.path(row).display(), inputs.tensor_of(coordinate));
            let said = format!("{path}: not finite in tensor `{tensor}` (coordinate {coordinate} of the update)");
            if strict || !inputs.clients().contains(&row) {
                bail!(said);
            }
            progress.print(&format!("mercato: {said}: left out"));
        }
        ensure!(!kept.is_empty(), "no update is finite");
        Ok(kept)
    }
}
