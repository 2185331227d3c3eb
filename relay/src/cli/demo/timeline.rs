//! What happens, a line each: time since the start, who, and what.

use std::time::Instant;

use crate::cli::output::Output;

/// Who acts, which decides on the colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Relay,
    Customer,
    Provider,
    Stranger,
}

impl Role {
    /// ANSI colour.
    fn colour(self) -> &'static str {
        match self {
            Self::Relay => "36",
            Self::Customer => "33",
            Self::Provider => "32",
            Self::Stranger => "35",
        }
    }
}

/// How something is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Bad,
    /// Goes with the line before.
    Aside,
}

impl Tone {
    fn colour(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Good => "1;32",
            Self::Bad => "1;31",
            Self::Aside => "2",
        }
    }
}

/// Prints as things happen.
pub struct Timeline {
    started: Instant,
    has_colour: bool,
    output: Output,
}

impl Timeline {
    /// Begins now.
    pub fn new(has_colour: bool) -> Self {
        Self { started: Instant::now(), has_colour, output: Output::new() }
    }

    /// Seconds since the start.
    pub fn elapsed_s(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Prints what somebody does.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn say(&mut self, role: Role, name: &str, tone: Tone, text: &str) -> anyhow::Result<()> {
        let time = self.paint("2", &format!("{:5.1} s", self.elapsed_s()));
        let name = self.paint(role.colour(), &format!("{name:<10}"));
        let text = self.paint(tone.colour(), text);
        self.print(&format!("{time}  {name}  {text}"))
    }

    /// Prints more about the line before.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn add(&mut self, text: &str) -> anyhow::Result<()> {
        let text = self.paint(Tone::Aside.colour(), text);
        self.print(&format!("{:21}{text}", ""))
    }

    /// Prints a heading.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn head(&mut self, text: &str) -> anyhow::Result<()> {
        let text = self.paint("1", text);
        self.print(&format!("\n{text}"))
    }

    /// Prints a line as it is.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn print(&mut self, line: &str) -> anyhow::Result<()> {
        self.output.line(line)?;
        self.output.flush()
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        match self.has_colour {
            true => format!("\x1b[{colour}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}
