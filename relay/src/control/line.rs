//! Lines of bounded length, out of whatever pieces the bytes come in.

use memchr::memchr;

/// One line, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    Whole(Vec<u8>),
    /// It was longer than allowed, and was dropped.
    TooLong,
}

/// Cuts bytes into lines.
#[derive(Debug)]
pub struct Splitter {
    started: Vec<u8>,
    too_long: bool,
    max_bytes: usize,
}

impl Splitter {
    /// Lines may have up to `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Self { started: Vec::new(), too_long: false, max_bytes }
    }

    /// Takes the next bytes up to the first end of line. Returns how many it took, and the line if that ended it.
    pub fn feed(&mut self, bytes: &[u8]) -> (usize, Option<Line>) {
        match memchr(b'\n', bytes) {
            None => {
                self.push(bytes);
                (bytes.len(), None)
            }
            Some(end) => {
                self.push(&bytes[..end]);
                (end + 1, Some(self.cut()))
            }
        }
    }

    /// The last line, when nothing ended it.
    pub fn finish(&mut self) -> Option<Line> {
        (self.too_long || !self.started.is_empty()).then(|| self.cut())
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.too_long || self.started.len() + bytes.len() > self.max_bytes {
            self.too_long = true;
            self.started.clear();
        } else {
            self.started.extend_from_slice(bytes);
        }
    }

    fn cut(&mut self) -> Line {
        let line = std::mem::take(&mut self.started);
        if std::mem::take(&mut self.too_long) { Line::TooLong } else { Line::Whole(line) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&str]) -> Vec<Line> {
        let mut splitter = Splitter::new(4);
        let mut lines = Vec::new();
        for piece in pieces {
            let mut rest = piece.as_bytes();
            while !rest.is_empty() {
                let (taken, line) = splitter.feed(rest);
                rest = &rest[taken..];
                lines.extend(line);
            }
        }
        lines.extend(splitter.finish());
        lines
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_are_cut() {
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        let expected = vec![whole("ab"), whole(""), whole("abcd"), Line::TooLong, whole("z")];
        let text = "ab\n\nabcd\nabcde\nz";
        assert_eq!(split(&[text]), expected);
        for at in 0..text.len() {
            assert_eq!(split(&[&text[..at], &text[at..]]), expected);
        }
        let bytes: Vec<&str> = text.split("").collect();
        assert_eq!(split(&bytes), expected);
    }

    #[test]
    fn an_endless_line_takes_no_memory() {
        let mut splitter = Splitter::new(4);
        for _ in 0..1_000 {
            splitter.feed(b"abcd");
        }
        assert!(splitter.started.capacity() <= 8);
        assert_eq!(splitter.finish(), Some(Line::TooLong));
        assert_eq!(splitter.finish(), None);
    }
}
