//! What relays say, told apart by how a message begins: parsing JSON would cost the client more than the relay.

use memchr::memmem;

/// A message from a relay, in the compact form that relays write.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    Event { subscription: &'a str, body: &'a str },
    Ok { id: &'a str, accepted: bool, text: &'a str },
    Eose,
    Count { count: u64 },
    Closed { text: &'a str },
    Notice { text: &'a str },
    Auth { challenge: &'a str },
    Other,
}

/// Looks at the beginning of a message. Strings are given as they stand, escapes and all.
pub fn read(message: &str) -> Incoming<'_> {
    read_known(message).unwrap_or(Incoming::Other)
}

fn read_known(message: &str) -> Option<Incoming<'_>> {
    let (verb, rest) = message.strip_prefix("[\"")?.split_once("\",")?;
    match verb {
        "EVENT" => {
            let (subscription, rest) = rest.strip_prefix('"')?.split_once("\",")?;
            Some(Incoming::Event { subscription, body: rest.strip_suffix(']')? })
        }
        "OK" => {
            let (id, rest) = rest.strip_prefix('"')?.split_once("\",")?;
            let (accepted, text) = rest.strip_suffix(']')?.split_once(',')?;
            Some(Incoming::Ok { id, accepted: accepted == "true", text: text.trim_matches('"') })
        }
        "EOSE" => Some(Incoming::Eose),
        "COUNT" => {
            let (_, after) = rest.split_once("\"count\":")?;
            let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
            Some(Incoming::Count { count: digits.parse().ok()? })
        }
        "CLOSED" => {
            let (_, text) = rest.strip_suffix("\"]")?.split_once("\",\"")?;
            Some(Incoming::Closed { text })
        }
        "NOTICE" => Some(Incoming::Notice { text: quoted(rest)? }),
        "AUTH" => Some(Incoming::Auth { challenge: quoted(rest)? }),
        _ => None,
    }
}

fn quoted(rest: &str) -> Option<&str> {
    rest.strip_prefix('"')?.strip_suffix("\"]")
}

/// The id of an event, wherever its members stand. Inside of strings the pattern would be escaped.
pub fn event_id(body: &str) -> Option<[u8; 32]> {
    let at = memmem::find(body.as_bytes(), b"\"id\":\"")? + 6;
    crate::nostr::hex::decode(body.get(at..at + 64)?)
}

/// When an event says that it was made, in seconds.
pub fn created_at(body: &str) -> Option<u64> {
    const NAME: &[u8] = b"\"created_at\":";
    let rest = body.get(memmem::find(body.as_bytes(), NAME)? + NAME.len()..)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The values of the tags with this name, up to the first quote.
pub fn tag_values<'a>(body: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let start = format!("[\"{name}\",\"");
    let finder = memmem::Finder::new(&start).into_owned();
    let mut rest = body;
    std::iter::from_fn(move || {
        let at = finder.find(rest.as_bytes())? + finder.needle().len();
        let (value, after) = rest.get(at..)?.split_once('"')?;
        rest = after;
        Some(value)
    })
}

/// The first value of the first tag with this name.
pub fn tag_value<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    tag_values(body, name).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_told_apart() {
        let event = Incoming::Event { subscription: "q", body: "{\"a\":[]}" };
        let refused = Incoming::Ok { id: "ab", accepted: false, text: "invalid: no, really" };
        let cases = [
            ("[\"EVENT\",\"q\",{\"a\":[]}]", event),
            ("[\"OK\",\"ab\",true,\"\"]", Incoming::Ok { id: "ab", accepted: true, text: "" }),
            ("[\"OK\",\"ab\",false,\"invalid: no, really\"]", refused),
            ("[\"EOSE\",\"q\"]", Incoming::Eose),
            ("[\"COUNT\",\"q\",{\"count\":12,\"approximate\":false}]", Incoming::Count { count: 12 }),
            ("[\"CLOSED\",\"q\",\"error: why\"]", Incoming::Closed { text: "error: why" }),
            ("[\"NOTICE\",\"hm\"]", Incoming::Notice { text: "hm" }),
            ("[\"AUTH\",\"c0\"]", Incoming::Auth { challenge: "c0" }),
            ("[]", Incoming::Other),
            ("[\"EVENT\",\"q\"", Incoming::Other),
        ];
        for (message, expected) in cases {
            assert_eq!(read(message), expected, "{message}");
        }
    }

    #[test]
    fn tags_are_found_outside_of_strings_only() {
        let body = r#"{"content":"[\"e\",\"no\"]","id":"00","tags":[["e","one"],["p","x"],["e","two","hint"]]}"#;
        assert_eq!(tag_values(body, "e").collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(tag_value(body, "d"), None);
        assert_eq!(event_id(body), None);
        assert_eq!(created_at("{\"content\":\"\\\"created_at\\\":1\",\"created_at\":22,\"kind\":1}"), Some(22));
    }
}
