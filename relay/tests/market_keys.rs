//! The relay's key: made once, kept from others, never shown.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mercato::market::MarketKeys;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn key_file(dir: &Path) -> PathBuf {
    dir.join("keys/relay.key")
}

#[test]
fn the_first_start_makes_a_key_and_the_second_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = MarketKeys::load_or_create(dir.path()).unwrap();
    let second = MarketKeys::load_or_create(dir.path()).unwrap();
    assert_eq!(first.public(), second.public());
    let other = tempfile::tempdir().unwrap();
    assert_ne!(MarketKeys::load_or_create(other.path()).unwrap().public(), first.public());
}

#[test]
fn only_the_relay_may_read_the_file_and_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    MarketKeys::load_or_create(dir.path()).unwrap();
    assert_eq!(mode(&key_file(dir.path())), 0o600);
    assert_eq!(mode(&dir.path().join("keys")), 0o700);
    assert_eq!(fs::read_to_string(key_file(dir.path())).unwrap().len(), 65);
}

#[test]
fn a_file_or_folder_open_to_others_is_refused_with_the_cure() {
    let dir = tempfile::tempdir().unwrap();
    MarketKeys::load_or_create(dir.path()).unwrap();
    for (path, open, cure) in [
        (key_file(dir.path()), 0o640, "chmod 600"),
        (key_file(dir.path()), 0o604, "chmod 600"),
        (dir.path().join("keys"), 0o755, "chmod 700"),
    ] {
        let before = mode(&path);
        fs::set_permissions(&path, Permissions::from_mode(open)).unwrap();
        let error = MarketKeys::load_or_create(dir.path()).unwrap_err().to_string();
        assert!(error.contains(cure) && error.contains(&*path.to_string_lossy()), "{error}");
        fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
        MarketKeys::load_or_create(dir.path()).unwrap();
    }
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    let zero = format!("{}\n", "0".repeat(64));
    for text in ["", "\n", "nsec1", &zero, &"F".repeat(64), &"a".repeat(200)] {
        let dir = tempfile::tempdir().unwrap();
        MarketKeys::load_or_create(dir.path()).unwrap();
        fs::write(key_file(dir.path()), text).unwrap();
        let error = MarketKeys::load_or_create(dir.path()).unwrap_err().to_string();
        assert!(error.contains("does not hold"), "{error}");
        assert!(text.trim().is_empty() || !error.contains(text.trim()), "the error shows the file's text");
        assert_eq!(fs::read_to_string(key_file(dir.path())).unwrap(), text);
    }
}

#[test]
fn a_key_read_by_hand_signs_what_others_can_verify() {
    let dir = tempfile::tempdir().unwrap();
    let keys = MarketKeys::load_or_create(dir.path()).unwrap();
    let event = keys.sign(1_700_000_000, 7000, &[vec!["status".into(), "assigned".into()]], "");
    assert_eq!(event.pubkey, keys.public());
    event.verify_signature().unwrap();
}

#[test]
fn debug_shows_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let keys = MarketKeys::load_or_create(dir.path()).unwrap();
    let secret = fs::read_to_string(key_file(dir.path())).unwrap();
    assert!(!format!("{keys:?}").contains(secret.trim()));
}
