//! A damaged record is an error, never a panic.

use mercato::nostr::EventId;
use mercato::store::{Position, Record};

pub fn check(bytes: &[u8]) {
    let position = Position::new(0, EventId([0; 32]));
    if let Ok(record) = Record::decode(position, bytes::Bytes::copy_from_slice(bytes)) {
        let _ = record.view().index_tags.count();
        let _ = record.event();
    }
}
