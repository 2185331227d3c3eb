//! What of an event is words: content, names, titles.

use crate::nostr::{Event, kind};
use crate::store::Record;

/// Bytes of one event that are looked at; what comes later is not found.
const MAX_BYTES: usize = 32 * 1024;
/// Members of the JSON in a profile or an advert.
const MEMBERS: [&str; 6] = ["name", "display_name", "displayName", "about", "nip05", "website"];
/// Tags that say something in words.
const TAGS: [&str; 8] = ["title", "subject", "summary", "description", "name", "alt", "t", "cap"];

/// `None` when there are none.
pub fn of(record: &Record) -> Option<String> {
    let body = record.body();
    let event = Event::parse(std::str::from_utf8(&body).ok()?).ok()?;
    let mut words = match event.kind {
        kind::PROFILE | kind::PROVIDER_ADVERT => names(&event.content()),
        _ => event.content(),
    };
    for tag in event.tags() {
        if let [name, value, ..] = tag.as_slice()
            && TAGS.contains(&name.as_str())
        {
            words.push('\n');
            words.push_str(value);
        }
    }
    let mut end = words.len().min(MAX_BYTES);
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    words.truncate(end);
    (!words.trim().is_empty()).then_some(words)
}

/// The texts of a profile; content that is no profile is taken as it is.
fn names(content: &str) -> String {
    let Ok(serde_json::Value::Object(members)) = serde_json::from_str(content) else { return content.to_owned() };
    let texts = MEMBERS.iter().filter_map(|name| members.get(*name)?.as_str());
    texts.collect::<Vec<_>>().join("\n")
}
