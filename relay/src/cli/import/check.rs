//! Parsing and verifying, on every core, without changing the order.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::Context;

use super::read::{Batch, Input};
use crate::control::line::Line;
use crate::nostr::{Event, Verifier, fried};

/// Batches that may wait before and behind each worker.
const WAITING: usize = 2;

/// A line after it was looked at.
pub struct Checked {
    /// Number in the input, from 1.
    pub line: u64,
    /// Or why there is none.
    pub event: Result<Box<Event>, String>,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    Signature,
    /// The signature is taken on trust.
    Id,
    /// The same for lines of `export --fried`.
    Fried,
}

type Read = io::Result<Batch>;
type Done = io::Result<(u64, Vec<Checked>)>;

/// Hands the whole input to `sink`, batch by batch in order, each with its size in bytes.
///
/// Batches are dealt to the workers in turn, and taken back in turn.
pub fn every(
    input: Input,
    check: Check,
    mut sink: impl FnMut(u64, Vec<Checked>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let verifier = Arc::new(Verifier::default());
    let lanes: Vec<_> = (0..workers).map(|_| start_worker(check, verifier.clone())).collect::<io::Result<_>>()?;
    let (dealt, done): (Vec<_>, Vec<_>) = lanes.into_iter().unzip();
    // Not waited for: after a fault it may stand in a read that never ends.
    thread::Builder::new().name("read".to_owned()).spawn(move || deal(input, &dealt))?;
    for lane in done.iter().cycle() {
        let Ok(batch) = lane.recv() else { return Ok(()) };
        let (bytes, checked) = batch.context("reading the input")?;
        sink(bytes, checked)?;
    }
    Ok(())
}

/// Ends with the input, or when nobody wants more of it.
fn deal(mut input: Input, lanes: &[SyncSender<Read>]) {
    for lane in lanes.iter().cycle() {
        let Some(read) = input.next().transpose() else { return };
        let is_fault = read.is_err();
        if lane.send(read).is_err() || is_fault {
            return;
        }
    }
}

fn start_worker(how: Check, verifier: Arc<Verifier>) -> io::Result<(SyncSender<Read>, Receiver<Done>)> {
    let (dealt, batches) = sync_channel::<Read>(WAITING);
    let (done, results) = sync_channel::<Done>(WAITING);
    let work = move || {
        for batch in batches {
            let checked = batch.map(|batch| {
                let check = |(line, text)| Checked { line, event: check(&text, how, &verifier) };
                (batch.bytes, batch.lines.into_iter().map(check).collect())
            });
            if done.send(checked).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("check".to_owned()).spawn(work)?;
    Ok((dealt, results))
}

fn check(line: &Line, how: Check, verifier: &Verifier) -> Result<Box<Event>, String> {
    let Line::Whole(bytes) = line else { return Err("the line is too long".to_owned()) };
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    if how == Check::Fried {
        return fried::read(text).map(Box::new).map_err(|error| error.to_string());
    }
    let event = Event::parse(text).map_err(|error| error.to_string())?;
    if how == Check::Signature {
        verifier.check(&event).map_err(|error| error.to_string())?;
    }
    Ok(Box::new(event))
}
