//! Frames on their way into a socket: many with one system call.
//!
//! A server's frames are not masked, so a message is its head, what is its own, and a body that is shared with others.
//! Small pieces are put side by side in a buffer of the thread, long ones are written from where they lie. What the
//! socket does not take stays a frame, and is laid out anew when there is room: nothing is copied to be kept.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::deflate::{self, Agreed, STORED_HEAD};
use super::frame::{MAX_CONTROL, Opcode, head_length, write_head};
use crate::outbox::Frame;

/// Bytes laid out for one system call, about.
pub const BATCH_BYTES: usize = 256 * 1024;
/// Longer pieces are written from where they lie; shorter ones are cheaper to copy than to list.
const LONG: usize = 4_096;
/// Pieces that one system call lists.
const MAX_PIECES: usize = 64;
/// Answers to pings that wait at most; a client that sends more without reading gets fewer.
const MAX_PONGS: usize = 32;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, Default)]
pub struct Outflow {
    frames: VecDeque<Outgoing>,
    /// Bytes of the first frame that have left already.
    sent: usize,
    pongs: usize,
}

#[derive(Debug)]
enum Outgoing {
    Plain(Frame),
    /// `bytes` is what the outbox counts it as.
    DeflatedText {
        text: Bytes,
        bytes: usize,
    },
    DeflatedEvent {
        prefix: Arc<str>,
        end: Bytes,
        bytes: usize,
    },
    Control(Opcode, Box<[u8]>),
}

/// What left with one system call.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// As the network counts.
    pub wire_bytes: usize,
    /// As the outbox counts.
    pub outbox_bytes: usize,
}

impl Outflow {
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Queues a message, compressed if that was agreed upon and saves something.
    pub fn push(&mut self, frame: Frame, agreed: Option<Agreed>) {
        let outgoing = match agreed {
            Some(agreed) => Outgoing::compressed(frame, agreed),
            None => Outgoing::Plain(frame),
        };
        self.frames.push_back(outgoing);
    }

    pub fn ping(&mut self) {
        self.frames.push_back(Outgoing::Control(Opcode::Ping, Box::default()));
    }

    pub fn pong(&mut self, payload: &[u8]) {
        if self.pongs < MAX_PONGS {
            self.pongs += 1;
            self.frames.push_back(Outgoing::Control(Opcode::Pong, payload.into()));
        }
    }

    /// Ends with a Close; of what still waits, only a frame that the client has in part is sent before it.
    pub fn close(&mut self, code: Option<u16>, reason: &str) {
        self.frames.truncate(usize::from(self.sent > 0));
        let code = code.map(u16::to_be_bytes);
        let mut payload: Vec<u8> = code.iter().flatten().copied().chain(reason.bytes()).collect();
        payload.truncate(MAX_CONTROL);
        self.frames.push_back(Outgoing::Control(Opcode::Close, payload.into()));
    }

    /// Writes what one system call takes.
    pub fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<Left>> {
        let written = SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            let written = self.write_through(scratch, cx, stream);
            scratch.shrink_to(2 * BATCH_BYTES);
            written
        });
        match ready!(written)? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            wire_bytes => Poll::Ready(Ok(self.leave(wire_bytes))),
        }
    }

    fn write_through<S: AsyncWrite + Unpin>(
        &self,
        scratch: &mut Vec<u8>,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        // Where in the scratch a long piece belongs.
        let mut long: [(usize, &[u8]); MAX_PIECES / 2] = [(0, &[]); MAX_PIECES / 2];
        let (mut longs, mut total) = (0, 0);
        for frame in &self.frames {
            let body = frame.write_front(scratch);
            match long.get_mut(longs) {
                Some(place) if body.len() >= LONG => {
                    *place = (scratch.len(), body);
                    longs += 1;
                    total += body.len();
                }
                _ => scratch.extend_from_slice(body),
            }
            frame.write_back(scratch);
            if longs + 1 == long.len() || total + scratch.len() >= BATCH_BYTES {
                break;
            }
        }
        let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
        let (mut count, mut from) = (0, 0);
        for &(to, body) in &long[..longs] {
            pieces[count] = IoSlice::new(&scratch[from..to]);
            pieces[count + 1] = IoSlice::new(body);
            (count, from) = (count + 2, to);
        }
        if from < scratch.len() {
            pieces[count] = IoSlice::new(&scratch[from..]);
            count += 1;
        }
        let mut pieces = &mut pieces[..count];
        IoSlice::advance_slices(&mut pieces, self.sent);
        match pieces {
            [piece] => Pin::new(stream).poll_write(cx, piece),
            pieces => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    /// Forgets what has left.
    fn leave(&mut self, wire_bytes: usize) -> Left {
        self.sent += wire_bytes;
        let mut outbox_bytes = 0;
        while let Some(length) = self.frames.front().map(Outgoing::wire_bytes)
            && length <= self.sent
            && let Some(frame) = self.frames.pop_front()
        {
            self.sent -= length;
            outbox_bytes += frame.outbox_bytes();
            self.pongs -= usize::from(matches!(frame, Outgoing::Control(Opcode::Pong, _)));
        }
        if self.frames.is_empty() {
            self.frames = VecDeque::new();
        }
        Left { wire_bytes, outbox_bytes }
    }
}

impl Outgoing {
    fn compressed(frame: Frame, agreed: Agreed) -> Self {
        let bytes = frame.bytes();
        if !agreed.suits(bytes) {
            return Self::Plain(frame);
        }
        match frame {
            Frame::Text(text) => match deflate::deflate(&[text.as_bytes()]) {
                Some(text) => Self::DeflatedText { text, bytes },
                None => Self::Plain(Frame::Text(text)),
            },
            Frame::Event { prefix, body, deflated } => {
                let end = match &deflated {
                    Some(deflated) => deflated.of(&body),
                    None => deflate::deflate_end(&body),
                };
                match end {
                    // A stored block has a length of 16 bits; a subscription id has 64 characters.
                    Some(end) if prefix.len() <= usize::from(u16::MAX) => Self::DeflatedEvent { prefix, end, bytes },
                    _ => Self::Plain(Frame::Event { prefix, body, deflated }),
                }
            }
        }
    }

    fn outbox_bytes(&self) -> usize {
        match self {
            Self::Plain(frame) => frame.bytes(),
            Self::DeflatedText { bytes, .. } | Self::DeflatedEvent { bytes, .. } => *bytes,
            Self::Control(..) => 0,
        }
    }

    fn payload_bytes(&self) -> usize {
        match self {
            Self::Plain(frame) => frame.bytes(),
            Self::DeflatedText { text, .. } => text.len(),
            Self::DeflatedEvent { prefix, end, .. } => STORED_HEAD + prefix.len() + end.len(),
            Self::Control(_, payload) => payload.len(),
        }
    }

    fn wire_bytes(&self) -> usize {
        let payload = self.payload_bytes();
        head_length(payload) + payload
    }

    /// Writes what stands before the body, and returns the body.
    fn write_front(&self, out: &mut Vec<u8>) -> &[u8] {
        let length = self.payload_bytes();
        match self {
            Self::Plain(Frame::Text(text)) => {
                write_head(out, Opcode::Text, false, length);
                text.as_bytes()
            }
            Self::Plain(Frame::Event { prefix, body, .. }) => {
                write_head(out, Opcode::Text, false, length);
                out.extend_from_slice(prefix.as_bytes());
                body
            }
            Self::DeflatedText { text, .. } => {
                write_head(out, Opcode::Text, true, length);
                text
            }
            Self::DeflatedEvent { prefix, end, .. } => {
                write_head(out, Opcode::Text, true, length);
                deflate::write_stored_head(out, prefix.len() as u16);
                out.extend_from_slice(prefix.as_bytes());
                end
            }
            Self::Control(opcode, payload) => {
                write_head(out, *opcode, false, length);
                payload
            }
        }
    }

    /// Writes what stands behind the body.
    fn write_back(&self, out: &mut Vec<u8>) {
        if let Self::Plain(Frame::Event { .. }) = self {
            out.push(b']');
        }
    }
}
