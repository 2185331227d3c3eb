//! What is counted of messages: their verbs, and how the relay's answers begin.

/// Verbs of clients; the last stands for all others.
pub const CLIENT: [&str; 9] = ["EVENT", "REQ", "CLOSE", "AUTH", "COUNT", "NEG-OPEN", "NEG-MSG", "NEG-CLOSE", "other"];
/// Verbs of relays; the last stands for all others.
pub const RELAY: [&str; 10] =
    ["EVENT", "OK", "EOSE", "CLOSED", "NOTICE", "AUTH", "COUNT", "NEG-MSG", "NEG-ERR", "other"];
/// Machine prefixes of refusals (NIP-01, NIP-42); the last stands for all others.
pub const REASONS: [&str; 11] = [
    "invalid",
    "blocked",
    "restricted",
    "auth-required",
    "rate-limited",
    "replaced",
    "deleted",
    "pow",
    "error",
    "mute",
    "other",
];

/// Where the AUTH of a client stands in `CLIENT`.
pub const CLIENT_AUTH: usize = 3;
/// Where an EVENT stands in `RELAY`.
pub const RELAY_EVENT: usize = 0;

/// The place of a message's verb among `verbs`. Whether the rest of the message is any good is not looked at.
pub fn verb(verbs: &[&str], text: &str) -> usize {
    let quoted = text.trim_start().strip_prefix('[').map(str::trim_start).and_then(|rest| rest.strip_prefix('"'));
    place(verbs, quoted.and_then(|rest| rest.split('"').next()).unwrap_or(""))
}

/// What an answer of the relay says of what the client asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// An OK true with `duplicate:`.
    Duplicate,
    /// An OK false or a CLOSED; the place of its reason in `REASONS`.
    Refused(usize),
    Otherwise,
}

/// Reads an answer as `nostr::message` writes it.
pub fn said(text: &str) -> Said {
    if let Some(rest) = text.strip_prefix("[\"OK\",\"") {
        let verdict = rest.split_once("\",").map_or("", |(_, verdict)| verdict);
        return match verdict.strip_prefix("false,\"") {
            Some(why) => Said::Refused(reason(why)),
            None if verdict.starts_with("true,\"duplicate:") => Said::Duplicate,
            None => Said::Otherwise,
        };
    }
    match text.strip_prefix("[\"CLOSED\",") {
        // The subscription's name is the client's, quotes and all; the relay's own text comes last.
        Some(rest) => Said::Refused(rest.rsplit_once(",\"").map_or(REASONS.len() - 1, |(_, why)| reason(why))),
        None => Said::Otherwise,
    }
}

/// Whether this is an OK true.
pub fn is_yes(text: &str) -> bool {
    text.strip_prefix("[\"OK\",\"").and_then(|rest| rest.split_once("\",")).is_some_and(|(_, v)| v.starts_with("true,"))
}

fn reason(why: &str) -> usize {
    place(&REASONS, why.split(':').next().unwrap_or(""))
}

fn place(names: &[&str], name: &str) -> usize {
    names.iter().position(|known| *known == name).unwrap_or(names.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nostr::{EventId, message};

    #[test]
    fn a_verb_is_found_whatever_stands_around_it() {
        let found = |text: &str| CLIENT[verb(&CLIENT, text)];
        assert_eq!(found(r#"["REQ","x",{}]"#), "REQ");
        assert_eq!(found(" [ \"NEG-OPEN\" , \"x\"]"), "NEG-OPEN");
        for other in ["", "[", "[1]", r#"["req"]"#, r#"{"EVENT":1}"#, r#"["EVENTS"]"#] {
            assert_eq!(found(other), "other", "{other}");
        }
    }

    #[test]
    fn answers_are_read_as_they_are_written() {
        let id = EventId([7; 32]);
        let refused = |name: &str| Said::Refused(REASONS.iter().position(|reason| *reason == name).unwrap());
        assert_eq!(said(&message::ok(&id, true, "")), Said::Otherwise);
        assert_eq!(said(&message::ok(&id, true, "duplicate: have this event")), Said::Duplicate);
        assert_eq!(said(&message::ok(&id, false, "rate-limited: slow down")), refused("rate-limited"));
        assert_eq!(said(&message::ok(&id, false, "no prefix")), refused("other"));
        assert_eq!(said(&message::closed("a\",\"b", "auth-required: who are you?")), refused("auth-required"));
        assert_eq!(said(&message::notice("x")), Said::Otherwise);
    }
}
