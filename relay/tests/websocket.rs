//! The WebSocket decoder against tungstenite, on honest frames and on spoilt ones, in any pieces.

use std::io::Cursor;

use mercato::websocket::{Decoder, Received, inflate, violation::Violation};
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, WebSocket};

const MAX_BYTES: usize = 100_000;

/// What a server hears.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

/// A frame as a client sends it.
#[derive(Debug, Clone)]
struct Frame {
    first: u8,
    mask: [u8; 4],
    payload: Vec<u8>,
}

impl Frame {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.first);
        match self.payload.len() {
            length @ 0..126 => out.push(0x80 | length as u8),
            length @ 126..0x1_0000 => {
                out.push(0x80 | 126);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                out.push(0x80 | 127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(&self.mask);
        out.extend(self.payload.iter().zip(self.mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }
}

/// Feeds the pieces one after another, as a socket would bring them.
fn hear<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Heard>, Option<Violation>) {
    let (mut decoder, mut waiting, mut heard) = (Decoder::new(MAX_BYTES, false), Vec::new(), Vec::new());
    for piece in pieces {
        waiting.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut waiting) {
                Err(violation) => return (heard, Some(violation)),
                Ok((0, None)) => break,
                Ok((taken, received)) => {
                    let received = received.map(|received| match received {
                        Received::Text(text) => Heard::Text(text.to_owned()),
                        Received::Binary(bytes) => Heard::Binary(bytes.to_vec()),
                        Received::Ping(bytes) => Heard::Ping(bytes.to_vec()),
                        Received::Pong => Heard::Pong,
                        Received::Close(code) => Heard::Close(code),
                    });
                    heard.extend(received);
                    if let Some(Heard::Close(_)) = heard.last() {
                        return (heard, None);
                    }
                    waiting.drain(..taken);
                }
            }
        }
    }
    (heard, None)
}

/// The same from tungstenite, and whether it found fault with something.
fn oracle(bytes: &[u8]) -> (Vec<Heard>, bool) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_BYTES))
        .max_frame_size(Some(MAX_BYTES))
        .read_buffer_size(64);
    // What it writes back goes where nobody looks.
    let mut socket = WebSocket::from_raw_socket(Duplex(Cursor::new(bytes.to_vec())), Role::Server, Some(config));
    let mut heard = Vec::new();
    loop {
        use tokio_tungstenite::tungstenite::Error;
        match socket.read() {
            Ok(Message::Text(text)) => heard.push(Heard::Text(text.to_string())),
            Ok(Message::Binary(bytes)) => heard.push(Heard::Binary(bytes.to_vec())),
            Ok(Message::Ping(bytes)) => heard.push(Heard::Ping(bytes.to_vec())),
            Ok(Message::Pong(_)) => heard.push(Heard::Pong),
            Ok(Message::Close(frame)) => {
                heard.push(Heard::Close(frame.map(|frame| frame.code.into())));
                return (heard, false);
            }
            Ok(Message::Frame(_)) => unreachable!("only ever sent"),
            // The bytes end, in a frame or between two.
            Err(Error::Protocol(
                tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )) => return (heard, false),
            Err(_) => return (heard, true),
        }
    }
}

struct Duplex(Cursor<Vec<u8>>);

impl std::io::Read for Duplex {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl std::io::Write for Duplex {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A message in fragments, with control frames between them.
fn message() -> impl Strategy<Value = Vec<Frame>> {
    let text = prop_oneof![
        "[ -~äß€\u{1F980}]{0,40}",
        (120..131_usize).prop_map(|length| "x".repeat(length)),
        (65_530..65_541_usize).prop_map(|length| "y".repeat(length)),
    ];
    let payload = prop_oneof![
        4 => text.prop_map(|text| (1, text.into_bytes())),
        1 => proptest::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| (2, bytes)),
    ];
    let control = (prop_oneof![Just(9_u8), Just(10)], proptest::collection::vec(any::<u8>(), 0..126));
    let cuts = proptest::collection::vec((any::<prop::sample::Index>(), proptest::option::of(control)), 0..4);
    (payload, cuts, any::<[u8; 4]>()).prop_map(|((opcode, payload), cuts, mask)| {
        let mut ends: Vec<_> = cuts.iter().map(|(cut, _)| cut.index(payload.len() + 1)).collect();
        ends.sort_unstable();
        let controls = cuts.into_iter().map(|(_, control)| control);
        let (mut frames, mut from) = (Vec::new(), 0);
        for (at, (to, control)) in ends.into_iter().zip(controls).enumerate() {
            frames.push(Frame { first: if at == 0 { opcode } else { 0 }, mask, payload: payload[from..to].to_vec() });
            frames.extend(control.map(|(opcode, payload)| Frame { first: 0x80 | opcode, mask, payload }));
            from = to;
        }
        let first = 0x80 | if frames.is_empty() { opcode } else { 0 };
        frames.push(Frame { first, mask, payload: payload[from..].to_vec() });
        frames
    })
}

fn bytes_of(messages: &[Vec<Frame>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    messages.iter().flatten().for_each(|frame| frame.write(&mut bytes));
    bytes
}

/// `bytes` in pieces.
fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut from = 0;
    ends.into_iter().map(|to| &bytes[std::mem::replace(&mut from, to)..to]).collect()
}

proptest! {
    #[test]
    fn honest_frames_are_heard_as_tungstenite_hears_them_however_they_are_cut(
        messages in proptest::collection::vec(message(), 0..6),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let bytes = bytes_of(&messages);
        let (heard, violation) = hear(pieces(&bytes, &cuts));
        prop_assert_eq!(violation, None);
        prop_assert_eq!(oracle(&bytes), (heard, false));
    }

    #[test]
    fn spoilt_frames_are_refused_wherever_tungstenite_refuses_them(
        messages in proptest::collection::vec(message(), 1..4),
        spoil in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        in_heads in any::<bool>(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let mut bytes = bytes_of(&messages);
        for (at, byte) in spoil {
            // Most of the bytes are payload; a head is where the faults are.
            let at = if in_heads { at.index(bytes.len().min(14)) } else { at.index(bytes.len()) };
            bytes[at] = byte;
        }
        let (heard, violation) = hear(pieces(&bytes, &cuts));
        let (expected, refused) = oracle(&bytes);
        prop_assert_eq!(&hear([bytes.as_slice()]), &(heard.clone(), violation), "cutting changes nothing");
        let closed = matches!(heard.last(), Some(Heard::Close(_)));
        prop_assert!(violation.is_some() || closed || !refused, "tungstenite refuses it after {:?}", expected);
        // We are stricter: lengths, codes of a Close, and text that goes wrong before its last fragment.
        let said: Vec<_> = heard.iter().filter(|heard| !matches!(heard, Heard::Close(_))).collect();
        let allowed: Vec<_> = expected.iter().filter(|heard| !matches!(heard, Heard::Close(_))).collect();
        match violation.is_some() || closed {
            true => prop_assert!(allowed.starts_with(&said), "{:?} but {:?}", said, allowed),
            false => prop_assert_eq!(said, allowed),
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let whole = hear([bytes.as_slice()]);
        prop_assert_eq!(hear(bytes.chunks(1)), whole);
    }

    #[test]
    fn what_a_peer_compresses_is_inflated_and_no_further_than_allowed(
        text in proptest::collection::vec("[a-f0-9]{1,9}", 0..2_000),
        level in 0..10_u32,
        pieces in 1..5_usize,
    ) {
        let text = text.concat().into_bytes();
        let compressed = compress(&text, level, pieces);
        prop_assert_eq!(inflate(&compressed, MAX_BYTES), Ok(text.clone()));
        prop_assert_eq!(inflate(&compressed, text.len()), Ok(text.clone()));
        if !text.is_empty() {
            prop_assert_eq!(inflate(&compressed, text.len() - 1), Err(Violation::TooLong));
        }
    }

    #[test]
    fn what_is_no_deflate_stream_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(plain) = inflate(&bytes, 1_000) {
            prop_assert!(plain.len() <= 1_000);
        }
    }
}

/// As a client compresses a message: some parts of it with a flush between, without the last four bytes.
fn compress(text: &[u8], level: u32, pieces: usize) -> Vec<u8> {
    let mut deflater = flate2::Compress::new(flate2::Compression::new(level), false);
    let mut out = Vec::with_capacity(2 * text.len() + 1_000);
    for piece in text.chunks(text.len() / pieces + 1).chain([&[][..]]) {
        deflater.compress_vec(piece, &mut out, flate2::FlushCompress::Sync).expect("room enough");
    }
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

#[test]
fn a_bomb_is_given_up_when_it_has_reached_the_limit() {
    let compressed = compress(&vec![b'x'; 64 << 20], 9, 1);
    assert!(compressed.len() < MAX_BYTES);
    assert_eq!(inflate(&compressed, MAX_BYTES), Err(Violation::TooLong));
}

#[test]
fn a_message_of_several_streams_is_one_message() {
    let mut whole = Vec::new();
    for text in ["[\"CLOSE\",", "\"x\"]"] {
        let mut deflater = flate2::Compress::new(flate2::Compression::fast(), false);
        let mut out = Vec::with_capacity(100);
        deflater.compress_vec(text.as_bytes(), &mut out, flate2::FlushCompress::Finish).expect("room enough");
        whole.append(&mut out);
    }
    // RFC 7692, section 7.2.3.4: a zero byte, so that what the receiver adds is a block.
    whole.push(0);
    assert_eq!(inflate(&whole, 100).as_deref(), Ok(&b"[\"CLOSE\",\"x\"]"[..]));
}

#[test]
fn compression_that_nobody_agreed_upon_is_refused_and_so_are_its_misplaced_marks() {
    let frame = |first: u8, payload: &[u8]| {
        let mut bytes = Vec::new();
        Frame { first, mask: [1, 2, 3, 4], payload: payload.to_vec() }.write(&mut bytes);
        bytes
    };
    let compressed = compress(b"hello hello hello", 6, 1);
    let mut plain = Decoder::new(MAX_BYTES, false);
    assert!(matches!(plain.decode(&mut frame(0xc1, &compressed)), Err(Violation::Protocol(_))));
    let mut agreed = Decoder::new(MAX_BYTES, true);
    let (first, second) = compressed.split_at(3);
    assert_eq!(agreed.decode(&mut frame(0x41, first)).map(|(_, received)| received), Ok(None));
    assert!(matches!(agreed.decode(&mut frame(0xc9, b"")), Err(Violation::Protocol(_))), "a control frame");
    assert!(matches!(agreed.decode(&mut frame(0xc0, b"")), Err(Violation::Protocol(_))), "a continuation");
    let whole = agreed
        .decode(&mut frame(0x80, second))
        .map(|(_, received)| matches!(received, Some(Received::Text(text)) if text == "hello hello hello"));
    assert_eq!(whole, Ok(true));
    assert_eq!(agreed.decode(&mut frame(0xc1, b"\xff\xff")).map(drop), Err(Violation::NotDeflate));
    assert_eq!(agreed.decode(&mut frame(0xc1, &compress(b"\xff", 1, 1))).map(drop), Err(Violation::NotUtf8));
}

#[test]
fn text_that_went_wrong_is_refused_before_its_last_fragment() {
    let frame = |first: u8, payload: &[u8]| {
        let mut bytes = Vec::new();
        Frame { first, mask: [0; 4], payload: payload.to_vec() }.write(&mut bytes);
        bytes
    };
    let mut decoder = Decoder::new(MAX_BYTES, false);
    // A character may be cut in two.
    assert!(decoder.decode(&mut frame(0x01, b"\xc3")).is_ok());
    assert!(decoder.decode(&mut frame(0x00, b"\xa4 and")).is_ok());
    assert_eq!(decoder.decode(&mut frame(0x00, b"\xff")).map(drop), Err(Violation::NotUtf8));
}
