//! Clients' compressed messages (RFC 7692): bounded, and with one inflater a thread.
//!
//! Every connection agrees upon `client_no_context_takeover`, so an inflater remembers nothing between messages and
//! needs not be kept by anyone.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};

use super::violation::Violation;

/// What a sender takes off the end of every message.
pub const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// First guess at how much longer a message gets.
const RATIO: usize = 4;

thread_local! {
    /// Its window and state are some 48 KiB, made when the thread meets its first compressed message.
    static INFLATER: RefCell<Option<Decompress>> = const { RefCell::new(None) };
}

/// The plain bytes of a message that was sent compressed; more than `max_bytes` are refused as soon as they come out.
pub fn inflate(compressed: &[u8], max_bytes: usize) -> Result<Vec<u8>, Violation> {
    INFLATER.with_borrow_mut(|inflater| {
        let inflater = inflater.get_or_insert_with(|| Decompress::new(false));
        let mut plain = Vec::with_capacity(compressed.len().saturating_mul(RATIO).clamp(1, max_bytes + 1));
        inflater.reset(false);
        for part in [compressed, &TAIL] {
            run(inflater, part, &mut plain, max_bytes)?;
        }
        Ok(plain)
    })
}

fn run(inflater: &mut Decompress, mut input: &[u8], plain: &mut Vec<u8>, max_bytes: usize) -> Result<(), Violation> {
    loop {
        if plain.len() == plain.capacity() {
            // One byte more than allowed, so that a message of just the right length is told from a longer one.
            let room = (max_bytes + 1 - plain.len()).min(plain.len());
            plain.reserve_exact(room);
        }
        let (read, written) = (inflater.total_in(), inflater.total_out());
        let status = inflater.decompress_vec(input, plain, FlushDecompress::Sync).map_err(|_| Violation::NotDeflate)?;
        if plain.len() > max_bytes {
            return Err(Violation::TooLong);
        }
        let taken = usize::try_from(inflater.total_in() - read).map_err(|_| Violation::NotDeflate)?;
        let moved = taken > 0 || inflater.total_out() > written;
        input = &input[taken..];
        match status {
            // A sender may end its stream in every message; what follows is another stream.
            Status::StreamEnd => inflater.reset(false),
            // Output may still wait while there is no room for it.
            Status::Ok | Status::BufError if input.is_empty() && plain.len() < plain.capacity() => return Ok(()),
            Status::Ok | Status::BufError if !moved && plain.len() < plain.capacity() => {
                return Err(Violation::NotDeflate);
            }
            Status::Ok | Status::BufError => {}
        }
        if input.is_empty() && status == Status::StreamEnd {
            return Ok(());
        }
    }
}
