//! What a client may not send, and the code of the Close frame that answers it (RFC 6455, section 7.4).

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// Not the WebSocket protocol; the text says what.
    Protocol(&'static str),
    /// A text message, or the reason of a Close, that is not UTF-8.
    NotUtf8,
    /// A compressed message that cannot be inflated.
    NotDeflate,
    /// A message with more bytes than the relay takes, compressed or inflated.
    TooLong,
}

impl Violation {
    pub fn code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::NotUtf8 | Self::NotDeflate => 1007,
            Self::TooLong => 1009,
        }
    }

    pub fn reason(self) -> &'static str {
        match self {
            Self::Protocol(text) => text,
            Self::NotUtf8 => "a message is not UTF-8",
            Self::NotDeflate => "a message cannot be inflated",
            Self::TooLong => "a message is too long",
        }
    }
}
