//! What waits to be sent to one client: bounded, and never waited for.
//!
//! The writer, live delivery and queries all put frames here and go on; the connection's own task
//! takes them out in batches, one system call for many frames. A client that lets more than
//! `max_bytes` pile up is closed as too slow.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// What a client that is given much room has to read before its queries rest.
const HIGH_WATER_BYTES: usize = 1 << 20;

/// One message to a client. Event bodies are shared between all who receive them.
#[derive(Debug, Clone)]
pub enum Frame {
    Text(String),
    /// `prefix` is `["EVENT","<subscription>",`; the body and a `]` follow.
    Event {
        prefix: Arc<str>,
        body: Bytes,
    },
}

impl Frame {
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Event { prefix, body } => prefix.len() + body.len() + 1,
        }
    }

    pub fn into_message(self) -> Message {
        match self {
            Self::Text(text) => Message::text(text),
            Self::Event { prefix, body } => {
                let mut whole = Vec::with_capacity(prefix.len() + body.len() + 1);
                whole.extend_from_slice(prefix.as_bytes());
                whole.extend_from_slice(&body);
                whole.push(b']');
                // Bodies are only ever made by `Event`, from text.
                Utf8Bytes::try_from(whole).map_or_else(|_| Message::text(""), Message::Text)
            }
        }
    }
}

/// Why a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// More waits for it than the relay keeps.
    TooSlow,
    /// It sent what no WebSocket client may send.
    Misbehaved,
    /// The operator does not want it.
    Blocked,
    Shutdown,
}

#[derive(Debug)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Frame>,
    bytes: usize,
    closing: Option<Closing>,
}

impl Outbox {
    pub fn new(max_bytes: usize) -> Self {
        Self { waiting: Mutex::default(), wake: Notify::new(), max_bytes }
    }

    /// Queues a frame and says how many bytes wait now. When the client is too far behind, everything
    /// is dropped and the connection ends.
    pub fn push(&self, frame: Frame) -> usize {
        self.push_all([frame])
    }

    /// The same for several, of which the client's task hears once.
    pub fn push_all(&self, frames: impl IntoIterator<Item = Frame>) -> usize {
        let mut waiting = self.lock();
        for frame in frames {
            if waiting.closing.is_some() {
                return 0;
            }
            waiting.bytes += frame.len();
            if waiting.bytes > self.max_bytes {
                *waiting = Waiting { closing: Some(Closing::TooSlow), ..Waiting::default() };
                break;
            }
            waiting.frames.push_back(frame);
        }
        let bytes = waiting.bytes;
        drop(waiting);
        self.wake.notify_one();
        bytes
    }

    pub fn text(&self, text: String) {
        self.push(Frame::Text(text));
    }

    /// Ends the connection once what waits has been sent.
    pub fn close(&self, closing: Closing) {
        self.lock().closing.get_or_insert(closing);
        self.wake.notify_one();
    }

    /// With so many bytes waiting no stored events are added: queries alone never make a client too slow.
    pub fn high_water(&self) -> usize {
        HIGH_WATER_BYTES.min(self.max_bytes / 2)
    }

    /// Bytes that wait to be sent.
    pub fn pending_bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Moves up to about `max_bytes` of frames into `batch`; waits while there are none.
    /// `Some` when the connection is to end after this batch.
    pub async fn take(&self, batch: &mut Vec<Frame>, max_bytes: usize) -> Option<Closing> {
        loop {
            {
                let mut waiting = self.lock();
                waiting.drain_into(batch, max_bytes);
                if waiting.frames.is_empty() && waiting.closing.is_some() {
                    return waiting.closing;
                }
                if !batch.is_empty() {
                    return None;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Resolves when the client was found too slow, even while a write to it is stuck.
    pub async fn overflowed(&self) {
        loop {
            if self.lock().closing == Some(Closing::TooSlow) {
                return;
            }
            self.wake.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock, and the queue is whole at every step.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn drain_into(&mut self, batch: &mut Vec<Frame>, max_bytes: usize) {
        let mut taken = 0;
        while taken < max_bytes
            && let Some(frame) = self.frames.pop_front()
        {
            taken += frame.len();
            batch.push(frame);
        }
        self.bytes -= taken;
        if self.frames.is_empty() && self.frames.capacity() > 64 {
            // An idle connection should not keep the room of its busiest moment.
            self.frames = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_falls_behind_is_closed_and_its_frames_dropped() {
        let outbox = Outbox::new(10);
        outbox.text("12345".to_owned());
        outbox.text("67890".to_owned());
        assert_eq!(outbox.pending_bytes(), 10);
        outbox.text("x".to_owned());
        let mut batch = Vec::new();
        assert_eq!(outbox.take(&mut batch, 100).await, Some(Closing::TooSlow));
        assert!(batch.is_empty());
    }

    #[tokio::test]
    async fn several_frames_wait_in_order_and_are_bounded_together() {
        let outbox = Outbox::new(10);
        let text = |text: &str| Frame::Text(text.to_owned());
        assert_eq!(outbox.push_all([text("123"), text("456")]), 6);
        let mut batch = Vec::new();
        assert_eq!(outbox.take(&mut batch, 100).await, None);
        let taken: Vec<_> = batch.drain(..).map(|frame| frame.into_message().to_string()).collect();
        assert_eq!(taken, ["123", "456"]);
        outbox.push_all([text("12345"), text("67890"), text("x"), text("y")]);
        assert_eq!(outbox.take(&mut batch, 100).await, Some(Closing::TooSlow));
    }

    #[tokio::test]
    async fn what_waits_is_sent_before_a_shutdown() {
        let outbox = Outbox::new(10);
        outbox.text("12345".to_owned());
        outbox.close(Closing::Shutdown);
        let mut batch = Vec::new();
        assert_eq!(outbox.take(&mut batch, 100).await, Some(Closing::Shutdown));
        assert_eq!(batch.len(), 1);
    }
}
