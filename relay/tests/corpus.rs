//! Every input that fuzzing found worth keeping is still handled: `tests/fuzz/corpus`, grown by `scripts/fuzz`.

use std::fs;
use std::path::Path;

#[path = "../../tests/fuzz/src/lib.rs"]
mod fuzz;

/// Calls `check` with every input of a target.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        check(&fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs >= 10, "{inputs} inputs in {}", folder.display());
}

macro_rules! corpus {
    ($($target:ident),*) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target), fuzz::$target::check);
        })*
    };
}

corpus!(event, frames, fried, keys, message, negentropy, plugin, record, router);
