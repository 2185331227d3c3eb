//! What was measured, as a table for people or JSON for machines.

use std::fmt;

use serde_json::{Map, Value, json};

/// A scenario's rows; all have the columns of the first. Few rows of many figures, so the table lies on its side.
#[derive(Debug)]
pub struct Report {
    scenario: &'static str,
    /// What was measured, in words.
    subject: String,
    rows: Vec<Row>,
    /// What else is to be known.
    notes: Vec<String>,
    /// Many rows of few figures: the table stands upright.
    upright: bool,
}

/// One measurement.
#[derive(Debug)]
pub struct Row {
    name: String,
    cells: Vec<(&'static str, Cell)>,
}

/// One figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell {
    Count(u64),
    Measure(f64),
    /// Could not be measured.
    Missing,
}

impl From<u64> for Cell {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<f64> for Cell {
    fn from(measure: f64) -> Self {
        Self::Measure(measure)
    }
}

impl From<Option<f64>> for Cell {
    fn from(measure: Option<f64>) -> Self {
        measure.map_or(Self::Missing, Self::Measure)
    }
}

impl Row {
    /// A row without figures yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), cells: Vec::new() }
    }

    /// Adds a figure; the column's name ends with its unit.
    pub fn with(mut self, column: &'static str, cell: impl Into<Cell>) -> Self {
        self.cells.push((column, cell.into()));
        self
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A figure by its column; `None` when there is no such column or it could not be measured.
    pub fn figure(&self, column: &str) -> Option<f64> {
        match self.cells.iter().find(|(name, _)| *name == column)?.1 {
            Cell::Count(count) => Some(count as f64),
            Cell::Measure(measure) => Some(measure),
            Cell::Missing => None,
        }
    }
}

impl Report {
    /// A report without rows yet.
    pub fn new(scenario: &'static str, subject: impl Into<String>) -> Self {
        Self { scenario, subject: subject.into(), rows: Vec::new(), notes: Vec::new(), upright: false }
    }

    /// The same with a line for each row.
    pub fn upright(mut self) -> Self {
        self.upright = true;
        self
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Adds a row.
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Adds a line of text.
    pub fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// The same for machines; a figure that could not be measured is null.
    pub fn to_json(&self) -> Value {
        let row = |row: &Row| {
            let name = ("name".to_owned(), json!(row.name));
            let cells = row.cells.iter().map(|(column, cell)| ((*column).to_owned(), cell.to_json()));
            Value::Object(Map::from_iter(std::iter::once(name).chain(cells)))
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        json!({ "scenario": self.scenario, "subject": self.subject, "rows": rows, "notes": self.notes })
    }

    /// The table's texts: a line for each row when it stands upright, else one for each figure.
    fn lines(&self) -> Vec<Vec<String>> {
        if self.upright { self.lines_of_rows() } else { self.lines_of_figures() }
    }

    fn lines_of_rows(&self) -> Vec<Vec<String>> {
        let columns = self.rows.first().map(|row| row.cells.as_slice()).unwrap_or_default();
        let heading =
            std::iter::once(self.scenario.to_owned()).chain(columns.iter().map(|(name, _)| name.replace('_', " ")));
        let rows = self.rows.iter().map(|row| {
            std::iter::once(row.name.clone()).chain(row.cells.iter().map(|(_, cell)| cell.to_string())).collect()
        });
        std::iter::once(heading.collect()).chain(rows).collect()
    }

    fn lines_of_figures(&self) -> Vec<Vec<String>> {
        let names = self.rows.iter().map(|row| row.name.clone());
        let heading = std::iter::once(self.scenario.to_owned()).chain(names).collect();
        let columns = self.rows.first().map(|row| row.cells.as_slice()).unwrap_or_default();
        let figures = |(at, (column, _)): (usize, &(&'static str, Cell))| {
            let cells = self.rows.iter().map(|row| row.cells.get(at).map_or(Cell::Missing, |(_, cell)| *cell));
            std::iter::once(column.replace('_', " ")).chain(cells.map(|cell| cell.to_string())).collect()
        };
        std::iter::once(heading).chain(columns.iter().enumerate().map(figures)).collect()
    }
}

impl Cell {
    fn to_json(self) -> Value {
        match self {
            Self::Count(count) => json!(count),
            Self::Measure(measure) => json!((measure * 1e3).round() / 1e3),
            Self::Missing => Value::Null,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Measure(measure) if measure.abs() >= 1_000.0 => write!(f, "{measure:.0}"),
            Self::Measure(measure) if measure.abs() >= 10.0 => write!(f, "{measure:.1}"),
            Self::Measure(measure) if measure.abs() >= 1.0 => write!(f, "{measure:.2}"),
            Self::Measure(measure) => write!(f, "{measure:.3}"),
            Self::Missing => f.write_str("-"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.subject)?;
        let lines = self.lines();
        let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
        let length = |line: &Vec<String>, at: usize| line.get(at).map_or(0, |text| text.chars().count());
        let widths: Vec<usize> =
            (0..columns).map(|at| lines.iter().map(|line| length(line, at)).max().unwrap_or(0)).collect();
        for line in &lines {
            for (at, (text, width)) in line.iter().zip(&widths).enumerate() {
                match at {
                    0 => write!(f, "{text:<width$}")?,
                    _ => write!(f, "  {text:>width$}")?,
                }
            }
            writeln!(f)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_json_says_the_same() {
        let mut report = Report::new("publish", "a relay");
        report.push(Row::new("1 connection").with("events", 10).with("p50_ms", 0.5));
        report.push(Row::new("9").with("events", 100_000).with("p50_ms", None));
        report.note("that is all".to_owned());
        let table = "a relay\n\
                     publish  1 connection       9\n\
                     events             10  100000\n\
                     p50 ms          0.500       -\n\
                     that is all\n";
        assert_eq!(report.to_string(), table);
        let rows = report.to_json()["rows"].clone();
        assert_eq!(rows[0], json!({ "name": "1 connection", "events": 10, "p50_ms": 0.5 }));
        assert_eq!(rows[1]["p50_ms"], Value::Null);
    }
}
