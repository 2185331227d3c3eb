//! Jobs as an aligned table.

use super::job::Job;
use crate::cli::duration::{relative, short};
use crate::cli::npub::npub;

const HEADINGS: [&str; COLUMNS] = ["JOB", "KIND", "STATE", "PROVIDER", "ATTEMPT", "LEASE", "DEADLINE", "AGE"];
const COLUMNS: usize = 8;
/// Which column is coloured.
const STATE: usize = 2;
/// Digits of a job's id, and letters of a key, that are enough to tell it from others.
const SHORT: usize = 12;
const GAP: &str = "  ";

/// A line for the headings and one for each job, none wider than `columns`.
pub fn render(jobs: &[&Job], now: u64, columns: usize, colour: bool) -> Vec<String> {
    let rows: Vec<[String; COLUMNS]> = jobs.iter().map(|job| cells(job, now)).collect();
    let mut widths = HEADINGS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let mut lines = vec![line(&HEADINGS.map(str::to_owned), &widths, columns, colour.then_some("\x1b[1m"), 0..COLUMNS)];
    for (row, job) in rows.iter().zip(jobs) {
        lines.push(line(row, &widths, columns, colour.then(|| paint(job)), STATE..STATE + 1));
    }
    lines
}

/// One job on a line of its own, for a log of changes.
pub fn change(job: &Job, now: u64) -> String {
    let [id, kind, state, provider, attempt, lease, deadline, _] = cells(job, now);
    format!("{id}{GAP}{kind:<5}{GAP}{state:<16}{GAP}{provider:<SHORT$}{GAP}{attempt:<3}{GAP}{lease:<8}{GAP}{deadline}")
        .trim_end()
        .to_owned()
}

fn cells(job: &Job, now: u64) -> [String; COLUMNS] {
    let none = || "-".to_owned();
    let due = |at: Option<u64>| at.filter(|_| !job.is_final()).map_or_else(none, |at| relative(at, now));
    [
        job.job.chars().take(SHORT).collect(),
        job.kind.to_string(),
        job.state.clone(),
        job.provider_key().map_or_else(none, |key| npub(&key).chars().take(SHORT).collect()),
        if job.attempt == 0 { none() } else { job.attempt.to_string() },
        due(job.lease_deadline),
        due(job.deadline),
        short(now.saturating_sub(job.created_at)),
    ]
}

/// Every cell is ASCII, so bytes are columns. What is painted is cut before it is painted.
fn line(
    cells: &[String; COLUMNS],
    widths: &[usize; COLUMNS],
    columns: usize,
    paint: Option<&str>,
    painted: std::ops::Range<usize>,
) -> String {
    let mut line = String::new();
    let mut room = columns;
    for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let gap = if at == 0 { "" } else { GAP };
        let is_last = at + 1 == COLUMNS;
        let text = if is_last { format!("{gap}{cell}") } else { format!("{gap}{cell:<width$}") };
        let text: String = text.chars().take(room).collect();
        room -= text.len();
        match paint.filter(|_| painted.contains(&at) && !text.is_empty()) {
            Some(paint) => line.push_str(&format!("{paint}{text}\x1b[0m")),
            None => line.push_str(&text),
        }
    }
    line
}

fn paint(job: &Job) -> &'static str {
    match job.state.as_str() {
        "succeeded" | "settled" => "\x1b[32m",
        "failed" | "expired" | "unpaid" => "\x1b[31m",
        "cancelled" => "\x1b[2m",
        "leased" | "running" | "awaiting-payment" => "\x1b[33m",
        _ => "\x1b[36m",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(state: &str, provider: Option<&str>) -> Job {
        Job {
            job: "ab".repeat(32),
            kind: 5050,
            state: state.to_owned(),
            customer: None,
            provider: provider.map(str::to_owned),
            parties: Vec::new(),
            attempt: u32::from(provider.is_some()),
            lease: provider.map(|_| 7),
            lease_deadline: provider.map(|_| 160),
            deadline: Some(350),
            amount_msat: None,
            result: None,
            created_at: 90,
            changed_at: 95,
        }
    }

    #[test]
    fn columns_are_aligned() {
        let key = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        let (running, queued, done) = (job("running", Some(key)), job("queued", None), job("succeeded", Some(key)));
        let lines = render(&[&running, &queued, &done], 100, usize::MAX, false);
        let expected = [
            "JOB           KIND  STATE      PROVIDER      ATTEMPT  LEASE     DEADLINE  AGE",
            "abababababab  5050  running    npub10xlxvlh  1        in 1m00s  in 4m10s  10s",
            "abababababab  5050  queued     -             -        -         in 4m10s  10s",
            "abababababab  5050  succeeded  npub10xlxvlh  1        -         -         10s",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_narrow_terminal_cuts_lines_and_colour_takes_no_room() {
        let queued = job("queued", None);
        for columns in 0..100 {
            let plain = render(&[&queued], 100, columns, false);
            assert!(plain.iter().all(|line| line.len() <= columns));
            let painted = render(&[&queued], 100, columns, true);
            let bare: Vec<String> = painted.iter().map(|line| strip(line)).collect();
            assert_eq!(bare, plain);
        }
    }

    fn strip(line: &str) -> String {
        let mut parts = line.split('\x1b');
        let first = parts.next().unwrap_or("").to_owned();
        parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
    }
}
