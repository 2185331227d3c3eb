//! The relay's local control socket: how the command line writes beside a running relay, which is the only writer of
//! its store.
//!
//! A Unix socket, `control.sock` beside the database, that only the relay's user can use. Both sides speak lines of
//! JSON. A client sends a request, the relay answers it with one line, and so on. After an import request every line up
//! to the end is an event, and each is answered by one line, in order: what the relay knows of it once it is on disk.

pub mod client;
pub mod line;
pub mod server;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::negentropy::trees::TreeInfo;
use crate::peer::LinkInfo;

/// Events of one import that may be under way at once.
pub const WINDOW: usize = 1_000;

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(tag = "verb", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// What the relay says of itself.
    Info,
    /// Store the events that follow. Their ids are checked; their signatures are the client's business, who could as
    /// well write to the store himself.
    Import,
    /// Who is connected. Answered by `connections`, then a line for each.
    Monitor,
    /// Every link to another relay.
    Links,
    /// Keep the links that a router file wants for as long as this conversation lasts, in which only further such
    /// requests may follow: they take the place of this one. Answered by the links, again and again. `keep`: how far
    /// each link comes is kept for the next time.
    Route { file: String, keep: bool },
    /// Remove what matches a NIP-01 filter.
    Delete { filter: serde_json::Value },
    /// Give the space of removed events back to the disk.
    Compact,
    /// Copy the store as it is now into a new folder beside it.
    Checkpoint,
    /// The negentropy trees.
    Trees,
    /// Build the tree of this filter anew, or for the first time.
    BuildTree { filter: serde_json::Value },
}

/// What the relay answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Info(Info),
    /// The event is on disk.
    Stored,
    /// It was there before.
    Duplicate,
    /// It is not kept, and why.
    Refused(String),
    /// How many lines follow, a `connection` each.
    Connections(u64),
    Connection(Peer),
    Links(Vec<LinkInfo>),
    /// How many events were removed.
    Deleted(u64),
    Compacted,
    /// Where the copy is. It belongs to who asked for it; the relay's next start removes it.
    Checkpoint(PathBuf),
    Trees(Vec<TreeInfo>),
    /// It is being done.
    Begun,
    /// The request could not be carried out; for an event: nothing is known of it.
    Error(String),
}

/// A running relay.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Info {
    /// Where it listens.
    pub address: SocketAddr,
    /// The key that signs leases and job states, in hex; `None` when the market is off.
    #[serde(rename = "self")]
    pub own: Option<String>,
    pub version: String,
    /// Connections open now.
    pub clients: usize,
    /// Seconds since it listens.
    pub uptime_s: u64,
}

/// A client as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Peer {
    pub id: u64,
    pub address: SocketAddr,
    /// Seconds since it connected.
    pub connected_s: u64,
    /// Keys that it has proved to hold (NIP-42), in hex.
    pub keys: Vec<String>,
    /// Subscriptions that are open.
    pub subscriptions: u64,
    /// Questions that are being answered, or wait for their turn.
    pub queries: u64,
    /// Events that a plugin is judging.
    pub judged: u64,
    /// Bytes that wait for it to read them.
    pub pending_bytes: u64,
}

/// Where the socket of a store in this folder is.
pub fn path(folder: &Path) -> PathBuf {
    folder.join("control.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_have_their_documented_form() {
        let written = |request: &Request| serde_json::to_string(request).unwrap();
        assert_eq!(written(&Request::Import), r#"{"verb":"import"}"#);
        let delete = Request::Delete { filter: serde_json::json!({"kinds": [1]}) };
        assert_eq!(written(&delete), r#"{"verb":"delete","filter":{"kinds":[1]}}"#);
        assert!(serde_json::from_str::<Request>(r#"{"verb":"stop"}"#).is_err());
        assert_eq!(serde_json::to_string(&Answer::Stored).unwrap(), r#""stored""#);
        let refused = Answer::Refused("replaced".to_owned());
        assert_eq!(serde_json::to_string(&refused).unwrap(), r#"{"refused":"replaced"}"#);
    }
}
