//! Whatever bytes a client sends are read or refused, the same however they are cut.

use mercato::websocket::violation::Violation;
use mercato::websocket::{Decoder, Received};

const MAX_BYTES: usize = 10_000;

/// The first byte says where to cut the rest.
pub fn check(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let (first, second) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    assert_eq!(hear(&[first, second]), hear(&[bytes]));
}

fn hear(pieces: &[&[u8]]) -> (Vec<String>, Option<Violation>) {
    let (mut decoder, mut waiting, mut heard) = (Decoder::new(MAX_BYTES, true), Vec::new(), Vec::new());
    for piece in pieces {
        waiting.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut waiting) {
                Err(violation) => return (heard, Some(violation)),
                Ok((0, None)) => break,
                Ok((taken, received)) => {
                    if let Some(Received::Text(text)) = &received {
                        assert!(text.len() <= MAX_BYTES);
                    }
                    heard.extend(received.map(|received| format!("{received:?}")));
                    waiting.drain(..taken);
                }
            }
        }
    }
    (heard, None)
}
