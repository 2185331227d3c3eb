//! What waits to be sent to one client: bounded, and never waited for.
//!
//! The writer, live delivery and queries all put frames here and go on; the connection's own task
//! takes them out in batches, one system call for many frames. A client that lets more than
//! `max_bytes` pile up is closed as too slow.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::websocket::deflate::Deflated;
use crate::websocket::violation::Violation;

/// What a client that is given much room has to read before its queries rest.
const HIGH_WATER_BYTES: usize = 1 << 20;

thread_local! {
    /// Whom to wake when the outermost `Gathering` of this thread ends.
    static GATHERED: RefCell<Option<Vec<Waker>>> = const { RefCell::new(None) };
}

/// One message to a client. Event bodies are shared between all who receive them.
#[derive(Debug, Clone)]
pub enum Frame {
    Text(String),
    /// `prefix` is `["EVENT","<subscription>",`; the body and a `]` follow.
    Event {
        prefix: Arc<str>,
        body: Bytes,
        /// Shared like the body by all who get it compressed; `None` when nobody else gets it.
        deflated: Option<Arc<Deflated>>,
    },
}

impl Frame {
    /// An event for this client only.
    pub fn event(prefix: Arc<str>, body: Bytes) -> Self {
        Self::Event { prefix, body, deflated: None }
    }

    /// Bytes of the message, uncompressed.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Event { prefix, body, .. } => prefix.len() + body.len() + 1,
        }
    }
}

/// Why a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// More waits for it than the relay keeps.
    TooSlow,
    /// It sent what no WebSocket client may send.
    Misbehaved(Violation),
    /// The operator does not want it.
    Blocked,
    Shutdown,
}

#[derive(Debug)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    max_bytes: usize,
    /// Whether the client takes compressed messages.
    compresses: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Frame>,
    /// Of the frames here and of those that were taken but not yet written.
    bytes: usize,
    closing: Option<Closing>,
    /// The connection's task, while it waits for something to send.
    reader: Option<Waker>,
    /// The task waits for its socket: only an end is news to it.
    stuck: bool,
}

impl Outbox {
    pub fn new(max_bytes: usize) -> Self {
        Self { waiting: Mutex::default(), max_bytes, compresses: false }
    }

    pub fn compressing(self, compresses: bool) -> Self {
        Self { compresses, ..self }
    }

    /// Whether the client takes compressed messages.
    pub fn compresses(&self) -> bool {
        self.compresses
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
            waiting.bytes += frame.bytes();
            if waiting.bytes > self.max_bytes {
                waiting.frames = VecDeque::new();
                waiting.bytes = 0;
                waiting.end(Closing::TooSlow);
                return 0;
            }
            waiting.frames.push_back(frame);
        }
        let reader = if waiting.stuck { None } else { waiting.reader.take() };
        let bytes = waiting.bytes;
        drop(waiting);
        if let Some(reader) = reader {
            wake(reader);
        }
        bytes
    }

    pub fn text(&self, text: String) {
        self.push(Frame::Text(text));
    }

    /// Ends the connection once what waits has been sent.
    pub fn close(&self, closing: Closing) {
        self.lock().end(closing);
    }

    /// With so many bytes waiting no stored events are added: queries alone never make a client too slow.
    pub fn high_water(&self) -> usize {
        HIGH_WATER_BYTES.min(self.max_bytes / 2)
    }

    /// Bytes that wait to be sent.
    pub fn pending_bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Hands out frames of about `max_bytes` in all, and remembers the task while there are none.
    /// `Some` when the connection is to end and nothing waits any more.
    pub fn poll_take(&self, cx: &Context<'_>, max_bytes: usize, mut take: impl FnMut(Frame)) -> Poll<Option<Closing>> {
        let mut waiting = self.lock();
        waiting.stuck = false;
        if waiting.frames.is_empty() {
            return match waiting.closing {
                Some(closing) => Poll::Ready(Some(closing)),
                None => {
                    waiting.remember(cx);
                    Poll::Pending
                }
            };
        }
        let mut taken = 0;
        while taken < max_bytes
            && let Some(frame) = waiting.frames.pop_front()
        {
            taken += frame.bytes();
            take(frame);
        }
        if waiting.frames.is_empty() {
            // Most connections say nothing most of the time.
            waiting.frames = VecDeque::new();
        }
        Poll::Ready(None)
    }

    /// Takes note that so many bytes of what was taken have left.
    pub fn written(&self, bytes: usize) {
        let mut waiting = self.lock();
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
    }

    /// Whether the client was found too slow; the task is told if it happens while its socket takes nothing.
    pub fn poll_overflowed(&self, cx: &Context<'_>) -> Poll<()> {
        let mut waiting = self.lock();
        if waiting.closing == Some(Closing::TooSlow) {
            return Poll::Ready(());
        }
        waiting.stuck = true;
        waiting.remember(cx);
        Poll::Pending
    }

    /// Moves up to about `max_bytes` of frames into `batch`, as written; waits while there are none.
    /// `Some` when the connection is to end.
    pub async fn take(&self, batch: &mut Vec<Frame>, max_bytes: usize) -> Option<Closing> {
        let before = batch.len();
        let closing = poll_fn(|cx| self.poll_take(cx, max_bytes, |frame| batch.push(frame))).await;
        self.written(batch[before..].iter().map(Frame::bytes).sum());
        closing
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock, and the queue is whole at every step.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn end(&mut self, closing: Closing) {
        self.closing.get_or_insert(closing);
        if let Some(reader) = self.reader.take() {
            wake(reader);
        }
    }

    fn remember(&mut self, cx: &Context<'_>) {
        match &mut self.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            None => self.reader = Some(cx.waker().clone()),
        }
    }
}

/// While it lives, no connection is woken by this thread for what is pushed: each is woken once when it ends.
/// So a group of events costs a client one wake-up and one system call. Not to be held for long.
#[derive(Debug)]
#[must_use = "wakes everybody when dropped"]
pub struct Gathering {
    outermost: bool,
    /// Bound to its thread.
    _here: PhantomData<*const ()>,
}

impl Gathering {
    pub fn start() -> Self {
        let outermost = GATHERED.with_borrow_mut(|gathered| match gathered {
            Some(_) => false,
            None => {
                *gathered = Some(Vec::new());
                true
            }
        });
        Self { outermost, _here: PhantomData }
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        if self.outermost {
            let gathered = GATHERED.take();
            gathered.into_iter().flatten().for_each(Waker::wake);
        }
    }
}

fn wake(waker: Waker) {
    let at_once = GATHERED.with_borrow_mut(|gathered| match gathered {
        Some(gathered) => {
            gathered.push(waker);
            None
        }
        None => Some(waker),
    });
    if let Some(waker) = at_once {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

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
        assert!(
            matches!(batch.as_slice(), [Frame::Text(first), Frame::Text(second)] if first == "123" && second == "456")
        );
        outbox.push_all([text("12345"), text("67890"), text("x"), text("y")]);
        batch.clear();
        assert_eq!(outbox.take(&mut batch, 100).await, Some(Closing::TooSlow));
    }

    #[tokio::test]
    async fn what_waits_is_sent_before_a_shutdown() {
        let outbox = Outbox::new(10);
        outbox.text("12345".to_owned());
        outbox.close(Closing::Shutdown);
        let mut batch = Vec::new();
        assert_eq!(outbox.take(&mut batch, 100).await, None);
        assert_eq!(batch.len(), 1);
        assert_eq!(outbox.take(&mut batch, 100).await, Some(Closing::Shutdown));
    }

    #[test]
    fn what_was_taken_counts_until_it_is_written() {
        let outbox = Outbox::new(10);
        let cx = Context::from_waker(Waker::noop());
        outbox.text("12345".to_owned());
        assert_eq!(outbox.poll_take(&cx, 100, drop), Poll::Ready(None));
        assert_eq!(outbox.pending_bytes(), 5);
        assert_eq!(outbox.poll_overflowed(&cx), Poll::Pending);
        outbox.text("123456".to_owned());
        assert_eq!(outbox.poll_overflowed(&cx), Poll::Ready(()));
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_group_of_frames_wakes_a_connection_once_and_one_that_is_stuck_never() {
        let (outbox, count) = (Outbox::new(10), Arc::new(Count::default()));
        let waker = Waker::from(count.clone());
        let (cx, woken) = (Context::from_waker(&waker), || count.0.load(Ordering::Relaxed));
        assert_eq!(outbox.poll_take(&cx, 100, drop), Poll::Pending);
        let (outer, inner) = (Gathering::start(), Gathering::start());
        outbox.text("1".to_owned());
        outbox.text("2".to_owned());
        drop(inner);
        assert_eq!(woken(), 0);
        drop(outer);
        assert_eq!(woken(), 1);
        outbox.text("3".to_owned());
        assert_eq!(woken(), 1, "it was told already");
        assert_eq!(outbox.poll_overflowed(&cx), Poll::Pending);
        outbox.text("4".to_owned());
        assert_eq!(woken(), 1, "it waits for its socket");
        outbox.text("too much".to_owned());
        assert_eq!(woken(), 2);
    }
}
