//! What an operator does with a store: checks, compacts, copies and restores it, beside a relay and without one.
#![cfg(feature = "rocksdb")]

mod cli_world;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cli_world::{World, notes};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_sound_store_is_found_sound_beside_a_relay_and_without_one() {
    let world = World::new();
    world.import(&notes(500));
    let sound = |out: String| assert!(out.contains("500 events and") && out.contains("are sound"), "{out}");
    sound(world.out(&["check", "--signatures"]));
    let relay = world.relay();
    sound(world.out(&["check"]));
    relay.stop();
}

#[test]
fn what_is_wrong_is_told_and_the_exit_code_says_so() {
    let world = World::new();
    world.import(&notes(20));
    let path = world.store().join("db");
    let families = rocksdb::DB::list_cf(&rocksdb::Options::default(), &path).unwrap();
    let db = rocksdb::DB::open_cf(&rocksdb::Options::default(), &path, families).unwrap();
    let kind = db.cf_handle("kind").unwrap();
    let (key, _) = db.iterator_cf(kind, rocksdb::IteratorMode::Start).next().unwrap().unwrap();
    db.delete_cf(kind, key).unwrap();
    drop(db);
    let said = world.run(&["check"]);
    assert!(said.out.contains("kind does not lead to it"), "{}", said.out);
    assert!(said.fails(1).contains("1 fault"));
}

#[test]
fn compacting_gives_back_the_space_of_what_was_removed() {
    for beside_a_relay in [false, true] {
        let world = World::new();
        world.import(&notes(20_000));
        let relay = beside_a_relay.then(|| world.relay());
        world.out(&["compact"]);
        let full = bytes_in(&world.store().join("db"));
        world.out(&["delete", "--filter", r#"{"until":1700018000}"#]);
        let said = world.out(&["compact"]);
        assert!(said.contains("before") && said.contains("after"), "{said}");
        let left = bytes_in(&world.store().join("db"));
        assert!(left < full / 2, "{full} bytes with 20,000 events, {left} with 1,999");
        assert!(world.out(&["check"]).starts_with("1999 events"));
        drop(relay);
    }
}

/// In sorted files; the log is as long as it likes.
fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let sorted = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "sst"));
    sorted.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}

#[test]
fn a_backup_beside_a_relay_is_whole_and_goes_back() {
    let world = World::new();
    world.import(&notes(300));
    let export = world.out(&["export"]);
    let relay = world.relay();
    let backup = world.store().with_extension("backup");
    let said = world.run(&["backup", text(&backup)]);
    assert!(said.err.contains("secret keys") && said.err.contains("--with-keys"), "{}", said.err);
    assert!(said.ok().starts_with("300 events"));
    assert!(!backup.join("keys").exists());
    // The store goes on, the backup stays as it is.
    world.import(&notes(400)[300..]);
    assert!(world.run(&["restore", text(&backup)]).fails(1).contains("a relay is running"));
    relay.stop();
    assert!(world.run(&["restore", text(&backup)]).fails(1).contains("--force"));
    assert_eq!(world.export().len(), 400, "a refused restore changes nothing");
    world.out(&["restore", text(&backup), "--force"]);
    assert_eq!(world.out(&["export"]), export);
    assert!(world.out(&["check"]).starts_with("300 events"));
    let left: Vec<_> = std::fs::read_dir(world.store()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let known = |name: &&std::ffi::OsString| ["db", "keys"].iter().any(|known| name.to_str() == Some(known));
    assert!(left.iter().all(|name| known(&name)), "{left:?}");
}

#[test]
fn a_backup_with_keys_goes_into_an_empty_place_with_its_modes() {
    let (world, other) = (World::new(), World::new());
    world.import(&notes(10));
    let key = world.out(&["keys", "--create"]);
    let backup = world.store().with_extension("backup");
    let said = world.run(&["backup", "--with-keys", text(&backup)]);
    assert_eq!(said.err, "");
    assert!(said.ok().starts_with("10 events"));
    assert_eq!((mode(&backup), mode(&backup.join("keys").join("relay.key"))), (0o700, 0o600));
    other.out(&["restore", text(&backup)]);
    assert_eq!(mode(&other.store().join("keys").join("relay.key")), 0o600);
    assert_eq!(other.export(), world.export());
    let line = |out: &str| out.lines().next().map(str::to_owned);
    assert_eq!(line(&other.out(&["keys"])), line(&key));
}

#[test]
fn a_backup_goes_into_an_empty_folder_only_and_a_restore_needs_one() {
    let world = World::new();
    world.import(&notes(10));
    let folder = world.store().with_extension("full");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("note"), "").unwrap();
    assert!(world.run(&["backup", text(&folder)]).fails(1).contains("is not empty"));
    assert!(world.run(&["restore", text(&folder), "--force"]).fails(1).contains("no store"));
    assert_eq!(world.export().len(), 10);
    let none = World::new();
    for verb in [&["backup", text(&folder)][..], &["compact"], &["check"], &["migrate"]] {
        assert!(none.run(verb).fails(1).contains("no store"), "{verb:?}");
    }
    assert!(!none.store().exists(), "nothing is made on the way");
}

#[test]
fn a_store_of_this_format_needs_no_migration() {
    let world = World::new();
    world.import(&notes(1));
    assert!(world.out(&["migrate"]).contains("nothing to do"));
}

#[test]
fn a_store_of_another_format_is_refused_with_what_to_do() {
    for (format, advice) in [(0_u32, "mercato migrate"), (2, "later version")] {
        let world = World::new();
        world.import(&notes(1));
        let path = world.store().join("db");
        let families = rocksdb::DB::list_cf(&rocksdb::Options::default(), &path).unwrap();
        let db = rocksdb::DB::open_cf(&rocksdb::Options::default(), &path, families).unwrap();
        db.put_cf(db.cf_handle("meta").unwrap(), "format", format.to_be_bytes()).unwrap();
        drop(db);
        let told = world.run(&["relay"]).fails(1);
        assert!(told.contains(advice), "{told}");
    }
}
