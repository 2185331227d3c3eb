//! Bytes that came from a client and are not read yet.
//!
//! A connection that is silent has no buffer: one is lent by the thread while there is something to read, and only the
//! beginning of a frame whose rest is still to come is kept meanwhile.

use std::cell::RefCell;

/// Bytes asked of the socket at once.
const LENT_BYTES: usize = 64 * 1024;
/// Buffers that a thread keeps to lend; more are freed.
const MAX_LENT: usize = 4;

thread_local! {
    static TO_LEND: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// How many of them are done with.
    done: usize,
}

impl Inbox {
    /// What came with the handshake.
    pub fn new(early: Vec<u8>) -> Self {
        Self { bytes: early, done: 0 }
    }

    pub fn waiting(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.done..).unwrap_or_default()
    }

    pub fn take(&mut self, bytes: usize) {
        self.done += bytes;
    }

    /// The buffer to read into, with room. `frame` is the length of the frame at its front, if known: room for all of it
    /// is made as its bytes come, never on its word alone.
    pub fn room(&mut self, frame: Option<usize>) -> &mut Vec<u8> {
        self.bytes.drain(..self.done);
        self.done = 0;
        if self.bytes.capacity() < LENT_BYTES {
            let mut lent = TO_LEND.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(LENT_BYTES));
            lent.extend_from_slice(&self.bytes);
            self.bytes = lent;
        }
        let length = self.bytes.len();
        if length == self.bytes.capacity() {
            let missing = frame.unwrap_or(0).saturating_sub(length);
            self.bytes.reserve_exact(missing.clamp(1, length.max(1)));
        }
        &mut self.bytes
    }

    /// Gives the buffer back until there is something to read again.
    pub fn rest(&mut self) {
        let kept = self.bytes.get(self.done..).unwrap_or_default();
        if self.bytes.capacity() < LENT_BYTES || kept.len() > LENT_BYTES / 2 {
            return;
        }
        let kept = kept.to_vec();
        self.done = 0;
        let mut lent = std::mem::replace(&mut self.bytes, kept);
        lent.clear();
        TO_LEND.with_borrow_mut(|to_lend| {
            if to_lend.len() < MAX_LENT && lent.capacity() == LENT_BYTES {
                to_lend.push(lent);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_connection_keeps_only_the_beginning_of_a_frame() {
        let mut inbox = Inbox::default();
        inbox.room(None).extend_from_slice(b"one two");
        inbox.take(4);
        inbox.rest();
        assert_eq!(inbox.waiting(), b"two");
        assert!(inbox.bytes.capacity() < 64);
        inbox.room(None).extend_from_slice(b" three");
        assert_eq!(inbox.waiting(), b"two three");
        inbox.take(9);
        inbox.rest();
        assert_eq!(inbox.bytes.capacity(), 0);
    }

    #[test]
    fn a_long_frame_gets_room_as_it_comes() {
        let mut inbox = Inbox::default();
        for _ in 0..10 {
            let buffer = inbox.room(Some(1 << 20));
            let free = buffer.capacity() - buffer.len();
            assert!(free > 0);
            buffer.resize(buffer.len() + free, 0);
            assert!(buffer.capacity() <= (2 * buffer.len()).max(LENT_BYTES));
        }
        assert!(inbox.waiting().len() >= 1 << 20);
    }
}
