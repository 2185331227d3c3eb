//! Our side when we ask another relay (NIP-77), without I/O: message in, message out, and what has come out so far.
//!
//! ```text
//! NEG-OPEN(first)  ->           the caller sends what `Client::new` returns
//!                  <-  NEG-MSG  `on_message`: `Step` says what differs and what to send next
//! NEG-MSG(next)    ->           ... until there is no next; then NEG-CLOSE
//! ```

use std::collections::HashSet;

use super::message::FrameError;
use super::reconcile::{self, Difference};
use super::span::Span;
use crate::nostr::EventId;

/// Messages after which another side that still asks for more is given up: ten million events that we lack, in the
/// smallest frames, take fewer.
const ROUNDS: u32 = 1 << 18;

/// Ids remembered so that each is told once; beyond, one may be told twice.
const REMEMBERED: usize = 1 << 20;

/// What to do after a message of the other side.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What this message has brought to light. A frame bounds what we need; our own set, what we have.
    pub found: Difference,
    /// What to ask next, in hex; `None`: all is known.
    pub next: Option<String>,
}

#[derive(Debug)]
pub struct Client {
    span: Span,
    frame_bytes: usize,
    rounds: u32,
    /// What was told, as long as it is not too much: other implementations repeat themselves where a frame ends.
    told: HashSet<EventId>,
}

impl Client {
    /// Compares `span` with what the other side has, in messages of up to `frame_bytes` (twice that in hex). Returns the
    /// first of them too, in hex.
    pub fn new(span: Span, frame_bytes: usize) -> (Self, String) {
        let first = const_hex::encode(reconcile::begin(&span));
        (Self { span, frame_bytes, rounds: 0, told: HashSet::new() }, first)
    }

    /// Takes the hex of a NEG-MSG.
    pub fn on_message(&mut self, message: &str) -> Result<Step, FrameError> {
        self.rounds += 1;
        if self.rounds > ROUNDS {
            return Err(FrameError::Endless);
        }
        let message = const_hex::decode(message).map_err(|_| FrameError::NoVersion)?;
        let mut found = Difference::default();
        let next = reconcile::proceed(&self.span, &message, self.frame_bytes, &mut found)?;
        for ids in [&mut found.have, &mut found.need] {
            ids.retain(|id| self.told.len() >= REMEMBERED || self.told.insert(*id));
        }
        Ok(Step { found, next: next.map(const_hex::encode) })
    }

    /// Messages that came so far.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }
}
