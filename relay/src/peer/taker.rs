//! Who takes what a peer was asked for.

use super::error::LinkError;
use crate::nostr::Event;

/// What came.
#[derive(Debug)]
pub enum Found {
    /// Asked for, new, and its id is right; the signature is not checked yet.
    Event(Box<Event>),
    /// Not an event, or not one that was asked for.
    Bad,
}

/// Who gets it.
pub trait Taker: Send {
    /// An error ends the asking.
    fn take(&mut self, found: Found) -> impl Future<Output = Result<(), LinkError>> + Send;
}
