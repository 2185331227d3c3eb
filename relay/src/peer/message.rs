//! What a relay says to its client: NIP-01, NIP-42 and NIP-77.

use crate::nostr::EventId;
use crate::nostr::json::{Cursor, JsonError};

/// One message of a relay. Events stay text: whoever asked for them reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayMessage<'a> {
    Event {
        subscription: String,
        event: &'a str,
    },
    Ok {
        id: EventId,
        accepted: bool,
        text: String,
    },
    Eose {
        subscription: String,
    },
    Closed {
        subscription: String,
        text: String,
    },
    Notice {
        text: String,
    },
    Auth {
        challenge: String,
    },
    /// NIP-77: `message` is hex.
    NegMsg {
        subscription: String,
        message: &'a str,
    },
    NegErr {
        subscription: String,
        text: String,
    },
    /// A verb that no link waits for.
    Other,
}

impl<'a> RelayMessage<'a> {
    /// What stands behind the elements that are known is passed over.
    pub fn parse(text: &'a str) -> Result<Self, JsonError> {
        let mut cursor = Cursor::new(text);
        cursor.expect(b'[', "expected an array")?;
        let verb = cursor.string()?.raw;
        let message = match verb {
            "EVENT" => {
                let subscription = string(&mut cursor)?;
                cursor.expect(b',', "expected an event")?;
                Self::Event { subscription, event: cursor.skip_value()? }
            }
            "OK" => Self::read_ok(&mut cursor)?,
            "EOSE" => Self::Eose { subscription: string(&mut cursor)? },
            "CLOSED" => Self::Closed { subscription: string(&mut cursor)?, text: optional(&mut cursor)? },
            "NOTICE" => Self::Notice { text: string(&mut cursor)? },
            "AUTH" => Self::Auth { challenge: string(&mut cursor)? },
            "NEG-MSG" => {
                let subscription = string(&mut cursor)?;
                cursor.expect(b',', "expected a message")?;
                Self::NegMsg { subscription, message: cursor.string()?.raw }
            }
            "NEG-ERR" => Self::NegErr { subscription: string(&mut cursor)?, text: optional(&mut cursor)? },
            _ => return Ok(Self::Other),
        };
        while cursor.take(b',') {
            cursor.skip_value()?;
        }
        cursor.expect(b']', "expected ]")?;
        cursor.end()?;
        Ok(message)
    }

    fn read_ok(cursor: &mut Cursor<'a>) -> Result<Self, JsonError> {
        let id = string(cursor)?;
        let id = EventId::from_hex(&id).ok_or_else(|| cursor.error("expected an event id"))?;
        cursor.expect(b',', "expected true or false")?;
        let accepted = match cursor.skip_value()? {
            "true" => true,
            "false" => false,
            _ => return Err(cursor.error("expected true or false")),
        };
        Ok(Self::Ok { id, accepted, text: optional(cursor)? })
    }
}

fn string(cursor: &mut Cursor<'_>) -> Result<String, JsonError> {
    cursor.expect(b',', "expected another element")?;
    Ok(cursor.string()?.decode()?.into_owned())
}

/// A text that some relays leave out.
fn optional(cursor: &mut Cursor<'_>) -> Result<String, JsonError> {
    if !cursor.take(b',') {
        return Ok(String::new());
    }
    Ok(cursor.string()?.decode()?.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_relays_say_is_understood() {
        let id = "ab".repeat(32);
        let parse = |text: &str| format!("{:?}", RelayMessage::parse(text));
        let event = RelayMessage::parse(r#" ["EVENT", "s\u0031", {"id": [1, "]"]} ] "#).unwrap();
        assert_eq!(event, RelayMessage::Event { subscription: "s1".to_owned(), event: r#"{"id": [1, "]"]}"# });
        let text = format!(r#"["OK","{id}",false,"blocked: no"]"#);
        let ok = RelayMessage::parse(&text).unwrap();
        let expected = RelayMessage::Ok { id: EventId([0xab; 32]), accepted: false, text: "blocked: no".to_owned() };
        assert_eq!(ok, expected);
        assert!(parse(&format!(r#"["OK","{id}",true]"#)).contains("accepted: true"));
        assert!(parse(r#"["EOSE","x"]"#).contains("Eose"));
        assert!(parse(r#"["CLOSED","x","error: y"]"#).contains("error: y"));
        assert!(parse(r#"["AUTH","c"]"#).contains("Auth"));
        assert!(parse(r#"["NEG-MSG","x","6100"]"#).contains("6100"));
        assert!(parse(r#"["COUNT","x",{"count":1}]"#).contains("Other"));
        for bad in ["", "[]", "{}", r#"["EVENT"]"#, r#"["EVENT","x"]"#, r#"["OK","ab",true,""]"#, r#"["EOSE","x""#] {
            assert!(RelayMessage::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|\\[\"(EVENT|OK|CLOSED|NEG-MSG)\",[\\[\\]{}\",a-f0-9\\\\u]{0,40}") {
            let _ = RelayMessage::parse(&text);
        }
    }
}
