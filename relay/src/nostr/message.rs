//! The messages of NIP-01 and NIP-42 between a client and a relay.

use super::event::{Event, EventError, EventId};
use super::filter::{Filter, FilterError, FilterLimits};
use super::json::{Cursor, JsonError, quote};

/// Longest subscription id, in characters (NIP-01).
const MAX_SUBSCRIPTION_ID: usize = 64;

/// What a client says.
#[derive(Debug)]
pub enum ClientMessage {
    Event(Event),
    Req { subscription: String, filters: Vec<Filter> },
    Close { subscription: String },
    Auth(Event),
}

/// A message that cannot be served, with as much of it as an answer needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Answered by NOTICE: nothing says what the message was about.
    #[error("{0}")]
    Malformed(String),
    /// Answered by OK false.
    #[error("{error}")]
    Event { id: EventId, error: EventError },
    /// Answered by CLOSED.
    #[error("{error}")]
    Filter { subscription: String, error: String },
}

impl From<JsonError> for MessageError {
    fn from(error: JsonError) -> Self {
        Self::Malformed(format!("not a valid message: {error}"))
    }
}

/// Bounds on what one message may hold.
#[derive(Debug, Clone, Copy)]
pub struct MessageLimits {
    pub max_filters: usize,
    pub filter: FilterLimits,
}

impl ClientMessage {
    pub fn parse(text: &str, limits: MessageLimits) -> Result<Self, MessageError> {
        let mut cursor = Cursor::new(text);
        cursor.expect(b'[', "expected an array")?;
        let verb = cursor.string()?;
        let message = match verb.raw {
            "EVENT" => Self::Event(read_event(&mut cursor)?),
            "REQ" => read_req(&mut cursor, limits)?,
            "CLOSE" => Self::Close { subscription: read_subscription(&mut cursor)? },
            "AUTH" => Self::Auth(read_event(&mut cursor)?),
            unknown => {
                let shown: String = unknown.chars().take(32).collect();
                return Err(MessageError::Malformed(format!("unknown verb {shown}")));
            }
        };
        match cursor.expect(b']', "expected ]").and_then(|()| cursor.end()) {
            Ok(()) => Ok(message),
            Err(error) => Err(message.spoilt(error)),
        }
    }

    /// The refusal of a message that was good until its end.
    fn spoilt(self, error: JsonError) -> MessageError {
        match self {
            Self::Event(event) | Self::Auth(event) => MessageError::Event { id: event.id, error: error.into() },
            Self::Req { subscription, .. } => MessageError::Filter { subscription, error: error.to_string() },
            Self::Close { .. } => error.into(),
        }
    }
}

fn read_event(cursor: &mut Cursor<'_>) -> Result<Event, MessageError> {
    cursor.expect(b',', "expected an event")?;
    let start = cursor.clone();
    Event::read(cursor).map_err(|error| match claimed_id(start) {
        Some(id) => MessageError::Event { id, error },
        None => MessageError::Malformed(format!("not a valid event: {error}")),
    })
}

/// The id that a broken event gives itself, so that the answer can name it.
fn claimed_id(mut cursor: Cursor<'_>) -> Option<EventId> {
    let mut id = None;
    // An error after the id was seen is the one already being reported.
    let _ = cursor.object::<JsonError>(|key, cursor| {
        let value = cursor.skip_value()?;
        if key.raw == "id" && id.is_none() {
            id = EventId::from_hex(value.trim_matches('"'));
        }
        Ok(())
    });
    id
}

fn read_req(cursor: &mut Cursor<'_>, limits: MessageLimits) -> Result<ClientMessage, MessageError> {
    let subscription = read_subscription(cursor)?;
    let refuse = |error: String| MessageError::Filter { subscription: subscription.clone(), error };
    let mut filters = Vec::new();
    while cursor.take(b',') {
        if filters.len() == limits.max_filters {
            return Err(refuse(format!("a REQ may hold {} filters at most", limits.max_filters)));
        }
        let filter = Filter::read(cursor, limits.filter).map_err(|error: FilterError| refuse(error.to_string()))?;
        filters.push(filter);
    }
    if filters.is_empty() {
        return Err(refuse("a REQ needs a filter".to_owned()));
    }
    Ok(ClientMessage::Req { subscription, filters })
}

fn read_subscription(cursor: &mut Cursor<'_>) -> Result<String, MessageError> {
    cursor.expect(b',', "expected a subscription id")?;
    let id = cursor.string()?.decode()?.into_owned();
    match id.chars().count() {
        1..=MAX_SUBSCRIPTION_ID => Ok(id),
        _ => Err(MessageError::Malformed(format!("a subscription id has 1 to {MAX_SUBSCRIPTION_ID} characters"))),
    }
}

/// `["OK",id,accepted,text]`; `text` starts with a machine prefix unless empty.
pub fn ok(id: &EventId, accepted: bool, text: &str) -> String {
    format!("[\"OK\",\"{id}\",{accepted},{}]", quote(text))
}

pub fn eose(subscription: &str) -> String {
    format!("[\"EOSE\",{}]", quote(subscription))
}

/// `["CLOSED",subscription,text]`; `text` starts with a machine prefix.
pub fn closed(subscription: &str, text: &str) -> String {
    format!("[\"CLOSED\",{},{}]", quote(subscription), quote(text))
}

pub fn notice(text: &str) -> String {
    format!("[\"NOTICE\",{}]", quote(text))
}

/// `["AUTH",challenge]` (NIP-42).
pub fn auth(challenge: &str) -> String {
    format!("[\"AUTH\",{}]", quote(challenge))
}

/// What stands before an event's body in `["EVENT",subscription,body]`; a `]` ends the message.
pub fn event_prefix(subscription: &str) -> String {
    format!("[\"EVENT\",{},", quote(subscription))
}
