//! An event that is taken is the same after a walk through its body.

use mercato::nostr::Event;
use mercato::nostr::json::{Cursor, quote};

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // The id of random text is never right: what comes before it is reached through the parts.
    let mut cursor = Cursor::new(text);
    if let Ok(raw) = cursor.string() {
        let mut canonical = String::new();
        if raw.write_canonical(&mut canonical).is_ok() {
            assert_eq!(canonical, quote(&raw.decode().expect("it was written")));
        }
    }
    if let Ok(event) = Event::parse(text) {
        let body = std::str::from_utf8(event.body()).expect("a body is text");
        assert_eq!(Event::parse(body).expect("our own body is an event"), event);
    }
}
