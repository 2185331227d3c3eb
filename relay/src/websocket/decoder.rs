//! A client's messages out of its bytes, without I/O.
//!
//! The caller gives the bytes that wait and is told how many of them are done with. A message in one frame is unmasked
//! where it lies and handed out without a copy; only what comes in fragments, or compressed, is put together elsewhere.

use super::frame::{Head, Opcode, unmask};
use super::inflate;
use super::violation::Violation;

/// Codes that a peer may put in a Close frame.
const CLOSE_CODES: [std::ops::RangeInclusive<u16>; 3] = [1000..=1003, 1007..=1014, 3000..=4999];

/// One message or control frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Ping(&'a [u8]),
    Pong,
    /// The client says good-bye, with a code or without.
    Close(Option<u16>),
}

#[derive(Debug)]
pub struct Decoder {
    /// Bytes that a message may have, as it is sent and once it is inflated.
    max_bytes: usize,
    /// Whether permessage-deflate was agreed upon.
    deflate: bool,
    /// A message of which fragments are still to come.
    started: Option<Box<Started>>,
    /// The message that was handed out last, when it did not lie in the input.
    whole: Vec<u8>,
}

#[derive(Debug)]
struct Started {
    text: bool,
    compressed: bool,
    bytes: Vec<u8>,
    /// How far `bytes` is known to be UTF-8.
    valid_up_to: usize,
}

impl Decoder {
    pub fn new(max_bytes: usize, deflate: bool) -> Self {
        Self { max_bytes, deflate, started: None, whole: Vec::new() }
    }

    /// Reads one frame from the front of `input` and says how many bytes that took; 0: more bytes are needed.
    /// A fragment that ends no message takes bytes and hands out nothing.
    pub fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<(usize, Option<Received<'a>>), Violation> {
        // Whoever got the last message is done with it.
        self.whole = Vec::new();
        let Some((head, at)) = Head::read(input)? else { return Ok((0, None)) };
        let length = self.admit(&head)?;
        let Some(payload) = input[at..].get_mut(..length) else { return Ok((0, None)) };
        unmask(payload, head.mask);
        let received = match head.opcode {
            Opcode::Ping => Some(Received::Ping(payload)),
            Opcode::Pong => Some(Received::Pong),
            Opcode::Close => Some(Received::Close(read_close(payload)?)),
            Opcode::Text | Opcode::Binary if head.last && !head.compressed => {
                Some(message(head.opcode == Opcode::Text, payload)?)
            }
            Opcode::Text | Opcode::Binary | Opcode::Continuation => self.collect(&head, payload)?,
        };
        Ok((at + length, received))
    }

    /// Bytes that the frame at the front of `input` has in all, as far as its head is there.
    pub fn frame_length(&self, input: &[u8]) -> Option<usize> {
        let (head, at) = Head::read(input).ok()??;
        Some(at + self.admit(&head).ok()?)
    }

    /// What can be refused before the payload is there; its length, if it is not.
    fn admit(&self, head: &Head) -> Result<usize, Violation> {
        let started = self.started.as_deref();
        match head.opcode {
            Opcode::Continuation if started.is_none() => {
                return Err(Violation::Protocol("a continuation of nothing"));
            }
            Opcode::Continuation if head.compressed => {
                return Err(Violation::Protocol("only a message's first frame says that it is compressed"));
            }
            Opcode::Text | Opcode::Binary if started.is_some() => {
                return Err(Violation::Protocol("a message inside another"));
            }
            _ if head.compressed && !self.deflate => {
                return Err(Violation::Protocol("compression was not agreed upon"));
            }
            _ => {}
        }
        let before = match head.opcode.is_control() {
            true => 0,
            false => started.map_or(0, |started| started.bytes.len()),
        };
        let length = usize::try_from(head.length).map_err(|_| Violation::TooLong)?;
        match before.checked_add(length) {
            Some(total) if total <= self.max_bytes || head.opcode.is_control() => Ok(length),
            _ => Err(Violation::TooLong),
        }
    }

    /// Adds a fragment to its message; the message, when it is whole.
    fn collect(&mut self, head: &Head, payload: &[u8]) -> Result<Option<Received<'_>>, Violation> {
        let mut started = self.started.take().unwrap_or_else(|| {
            let text = head.opcode == Opcode::Text;
            Box::new(Started { text, compressed: head.compressed, bytes: Vec::new(), valid_up_to: 0 })
        });
        started.bytes.extend_from_slice(payload);
        if started.text && !started.compressed {
            started.check_utf8()?;
        }
        if !head.last {
            self.started = Some(started);
            return Ok(None);
        }
        self.whole = match started.compressed {
            true => inflate::inflate(&started.bytes, self.max_bytes)?,
            false => started.bytes,
        };
        message(started.text, &self.whole).map(Some)
    }
}

impl Started {
    /// Refuses a fragment with which the message can no longer become UTF-8.
    fn check_utf8(&mut self) -> Result<(), Violation> {
        match std::str::from_utf8(&self.bytes[self.valid_up_to..]) {
            Ok(_) => self.valid_up_to = self.bytes.len(),
            Err(error) if error.error_len().is_some() => return Err(Violation::NotUtf8),
            Err(error) => self.valid_up_to += error.valid_up_to(),
        }
        Ok(())
    }
}

fn message(text: bool, payload: &[u8]) -> Result<Received<'_>, Violation> {
    match text {
        true => std::str::from_utf8(payload).map(Received::Text).map_err(|_| Violation::NotUtf8),
        false => Ok(Received::Binary(payload)),
    }
}

fn read_close(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(None),
            _ => Err(Violation::Protocol("a Close with half a code")),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !CLOSE_CODES.iter().any(|codes| codes.contains(&code)) {
        return Err(Violation::Protocol("a Close with a code that nobody may send"));
    }
    std::str::from_utf8(reason).map_err(|_| Violation::NotUtf8)?;
    Ok(Some(code))
}
