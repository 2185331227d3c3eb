//! The frame of RFC 6455, section 5.2: its head, read and written; and the mask.

use super::violation::Violation;

/// Longest head that a server writes: no mask.
pub const MAX_SERVER_HEAD: usize = 10;
/// Longest payload of a control frame.
pub const MAX_CONTROL: usize = 125;

const FIN: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const RESERVED: u8 = 0x30;
const MASKED: u8 = 0x80;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// A client's frame up to its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub last: bool,
    /// RSV1: the message is compressed (RFC 7692).
    pub compressed: bool,
    pub opcode: Opcode,
    pub mask: [u8; 4],
    /// Bytes of the payload.
    pub length: u64,
}

impl Opcode {
    fn from_bits(bits: u8) -> Result<Self, Violation> {
        Ok(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return Err(Violation::Protocol("an unknown opcode")),
        })
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    pub const fn is_control(self) -> bool {
        self.bits() >= 8
    }
}

impl Head {
    /// Reads a head from the front of `bytes`, with its own length; `None` when more is needed.
    /// What the first bytes give away is refused at once.
    pub fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        let opcode = Opcode::from_bits(first & 0x0f)?;
        let (last, compressed, short) = (first & FIN != 0, first & COMPRESSED != 0, second & !MASKED);
        if first & RESERVED != 0 {
            return Err(Violation::Protocol("a reserved bit is set"));
        }
        if second & MASKED == 0 {
            return Err(Violation::Protocol("a client must mask its frames"));
        }
        if opcode.is_control() && (!last || compressed || usize::from(short) > MAX_CONTROL) {
            return Err(Violation::Protocol("a control frame is whole, plain, and has 125 bytes at most"));
        }
        let (length, rest) = match short {
            126 => match rest.split_first_chunk() {
                Some((bytes, rest)) => (u64::from(u16::from_be_bytes(*bytes)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((bytes, rest)) => (u64::from_be_bytes(*bytes), rest),
                None => return Ok(None),
            },
            short => (u64::from(short), rest),
        };
        let least = match short {
            126 => 126,
            127 => 1 << 16,
            _ => 0,
        };
        if length < least || length >> 63 != 0 {
            return Err(Violation::Protocol("a length is not written the shortest way"));
        }
        let Some((mask, rest)) = rest.split_first_chunk() else { return Ok(None) };
        let head = Self { last, compressed, opcode, mask: *mask, length };
        Ok(Some((head, bytes.len() - rest.len())))
    }
}

/// Writes the head of a server's whole, unmasked message or control frame.
pub fn write_head(out: &mut Vec<u8>, opcode: Opcode, compressed: bool, length: usize) {
    out.push(FIN | if compressed { COMPRESSED } else { 0 } | opcode.bits());
    match length {
        0..126 => out.push(length as u8),
        126..0x1_0000 => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Bytes that `write_head` writes.
pub const fn head_length(length: usize) -> usize {
    match length {
        0..126 => 2,
        126..0x1_0000 => 4,
        _ => MAX_SERVER_HEAD,
    }
}

/// Takes the mask off; the loop over whole words is one that compilers turn into vector instructions.
pub fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        if let Ok(word) = <&mut [u8; 8]>::try_from(word) {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_taken_off_as_the_rfc_writes_it() {
        for length in 0..40 {
            let plain: Vec<u8> = (0..length).collect();
            let mask = [0x37, 0xfa, 0x21, 0x3d];
            let mut masked: Vec<u8> = plain.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
            unmask(&mut masked, mask);
            assert_eq!(masked, plain);
        }
    }

    #[test]
    fn a_head_has_the_length_that_was_foretold() {
        for length in [0, 125, 126, 65_535, 65_536, 1 << 40] {
            let mut head = Vec::new();
            write_head(&mut head, Opcode::Text, false, length);
            assert_eq!(head.len(), head_length(length));
        }
    }
}
