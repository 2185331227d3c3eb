//! What a plugin says that is no answer, on its way to the log.

use std::time::{Duration, Instant};

use crate::control::line::Line;
use crate::policy::plugin::protocol::shown;

/// Lines logged in one second; the others are counted, so that a plugin cannot fill the disk through our log.
const LINES_A_SECOND: u64 = 50;

/// Bounds what one plugin writes to the log.
#[derive(Debug, Default)]
pub struct Chatter {
    second: Option<Instant>,
    lines: u64,
}

impl Chatter {
    /// Logs `line` behind `what`, or counts it.
    pub fn log(&mut self, what: &str, line: &Line) {
        if self.second.is_none_or(|second| second.elapsed() >= Duration::from_secs(1)) {
            let unsaid = self.lines.saturating_sub(LINES_A_SECOND);
            if unsaid > 0 {
                tracing::warn!("{what}: and {unsaid} more lines");
            }
            (self.second, self.lines) = (Some(Instant::now()), 0);
        }
        self.lines += 1;
        if self.lines <= LINES_A_SECOND {
            match line {
                Line::Whole(bytes) => tracing::info!("{what}: {}", shown(&String::from_utf8_lossy(bytes))),
                Line::TooLong => tracing::info!("{what}: a line too long to be logged"),
            }
        }
    }
}
