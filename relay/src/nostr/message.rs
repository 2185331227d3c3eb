//! The messages of NIP-01, NIP-42, NIP-45, NIP-67 and NIP-77 between a client and a relay.

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
    Count { query: String, filters: Vec<Filter> },
    Close { subscription: String },
    Auth(Event),
    NegOpen { subscription: String, filter: Filter, message: Vec<u8> },
    NegMsg { subscription: String, message: Vec<u8> },
    NegClose { subscription: String },
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
    /// Answered by NEG-ERR.
    #[error("{error}")]
    Negentropy { subscription: String, error: String },
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
            "REQ" => {
                let (subscription, filters) = read_question(&mut cursor, limits, "REQ")?;
                Self::Req { subscription, filters }
            }
            "COUNT" => {
                let (query, filters) = read_question(&mut cursor, limits, "COUNT")?;
                Self::Count { query, filters }
            }
            "CLOSE" => Self::Close { subscription: read_subscription(&mut cursor)? },
            "AUTH" => Self::Auth(read_event(&mut cursor)?),
            "NEG-OPEN" => read_neg_open(&mut cursor, limits)?,
            "NEG-MSG" => read_neg_msg(&mut cursor)?,
            "NEG-CLOSE" => Self::NegClose { subscription: read_subscription(&mut cursor)? },
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
            Self::Req { subscription, .. } | Self::Count { query: subscription, .. } => {
                MessageError::Filter { subscription, error: error.to_string() }
            }
            Self::NegOpen { subscription, .. } | Self::NegMsg { subscription, .. } => {
                MessageError::Negentropy { subscription, error: error.to_string() }
            }
            Self::Close { .. } | Self::NegClose { .. } => error.into(),
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

/// What follows the verb of a REQ or COUNT.
fn read_question(
    cursor: &mut Cursor<'_>,
    limits: MessageLimits,
    verb: &str,
) -> Result<(String, Vec<Filter>), MessageError> {
    let subscription = read_subscription(cursor)?;
    let refuse = |error: String| MessageError::Filter { subscription: subscription.clone(), error };
    let mut filters = Vec::new();
    while cursor.take(b',') {
        if filters.len() == limits.max_filters {
            return Err(refuse(format!("a {verb} may hold {} filters at most", limits.max_filters)));
        }
        let filter = Filter::read(cursor, limits.filter).map_err(|error: FilterError| refuse(error.to_string()))?;
        filters.push(filter);
    }
    if filters.is_empty() {
        return Err(refuse(format!("a {verb} needs a filter")));
    }
    Ok((subscription, filters))
}

fn read_neg_open(cursor: &mut Cursor<'_>, limits: MessageLimits) -> Result<ClientMessage, MessageError> {
    let subscription = read_subscription(cursor)?;
    let refuse = |error: String| MessageError::Negentropy { subscription: subscription.clone(), error };
    cursor.expect(b',', "expected a filter").map_err(|error| refuse(error.to_string()))?;
    let filter = Filter::read(cursor, limits.filter).map_err(|error| refuse(error.to_string()))?;
    let message = read_negentropy(cursor).map_err(refuse)?;
    Ok(ClientMessage::NegOpen { subscription, filter, message })
}

fn read_neg_msg(cursor: &mut Cursor<'_>) -> Result<ClientMessage, MessageError> {
    let subscription = read_subscription(cursor)?;
    match read_negentropy(cursor) {
        Ok(message) => Ok(ClientMessage::NegMsg { subscription, message }),
        Err(error) => Err(MessageError::Negentropy { subscription, error }),
    }
}

/// A negentropy message, which is text here by being hex.
fn read_negentropy(cursor: &mut Cursor<'_>) -> Result<Vec<u8>, String> {
    let hex = cursor.expect(b',', "expected a message").and_then(|()| cursor.string()).map_err(|e| e.to_string())?;
    const_hex::decode(hex.raw).map_err(|_| "a negentropy message is hex".to_owned())
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

/// What a relay knows of the stored events that it did not send (NIP-67).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// There are none.
    Finish,
    /// There are some.
    More,
    /// It has not looked.
    Unknown,
}

/// `["EOSE",subscription]`, with NIP-67's hint where there is one.
pub fn eose(subscription: &str, completeness: Completeness) -> String {
    let hint = match completeness {
        Completeness::Finish => ",[\"finish\"]",
        Completeness::More => ",[\"more\"]",
        Completeness::Unknown => "",
    };
    format!("[\"EOSE\",{}{hint}]", quote(subscription))
}

/// How many events match (NIP-45).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    pub count: u64,
    /// Whether there are more than were counted.
    pub approximate: bool,
    /// The registers of a HyperLogLog value, in hex.
    pub hll: Option<String>,
}

/// `["COUNT",query,{"count":n}]` (NIP-45).
pub fn count(query: &str, tally: &Tally) -> String {
    let approximate = if tally.approximate { ",\"approximate\":true" } else { "" };
    let hll = tally.hll.as_ref().map_or(String::new(), |hex| format!(",\"hll\":\"{hex}\""));
    format!("[\"COUNT\",{},{{\"count\":{}{approximate}{hll}}}]", quote(query), tally.count)
}

/// `["CLOSED",subscription,text]`; `text` starts with a machine prefix.
pub fn closed(subscription: &str, text: &str) -> String {
    format!("[\"CLOSED\",{},{}]", quote(subscription), quote(text))
}

/// `["REQ",subscription,filter]`, as a client says it.
pub fn req(subscription: &str, filter: &Filter) -> String {
    format!("[\"REQ\",{},{}]", quote(subscription), filter.to_json())
}

/// `["CLOSE",subscription]`, as a client says it.
pub fn close(subscription: &str) -> String {
    format!("[\"CLOSE\",{}]", quote(subscription))
}

/// `["NEG-OPEN",subscription,filter,message]` (NIP-77); the message is hex.
pub fn neg_open(subscription: &str, filter: &Filter, message: &str) -> String {
    format!("[\"NEG-OPEN\",{},{},\"{message}\"]", quote(subscription), filter.to_json())
}

/// `["NEG-MSG",subscription,message]` (NIP-77); the message is hex.
pub fn neg_msg(subscription: &str, message: &str) -> String {
    format!("[\"NEG-MSG\",{},\"{message}\"]", quote(subscription))
}

/// `["NEG-CLOSE",subscription]` (NIP-77).
pub fn neg_close(subscription: &str) -> String {
    format!("[\"NEG-CLOSE\",{}]", quote(subscription))
}

/// `["NEG-ERR",subscription,text]` (NIP-77); `text` starts with a machine prefix.
pub fn neg_err(subscription: &str, text: &str) -> String {
    format!("[\"NEG-ERR\",{},{}]", quote(subscription), quote(text))
}

/// The same with the number of events that there may be.
pub fn neg_err_with(subscription: &str, text: &str, max: u64) -> String {
    format!("[\"NEG-ERR\",{},{},{max}]", quote(subscription), quote(text))
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
