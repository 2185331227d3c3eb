//! Real events, where the checkout has them.

use std::path::Path;

use crate::event::Event;

/// The events of a file of `shared/data`; `None`, said on stderr, where there is no such file.
pub fn real_events(name: &str) -> Option<Vec<Event>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("{} is not there; generated events stand in", path.display());
        return None;
    };
    let read = |line: &str| Event::from_json(&serde_json::from_str(line).ok()?).ok();
    Some(text.lines().filter_map(read).collect())
}

/// Events as `mercato import` reads them.
pub fn to_jsonl(events: &[Event]) -> Vec<u8> {
    events.iter().flat_map(|event| format!("{}\n", event.to_json()).into_bytes()).collect()
}
