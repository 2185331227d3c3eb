//! Whether an event speaks of what a NIP-50 search asks for, for events that no index has seen yet.

use super::json::{Cursor, JsonError};

/// Whether the content of `body`, an event as JSON, holds every word of `search`, in any letter case.
///
/// `key:value` pairs are extensions; none is known, and NIP-50 has them passed over.
pub fn matches(search: &str, body: &[u8]) -> bool {
    let content = content(body).to_lowercase();
    words(search).all(|word| content.contains(&word.to_lowercase()))
}

/// What a search asks for, without the `key:value` pairs, which NIP-50 has passed over by who does not know them.
pub fn words(search: &str) -> impl Iterator<Item = &str> {
    search.split_whitespace().filter(|word| !is_extension(word))
}

fn is_extension(word: &str) -> bool {
    let Some((key, value)) = word.split_once(':') else { return false };
    !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !value.is_empty()
        && !value.starts_with('/')
}

/// Empty when `body` is no event, which only a damaged store could bring about.
fn content(body: &[u8]) -> String {
    let mut content = String::new();
    let read = |content: &mut String| -> Result<(), JsonError> {
        let text = std::str::from_utf8(body).map_err(|_| JsonError { what: "not UTF-8", at: 0 })?;
        Cursor::new(text).object::<JsonError>(|key, cursor| {
            match key.raw {
                "content" => *content = cursor.string()?.decode()?.into_owned(),
                _ => drop(cursor.skip_value()?),
            }
            Ok(())
        })
    };
    // What was read before the damage stands.
    let _ = read(&mut content);
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_counts_in_any_case_and_extensions_do_not() {
        let body =
            br#"{"id":"x","tags":[["t","Tagged"]],"content":"The quick\nBrown F\u00d6X at https://den.example"}"#;
        for found in ["", "quick", "BROWN the", "f\u{f6}x", "language:en quick", "https://den"] {
            assert!(matches(found, body), "{found}");
        }
        for missed in ["slow", "quick slow", "tagged", "content"] {
            assert!(!matches(missed, body), "{missed}");
        }
        assert!(!matches("quick", b"{\"content\":"));
    }
}
