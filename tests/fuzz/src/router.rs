//! Whatever an operator writes is a router file or is refused.

use mercato::peer::router::{RouterFile, syntax};

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(members) = syntax::parse(text) {
        // Every JSON object is such a file, so what was read can be written and read again.
        let again = syntax::parse(&serde_json::Value::Object(members.clone()).to_string());
        assert_eq!(again.as_ref(), Ok(&members));
    }
    if let Ok(file) = RouterFile::parse(text) {
        assert_eq!(RouterFile::parse(&file.to_json()).as_ref(), Ok(&file));
    }
}
