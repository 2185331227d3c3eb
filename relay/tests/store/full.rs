//! A disk that is full refuses writes, serves reads, and takes writes again once there is space.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use mercato::nostr::{Event, Filter};
use mercato::store::rocks::{Checking, RocksOptions, RocksStore};
use mercato::store::{Store, StoreError};

use crate::support::{event, run, scan};

/// How long a store may take to notice that there is space again.
const PATIENCE: Duration = Duration::from_secs(120);

/// A small disk in memory, gone when dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None` where this user may not mount one.
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "mercato-test"]).arg(folder.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    /// Takes all space that is left.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).unwrap();
        for piece in [&[0; 1 << 20][..], &[0; 512]] {
            while file.write_all(piece).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a store may still be closing.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn note(number: u64) -> Event {
    event((number % 5) as u8, number, 1, &["t x"], &format!("{number} {}", "long ".repeat(400)))
}

fn write(store: &RocksStore, number: u64) -> Result<(), StoreError> {
    let mut transaction = store.begin()?;
    transaction.insert(&note(number))?;
    transaction.append_journal(&number.to_be_bytes())?;
    transaction.commit().map(drop)
}

fn open(path: &Path) -> RocksStore {
    let options = RocksOptions { write_buffer_bytes: 4 << 20, ..RocksOptions::default() };
    RocksStore::open(path, options).unwrap()
}

/// All that was taken is there, and nothing else.
fn check(store: &RocksStore, taken: &[u64]) {
    let mut found: Vec<u64> =
        run(store, scan(Filter::default()), 100).iter().map(|record| record.position.created_at()).collect();
    found.reverse();
    assert_eq!(found, taken);
    let journal: Vec<Vec<u8>> = taken.iter().map(|number| number.to_be_bytes().to_vec()).collect();
    assert_eq!(store.journal().unwrap(), journal);
    let mut faults = Vec::new();
    store
        .check(&mut Checking { signatures: false, progress: &mut || {}, found: &mut |fault| faults.push(fault) })
        .unwrap();
    assert_eq!(faults, []);
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_is_used_again_once_there_is_space() {
    let Some(disk) = Disk::mount("48m") else {
        return eprintln!("this user may not mount a small disk: what a full one does is not tested");
    };
    let path = disk.0.path().join("db");
    let store = open(&path);
    let mut taken: Vec<u64> = (0..500).collect();
    taken.iter().for_each(|number| write(&store, *number).unwrap());
    for round in 1..=2 {
        disk.fill();
        let first = round * 100_000;
        // What still fits in the log is taken.
        let refused = (first..first + 50_000).find(|number| match write(&store, *number) {
            Ok(()) => {
                taken.push(*number);
                false
            }
            Err(_) => true,
        });
        let refused = refused.expect("a full disk refuses in the end");
        assert!(write(&store, refused).is_err(), "and goes on refusing");
        check(&store, &taken);
        disk.free();
        let start = Instant::now();
        while let Err(error) = write(&store, refused) {
            assert!(start.elapsed() < PATIENCE, "not used again: {error}");
            std::thread::sleep(Duration::from_millis(100));
        }
        taken.push(refused);
        eprintln!("used again after {:?}", start.elapsed());
        for number in refused + 1..refused + 200 {
            write(&store, number).unwrap();
            taken.push(number);
        }
        check(&store, &taken);
    }
    drop(store);
    check(&open(&path), &taken);
}
