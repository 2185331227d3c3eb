//! What is said to a plugin and what it answers, a JSON line each: strfry's protocol, and our questions in its manner.

use std::borrow::Cow;
use std::fmt::Write;

use serde::Deserialize;

use crate::nostr::json::escape_into;
use crate::nostr::{Event, Filter};
use crate::policy::{Question, Source, Verdict, with_prefix};

/// One line of a plugin's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// What it says of the event or question with this id.
    Answer { id: String, verdict: Verdict },
    /// Not JSON: a text that strayed into the output.
    Noise,
    /// JSON, but no answer: the plugin does not do what it should, and cannot be relied on.
    Nonsense(String),
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow)]
    msg: Option<Cow<'a, str>>,
}

/// Reads one line of output, without its end.
pub fn read(line: &[u8]) -> Said {
    match serde_json::from_slice::<Answer>(line) {
        Ok(answer) => {
            let text = answer.msg.unwrap_or_default();
            let verdict = match &*answer.action {
                "accept" => Verdict::Accept,
                "reject" => Verdict::Reject(with_prefix(&text)),
                "shadowReject" => Verdict::Shadow(text.into_owned()),
                unknown => return Said::Nonsense(format!("unknown action {}", shown(unknown))),
            };
            Said::Answer { id: answer.id.into_owned(), verdict }
        }
        Err(error) if error.is_data() => Said::Nonsense(format!("not an answer: {error}")),
        Err(_) => Said::Noise,
    }
}

/// As much of a text as a log needs.
pub fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

/// The line that asks about an event. `now` is in seconds.
pub fn about_event(event: &Event, source: &Source<'_>, now: u64) -> Vec<u8> {
    let mut line = Vec::with_capacity(event.body().len() + 256);
    line.extend_from_slice(b"{\"type\":\"new\",\"event\":");
    line.extend_from_slice(event.body());
    finish(line, source, now)
}

/// The line that asks about a question; the answer to it names `id`.
pub fn about_question(id: &str, question: &Question<'_>, source: &Source<'_>, now: u64) -> Vec<u8> {
    let mut line = String::from("{\"type\":\"req\",\"id\":");
    quote_into(id, &mut line);
    line.push_str(",\"verb\":");
    quote_into(question.verb, &mut line);
    line.push_str(",\"subscription\":");
    quote_into(question.subscription, &mut line);
    line.push_str(",\"filters\":[");
    let filters: Vec<String> = question.filters.iter().map(Filter::to_json).collect();
    line.push_str(&filters.join(","));
    line.push(']');
    finish(line.into_bytes(), source, now)
}

fn finish(mut line: Vec<u8>, source: &Source<'_>, now: u64) -> Vec<u8> {
    let mut rest = String::new();
    // Writing to a String cannot fail.
    let _ = write!(rest, ",\"receivedAt\":{now},\"sourceType\":\"{}\",\"sourceInfo\":", source.kind());
    quote_into(&source.info(), &mut rest);
    if let Some(key) = &source.authed {
        let _ = write!(rest, ",\"authed\":\"{key}\"");
    }
    rest.push_str("}\n");
    line.extend_from_slice(rest.as_bytes());
    line
}

fn quote_into(text: &str, line: &mut String) {
    line.push('"');
    escape_into(text, line);
    line.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::nostr::FilterLimits;
    use crate::policy::Channel;

    fn answer(id: &str, verdict: Verdict) -> Said {
        Said::Answer { id: id.to_owned(), verdict }
    }

    #[test]
    fn answers_are_read_as_strfry_reads_them() {
        let cases = [
            (r#"{"id":"a","action":"accept"}"#, answer("a", Verdict::Accept)),
            (r#"{"msg":"","action":"accept","id":"a","more":{"x":[1]}}"#, answer("a", Verdict::Accept)),
            (r#" {"id":"a","action":"accept","msg":null}"#, answer("a", Verdict::Accept)),
            (r#"{"id":"a","action":"reject","msg":"blocked: no"}"#, answer("a", Verdict::Reject("blocked: no".into()))),
            (r#"{"id":"a","action":"reject","msg":"no"}"#, answer("a", Verdict::Reject("blocked: no".into()))),
            (r#"{"id":"a","action":"shadowReject"}"#, answer("a", Verdict::Shadow(String::new()))),
            (r#"{"id":"\u0061","action":"shadowReject","msg":"\n"}"#, answer("a", Verdict::Shadow("\n".into()))),
            ("", Said::Noise),
            ("starting up", Said::Noise),
            ("{", Said::Noise),
            (r#"{"id":"a","action":"accept"} {}"#, Said::Noise),
        ];
        for (line, said) in cases {
            assert_eq!(read(line.as_bytes()), said, "{line}");
        }
        assert_eq!(read(b"\xff"), Said::Noise);
        for nonsense in ["{}", "7", r#"{"id":"a"}"#, r#"{"id":7,"action":"accept"}"#, r#"{"id":"a","action":"ACCEPT"}"#]
        {
            assert!(matches!(read(nonsense.as_bytes()), Said::Nonsense(_)), "{nonsense}");
        }
    }

    #[test]
    fn an_event_is_asked_about_in_strfrys_words() {
        let key = secp256k1::Keypair::from_secret_bytes([1; 32]).unwrap();
        let event = Event::sign(&key, 100, 1, &[], "a\n\"b\"");
        let address = "[::ffff:10.0.0.7]:4000".parse().unwrap();
        let source = Source { channel: Channel::Client(address), authed: Some(event.pubkey) };
        let line = about_event(&event, &source, 200);
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let body: Value = serde_json::from_slice(event.body()).unwrap();
        let expected = json!({"type": "new", "event": body, "receivedAt": 200, "sourceType": "IP4",
            "sourceInfo": "10.0.0.7", "authed": event.pubkey.to_hex()});
        assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), expected);

        let channels = [
            (Channel::Client("[2001:db8::1]:1".parse().unwrap()), "IP6", "2001:db8::1"),
            (Channel::Import, "Import", ""),
            (Channel::Stored, "Stored", ""),
            (Channel::Stream("wss://a"), "Stream", "wss://a"),
            (Channel::Sync("wss://\"b"), "Sync", "wss://\"b"),
        ];
        for (channel, kind, info) in channels {
            let line: Value = serde_json::from_slice(&about_event(&event, &Source::link(channel), 1)).unwrap();
            assert_eq!((&line["sourceType"], &line["sourceInfo"]), (&json!(kind), &json!(info)));
            assert!(line.get("authed").is_none());
        }
    }

    #[test]
    fn a_question_is_asked_about_in_the_same_manner() {
        let limits = FilterLimits { max_elements: 9, max_tags: 9 };
        let filters = [r##"{"kinds":[4],"#t":["x\ny"]}"##, "{}"].map(|text| Filter::parse(text, limits).unwrap());
        let question = Question { verb: "COUNT", subscription: "s\"", filters: &filters };
        let line = about_question("q7", &question, &Source::link(Channel::Stored), 5);
        let expected = json!({"type": "req", "id": "q7", "verb": "COUNT", "subscription": "s\"",
            "filters": [{"kinds": [4], "#t": ["x\ny"]}, {}], "receivedAt": 5, "sourceType": "Stored", "sourceInfo": ""});
        assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn whatever_a_plugin_says_is_read(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            read(&line);
        }

        #[test]
        fn an_answer_is_read_as_it_was_written(id in ".*", msg in ".*", which in 0_usize..3) {
            let action = ["accept", "reject", "shadowReject"][which];
            let verdict = match which {
                0 => Verdict::Accept,
                1 => Verdict::Reject(with_prefix(&msg)),
                _ => Verdict::Shadow(msg.clone()),
            };
            let line = json!({"id": id, "action": action, "msg": msg}).to_string();
            prop_assert_eq!(read(line.as_bytes()), Said::Answer { id, verdict });
        }

        #[test]
        fn a_spoilt_answer_is_never_taken_for_another(at in 0_usize..60, byte in any::<u8>()) {
            let whole = br#"{"id":"0123456789abcdef","action":"reject","msg":"blocked: no"}"#;
            let mut spoilt = whole.to_vec();
            spoilt[at] = byte;
            if let Said::Answer { id, verdict } = read(&spoilt) && id == "0123456789abcdef" {
                prop_assert_ne!(verdict, Verdict::Accept);
            }
        }
    }
}
