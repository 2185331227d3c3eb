//! A progress bar on a terminal. It goes to stderr, and there is nothing of it elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TICK: Duration = Duration::from_millis(100);

/// How far a verb is.
pub struct Progress(ProgressBar);

impl Progress {
    /// Counts bytes, of `total` where that is known.
    pub fn bytes(total: Option<u64>) -> Self {
        let known = "{bar:24} {percent:>3}%  {eta} left  {wide_msg}";
        Self::new(total, known, "{spinner} {binary_bytes}  {elapsed}  {wide_msg}")
    }

    /// Counts events, of about `total`. Stays away when the events themselves go to a terminal or a pipe: there the
    /// bar would stand between them, or between what the next program prints.
    pub fn events(total: u64) -> Self {
        if !output_is_file() {
            return Self(ProgressBar::hidden());
        }
        Self::new(Some(total), "{bar:24} {percent:>3}%  {eta} left  {human_pos} of {human_len} events", "")
    }

    fn new(total: Option<u64>, known: &str, unknown: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        let template = if total.is_some() { known } else { unknown };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    pub fn advance(&self, by: u64) {
        self.0.inc(by);
    }

    pub fn say(&self, text: String) {
        if !self.0.is_hidden() {
            self.0.set_message(text);
        }
    }

    /// Prints a line on stderr without tearing the bar.
    pub fn print(&self, line: &str) {
        self.0.suspend(|| eprintln!("{line}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn output_is_file() -> bool {
    use std::os::fd::AsFd;
    let output = std::io::stdout().as_fd().try_clone_to_owned().map(std::fs::File::from);
    output.and_then(|file| file.metadata()).is_ok_and(|metadata| metadata.is_file())
}
