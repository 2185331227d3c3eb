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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;

    use super::*;
    use crate::websocket::deflate::Deflated;
    use crate::websocket::inflate;

    /// A socket that takes now few bytes, now many, and sometimes none.
    struct Narrow {
        taken: Vec<u8>,
        rooms: Vec<usize>,
        calls: usize,
    }

    impl Narrow {
        fn take(&mut self, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
            let mut room = self.rooms[self.calls % self.rooms.len()];
            self.calls += 1;
            let before = self.taken.len();
            for piece in pieces {
                let fits = room.min(piece.len());
                self.taken.extend_from_slice(&piece[..fits]);
                room -= fits;
            }
            match self.taken.len() - before {
                0 => Poll::Pending,
                written => Poll::Ready(Ok(written)),
            }
        }
    }

    impl AsyncWrite for Narrow {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.get_mut().take(&[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.get_mut().take(pieces)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn frames() -> impl Strategy<Value = Vec<Frame>> {
        let length = || prop_oneof![0..300_usize, 4_000..4_200_usize, 65_400..65_600_usize];
        // Digits that do not repeat, as those of keys, or hardly anything else.
        let body = (length(), any::<bool>(), any::<u32>()).prop_map(|(length, dull, seed)| {
            let digit = |at: usize| (seed as usize).wrapping_mul(at * at + 7) >> 13;
            let text: String =
                (0..length).map(|at| if dull { 'a' } else { ['x', 'y', 'z', 'w'][digit(at) % 4] }).collect();
            text
        });
        let frame =
            (body, proptest::option::of(("[a-zé]{0,64}", any::<bool>()))).prop_map(|(body, event)| match event {
                None => Frame::Text(body),
                Some((prefix, shared)) => Frame::Event {
                    prefix: prefix.into(),
                    body: body.into(),
                    deflated: shared.then(|| Arc::new(Deflated::default())),
                },
            });
        proptest::collection::vec(frame, 0..12)
    }

    fn text_of(frame: &Frame) -> String {
        match frame {
            Frame::Text(text) => text.clone(),
            Frame::Event { prefix, body, .. } => format!("{prefix}{}]", String::from_utf8_lossy(body)),
        }
    }

    /// The messages in what was written, inflated where they are compressed.
    fn read(mut bytes: &[u8]) -> Vec<String> {
        let mut texts = Vec::new();
        while let [first, short, rest @ ..] = bytes {
            let (length, rest) = match short {
                126 => (usize::from(u16::from_be_bytes(rest[..2].try_into().unwrap())), &rest[2..]),
                127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
                short => (usize::from(*short), rest),
            };
            let (payload, rest) = rest.split_at(length);
            let text = match first {
                0x81 => payload.to_vec(),
                0xc1 => inflate(payload, 1 << 20).unwrap(),
                other => panic!("no text: {other:x}"),
            };
            texts.push(String::from_utf8(text).unwrap());
            bytes = rest;
        }
        assert!(bytes.is_empty());
        texts
    }

    proptest! {
        #[test]
        fn all_messages_arrive_whole_and_in_order_however_little_the_socket_takes(
            frames in frames(),
            rooms in proptest::collection::vec(prop_oneof![Just(0), 1..20_usize, 1_000..400_000_usize], 0..6),
            offer in prop_oneof![Just(None), (8..16_u8).prop_map(Some)],
        ) {
            let offer = offer.map(|bits| format!("permessage-deflate; server_max_window_bits={bits}"));
            let agreed = Agreed::to_offers(offer.as_deref().into_iter());
            let mut outflow = Outflow::default();
            for frame in &frames {
                outflow.push(frame.clone(), agreed);
            }
            // Always some room in the end.
            let rooms = rooms.into_iter().chain([5_000]).collect();
            let mut socket = Narrow { taken: Vec::new(), rooms, calls: 0 };
            let mut cx = Context::from_waker(Waker::noop());
            let mut left = Left::default();
            while !outflow.is_empty() {
                if let Poll::Ready(written) = outflow.poll_write(&mut cx, &mut socket) {
                    let written = written.unwrap();
                    left.wire_bytes += written.wire_bytes;
                    left.outbox_bytes += written.outbox_bytes;
                }
            }
            prop_assert_eq!(read(&socket.taken), frames.iter().map(text_of).collect::<Vec<_>>());
            prop_assert_eq!(left.wire_bytes, socket.taken.len());
            prop_assert_eq!(left.outbox_bytes, frames.iter().map(Frame::bytes).sum::<usize>());
        }
    }

    #[test]
    fn a_close_follows_what_the_client_has_in_part_and_nothing_else() {
        let mut outflow = Outflow::default();
        for text in ["first", "second"] {
            outflow.push(Frame::Text(text.to_owned()), None);
        }
        let mut socket = Narrow { taken: Vec::new(), rooms: vec![3, 100], calls: 0 };
        let mut cx = Context::from_waker(Waker::noop());
        assert!(outflow.poll_write(&mut cx, &mut socket).is_ready());
        outflow.close(Some(1001), "bye");
        assert!(outflow.poll_write(&mut cx, &mut socket).is_ready());
        assert!(outflow.is_empty());
        assert_eq!(socket.taken, b"\x81\x05first\x88\x05\x03\xe9bye");
    }

    #[test]
    fn many_messages_leave_with_one_call_and_a_long_body_is_not_copied() {
        let mut outflow = Outflow::default();
        for number in 0..100 {
            outflow.push(Frame::event("[\"EVENT\",\"s\",".into(), format!("{{\"id\":{number}}}").into()), None);
        }
        outflow.push(Frame::event("p".into(), vec![b'x'; 100_000].into()), None);
        let mut socket = Narrow { taken: Vec::new(), rooms: vec![1 << 20], calls: 0 };
        let mut cx = Context::from_waker(Waker::noop());
        assert!(outflow.poll_write(&mut cx, &mut socket).is_ready());
        assert!(outflow.is_empty());
        assert_eq!(socket.calls, 1);
        assert!(SCRATCH.with_borrow(Vec::capacity) < 50_000);
    }

    #[test]
    fn an_event_is_compressed_once_and_hexadecimal_digits_take_five_bits_at_most() {
        let body: Bytes = (0..4_000_u32)
            .map(|at| b"0123456789abcdef"[(at.wrapping_mul(2_654_435_761) >> 20) as usize % 16])
            .collect();
        let deflated = Arc::new(Deflated::default());
        let first = deflated.of(&body).expect("shorter");
        assert!(first.len() * 8 <= body.len() * 5, "{} of {}", first.len(), body.len());
        assert_eq!(deflated.of(&body).map(|again| again.as_ptr()), Some(first.as_ptr()));
    }
}
