//! A damaged record is an error, never a panic. `cargo +nightly fuzz run record --fuzz-dir tests/fuzz`
#![no_main]

use libfuzzer_sys::fuzz_target;
use mercato::nostr::EventId;
use mercato::store::{Position, Record};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = Record::decode(Position::new(0, EventId([0; 32])), bytes::Bytes::copy_from_slice(bytes)) {
        let _ = record.view().index_tags.count();
        let _ = record.event();
    }
});
