//! A screenful that is drawn anew again and again.

use std::io::{self, Write};

/// As much of a line as fits.
pub fn cut(text: &str, columns: usize) -> String {
    text.chars().take(columns).collect()
}

/// The terminal's other screen, so that what was there before comes back.
pub struct Screen;

impl Screen {
    pub fn open() -> io::Result<Self> {
        put("\x1b[?1049h\x1b[?25l")?;
        Ok(Self)
    }

    /// Writes over what is there, which does not flicker as clearing it first would.
    pub fn draw(&self, lines: &[String]) -> io::Result<()> {
        let body: Vec<String> = lines.iter().map(|line| format!("{line}\x1b[K")).collect();
        put(&format!("\x1b[H{}\x1b[J", body.join("\r\n")))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal is gone, or nothing can be done.
        let _ = put("\x1b[?25h\x1b[?1049l");
    }
}

fn put(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()
}
