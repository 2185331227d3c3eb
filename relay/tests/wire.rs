//! The wire against serde_json and the nostr crate, which read the same bytes in their own ways.

use std::path::{Path, PathBuf};

use mercato::nostr::json::{Cursor, quote};
use mercato::nostr::{
    ClientMessage, Completeness, Event, EventError, Filter, FilterLimits, MessageError, MessageLimits, message,
};
use proptest::prelude::*;
use secp256k1::Keypair;

const LIMITS: MessageLimits = MessageLimits { max_filters: 3, filter: FilterLimits { max_elements: 100, max_tags: 3 } };

fn key(byte: u8) -> Keypair {
    Keypair::from_secret_bytes([byte; 32]).expect("a small number is a valid key")
}

fn sample() -> Event {
    let tags = vec![vec!["e".to_owned(), "ab".repeat(32)], vec!["t".to_owned(), "a\"b".to_owned()]];
    Event::sign(&key(1), 1_700_000_000, 1, &tags, "line\nbreak \u{1} \u{7f} é 🦀")
}

/// Real events lie beside the project on the developers' machines only.
fn real_lines() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let files: Vec<PathBuf> = ["real_events.jsonl", "dvm_events.jsonl"].map(|name| folder.join(name)).into();
    let lines: Vec<String> = files
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    if lines.is_empty() {
        eprintln!("no real events in {}: only generated ones are tested", folder.display());
    }
    lines
}

#[test]
fn real_events_are_read_whole_and_kept_equal() {
    for line in real_lines() {
        let event = Event::parse(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        event.verify_signature().unwrap_or_else(|error| panic!("{error}: {line}"));
        let body: serde_json::Value = serde_json::from_slice(event.body()).expect("a body is JSON");
        assert_eq!(body, serde_json::from_str::<serde_json::Value>(&line).expect("a line is JSON"));
        let tags: Vec<Vec<String>> = serde_json::from_value(body["tags"].clone()).expect("tags");
        assert_eq!(event.tags(), tags);
        assert_eq!(event.content(), body["content"].as_str().expect("content"));
    }
}

#[test]
fn a_signed_event_is_one_that_others_accept() {
    let event = sample();
    event.verify_signature().expect("our own signature");
    let theirs: nostr::Event = serde_json::from_slice(event.body()).expect("the nostr crate reads it");
    theirs.verify().expect("the nostr crate verifies it");
    assert_eq!(Event::parse(std::str::from_utf8(event.body()).expect("UTF-8")).expect("we read it"), event);
}

#[test]
fn the_body_is_the_same_however_the_event_was_written() {
    let event = sample();
    let value: serde_json::Value = serde_json::from_slice(event.body()).expect("JSON");
    let members = value.as_object().expect("an object");
    // Reversed members, white space, needless escapes and members of others' making.
    let mut text = String::from("{ \"seen_on\" : [ {\"relay\": [1, -2.5e3, null, true, \"}\"]} ] ");
    for (name, member) in members.iter().rev() {
        let member = member.to_string().replace('é', "\\u00e9").replace('🦀', "\\uD83E\\udd80");
        text.push_str(&format!(",\t\"{name}\"\n: {member}"));
    }
    text.push('}');
    assert_eq!(Event::parse(&text).expect("still the same event"), event);
}

#[test]
fn a_broken_event_is_refused_with_its_reason() {
    let body = String::from_utf8(sample().body().to_vec()).expect("UTF-8");
    let cases: &[(&str, &str, &str)] = &[
        ("\"kind\":1", "\"kind\":2", "bad event id"),
        ("\"kind\":1", "\"kind\":65536", "kind must be between 0 and 65535"),
        ("\"kind\":1", "\"kind\":-1", "expected a non-negative integer"),
        ("\"kind\":1", "\"kind\":1.0", "expected a non-negative integer"),
        ("\"kind\":1", "\"kind\":01", "expected a non-negative integer"),
        ("\"kind\":1", "\"kind\":\"1\"", "expected a non-negative integer"),
        ("\"kind\":1", "\"kind\":1,\"kind\":1", "field kind stands twice"),
        ("\"kind\":1,", "", "field kind is missing"),
        ("\"tags\":[[", "\"tags\":[[1,", "expected a string"),
        ("\"tags\":[[", "\"tags\":[{},[", "expected an array"),
        ("\\n", "\n", "control character in a string"),
        ("\\n", "\\ud800", "bad escape in a string"),
        ("\\n", "\\x", "bad escape in a string"),
        ("\"pubkey\":\"1", "\"pubkey\":\"G", "pubkey must be 64 lower-case hex digits"),
        ("\"sig\":\"", "\"sig\":\"00", "sig must be 128 lower-case hex digits"),
    ];
    for (from, to, reason) in cases {
        let broken = body.replacen(from, to, 1);
        assert_ne!(broken, body, "{from} is not in the sample");
        let error = Event::parse(&broken).expect_err(to).to_string();
        assert!(error.contains(reason), "{to}: {error}");
    }
}

#[test]
fn a_signature_of_another_key_or_event_is_refused() {
    let (mut forged, other) = (sample(), Event::sign(&key(2), 1, 1, &[], ""));
    forged.signature = other.signature;
    assert_eq!(forged.verify_signature(), Err(EventError::Signature));
}

#[test]
fn a_message_that_cannot_be_served_says_what_about() {
    let parse = |text: &str| ClientMessage::parse(text, LIMITS).map(|message| format!("{message:?}"));
    let malformed = |text: &str| matches!(parse(text), Err(MessageError::Malformed(_)));
    let deep = format!("[\"EVENT\",{{\"x\":{}", "[".repeat(100_000));
    for text in ["", "x", "[]", "{}", "[1]", "[\"NOPE\"]", "[\"REQ\"]", "[\"REQ\",\"\"]", "[\"CLOSE\",1]", &deep] {
        assert!(malformed(text), "{} is not malformed", &text[..text.len().min(40)]);
    }
    assert!(malformed(&format!("[\"REQ\",\"{}\",{{}}]", "é".repeat(65))));
    assert!(parse(&format!("[\"REQ\",\"{}\",{{}}]", "é".repeat(64))).is_ok());
    assert!(matches!(parse("[\"REQ\",\"s\"]"), Err(MessageError::Filter { .. })));
    assert!(matches!(parse("[\"REQ\",\"s\",{},{},{},{}]"), Err(MessageError::Filter { .. })));
    let id = "0".repeat(64);
    let named = parse(&format!("[\"EVENT\",{{\"id\":\"{id}\",\"kind\":\"x\"}}]"));
    assert!(matches!(named, Err(MessageError::Event { .. })), "{named:?}");
    let whole = String::from_utf8(sample().body().to_vec()).expect("UTF-8");
    let longer = parse(&format!("[\"EVENT\",{whole},1]"));
    assert!(matches!(longer, Err(MessageError::Event { .. })), "{longer:?}");
    assert!(matches!(parse("[\"REQ\",\"s\",{}]]"), Err(MessageError::Filter { .. })));
}

#[test]
fn a_filter_is_taken_or_refused_as_a_whole() {
    let parse = |text: &str| Filter::parse(text, LIMITS.filter);
    let hex = "ab".repeat(32);
    let filter = parse(&format!(
        "{{\"kinds\":[7,1,7],\"#e\":[\"{hex}\",\"x\"],\"authors\":[\"{hex}\"],\"limit\":3,\"search\":\"\\n\"}}"
    ));
    let filter = filter.expect("a good filter");
    assert_eq!(filter.kinds, Some(vec![1, 7]));
    assert_eq!(Filter::parse(&filter.to_json(), LIMITS.filter).expect("our own JSON"), filter);
    let many = format!("{{\"kinds\":[{}0]}}", "1,".repeat(100));
    for bad in [
        "[]",
        "{\"kinds\":1}",
        "{\"kinds\":[65536]}",
        "{\"kinds\":[-1]}",
        "{\"since\":\"1\"}",
        "{\"ids\":[\"ab\"]}",
        "{\"authors\":[1]}",
        "{\"#tag\":[]}",
        "{\"#1\":[]}",
        "{\"search\":[\"x\"]}",
        "{\"searches\":\"x\"}",
        "{\"#a\":[],\"#b\":[],\"#c\":[],\"#d\":[]}",
        "{\"kinds\":[1],\"kinds\":[2]}",
        "{\"#e\":[\"a\"],\"#e\":[\"b\"]}",
        &many,
    ] {
        assert!(parse(bad).is_err(), "{} must be refused", &bad[..bad.len().min(60)]);
    }
}

#[test]
fn answers_escape_what_clients_chose() {
    let subscription = "a\"\\\u{1}";
    for text in [message::eose(subscription, Completeness::More), message::closed(subscription, "error: \"x\"")] {
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value[1].as_str(), Some(subscription));
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in ".{0,200}") {
        let _ = ClientMessage::parse(&text, LIMITS);
        let _ = Event::parse(&text);
        let _ = Filter::parse(&text, LIMITS.filter);
    }

    #[test]
    fn text_like_json_is_a_value_exactly_when_serde_says_so(text in r#"([\[\]{},:"]|\\u[0-9a-f]{4}|\\.|[a1 -]|true|null|-?1(\.5)?(e2)?){0,12}"#) {
        let mut cursor = Cursor::new(&text);
        let ours = cursor.skip_value().and_then(|_| cursor.end()).is_ok();
        // serde checks what escapes mean even where a value is dropped; the scanner does so where it keeps one.
        if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
            prop_assert!(ours, "serde takes {text}");
        }
        if ours && !text.contains('\\') && !text.contains('1') {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "serde refuses {text}");
        }
    }

    #[test]
    fn a_quoted_text_is_what_serde_reads_back(text in any::<String>()) {
        prop_assert_eq!(serde_json::from_str::<String>(&quote(&text)).expect("JSON"), text);
    }

    #[test]
    fn an_event_survives_signing_storing_and_reading(
        content in any::<String>(),
        tags in proptest::collection::vec(proptest::collection::vec(any::<String>(), 0..4), 0..5),
        kind in any::<u16>(),
        created_at in any::<u64>(),
    ) {
        let event = Event::sign(&key(3), created_at, kind, &tags, &content);
        let read = Event::parse(std::str::from_utf8(event.body()).expect("UTF-8")).expect("our own event");
        prop_assert_eq!(read.tags(), tags);
        prop_assert_eq!(read.content(), content);
        prop_assert_eq!(read.view().index_tags.collect::<Vec<_>>(), event.view().index_tags.collect::<Vec<_>>());
        prop_assert!(read.verify_signature().is_ok());
    }
}
