//! Any line may come from a file; what is read of it is written to the same event. The packed form, in hex or not,
//! brings nothing down.

use mercato::nostr::fried::{self, Packed};

pub fn check(bytes: &[u8]) {
    if let Some(packed) = Packed::read(bytes) {
        let tags: usize = packed.tags.iter().map(|(_, value)| value.len() + 2).sum();
        assert_eq!(88 + tags, bytes.len(), "every byte is accounted for");
    }
    let Ok(line) = std::str::from_utf8(bytes) else { return };
    if let Ok(event) = fried::read(line) {
        assert_eq!(fried::read(&fried::write(&event)), Ok(event));
    }
}
