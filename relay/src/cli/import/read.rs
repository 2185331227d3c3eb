//! The input, in batches of lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::Context;

use crate::control::WINDOW;
use crate::control::line::{Line, Splitter};

/// Read at once: also bounds a batch, which never waits for more.
const BUFFER_BYTES: usize = 512 << 10;

/// Lines that came together.
#[derive(Debug, Default)]
pub struct Batch {
    /// Number in the input, from 1, and the line. Empty ones are left out.
    pub lines: Vec<(u64, Line)>,
    /// Bytes of the input.
    pub bytes: u64,
}

/// A file or standard input.
pub struct Input {
    reader: BufReader<Box<dyn Read + Send>>,
    splitter: Splitter,
    /// Lines so far.
    count: u64,
    /// Lines of one batch at most.
    max_batch: usize,
    /// Size of the whole, where it is known.
    pub total_bytes: Option<u64>,
}

impl Input {
    /// Lines may have up to `max_line_bytes`, and come up to `max_batch` (of at most `WINDOW`) at a time.
    pub fn open(file: Option<&Path>, max_line_bytes: usize, max_batch: usize) -> anyhow::Result<Self> {
        let (reader, total_bytes): (Box<dyn Read + Send>, _) = match file {
            Some(path) if path != Path::new("-") => {
                let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
                let metadata = file.metadata()?;
                (Box::new(file), metadata.is_file().then_some(metadata.len()))
            }
            Some(_) | None => (Box::new(io::stdin()), None),
        };
        let reader = BufReader::with_capacity(BUFFER_BYTES, reader);
        Ok(Self {
            reader,
            splitter: Splitter::new(max_line_bytes),
            count: 0,
            max_batch: max_batch.clamp(1, WINDOW),
            total_bytes,
        })
    }

    /// As many lines as a batch may have, fewer when the next would have to be waited for. `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Batch>> {
        let mut batch = Batch::default();
        while batch.lines.len() < self.max_batch && (batch.lines.is_empty() || !self.reader.buffer().is_empty()) {
            let bytes = self.reader.fill_buf()?;
            if bytes.is_empty() {
                let last = self.splitter.finish();
                let is_over = last.is_none() && batch.bytes == 0;
                self.put(&mut batch, last);
                return Ok((!is_over).then_some(batch));
            }
            let (taken, line) = self.splitter.feed(bytes);
            self.reader.consume(taken);
            batch.bytes += taken as u64;
            self.put(&mut batch, line);
        }
        Ok(Some(batch))
    }

    fn put(&mut self, batch: &mut Batch, line: Option<Line>) {
        let Some(line) = line else { return };
        self.count += 1;
        let is_blank = matches!(&line, Line::Whole(bytes) if bytes.trim_ascii().is_empty());
        if !is_blank {
            batch.lines.push((self.count, line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_comes_once_with_its_number() {
        let text = (0..2_500).map(|n| if n % 10 == 0 { "\n".to_owned() } else { format!("{n}\n") });
        let text: String = text.chain(["last".to_owned()]).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &text).unwrap();
        let mut input = Input::open(Some(file.path()), 100, WINDOW).unwrap();
        let (mut bytes, mut lines) = (0, Vec::new());
        while let Some(batch) = input.next().unwrap() {
            assert!(batch.lines.len() <= WINDOW);
            bytes += batch.bytes;
            lines.extend(batch.lines);
        }
        assert_eq!(bytes, text.len() as u64);
        assert_eq!(lines.len(), 2_251);
        assert_eq!(lines[0], (2, Line::Whole(b"1".to_vec())));
        assert_eq!(lines[2_250], (2_501, Line::Whole(b"last".to_vec())));
    }
}
