//! Why a connection to a peer ended, or never came to be. All of it may heal by trying again.

use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error("connecting took longer than {} s", .0.as_secs())]
    ConnectTimeout(Duration),
    #[error("connecting: {0}")]
    Connect(String),
    #[error("the connection broke: {0}")]
    Broken(String),
    /// With the reason that the peer gave, if any.
    #[error("the peer closed the connection{}{}", if .0.is_empty() { "" } else { ": " }, .0)]
    Closed(String),
    #[error("the peer did nothing for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the peer does not accept our key: {0}")]
    Auth(String),
    /// With the text of CLOSED.
    #[error("the peer ended the subscription: {0}")]
    Unsubscribed(String),
    #[error("the peer sent {0} events that are not valid or were not asked for")]
    Untrustworthy(u64),
    #[error("the peer did not answer an event for {} s", .0.as_secs())]
    NoVerdict(Duration),
    #[error("the peer's answer: {0}")]
    Answer(String),
    #[error("the peer refuses our events for now: {0}")]
    Busy(String),
    #[error("the connection is gone")]
    Gone,
    /// Our own store or writer; the peer is not to blame.
    #[error("{0}")]
    Own(String),
}
