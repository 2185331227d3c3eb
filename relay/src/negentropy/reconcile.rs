//! The protocol's one step: a message comes in, and one goes out that says more about the ranges in which the two sides
//! differ.

use std::collections::HashSet;
use std::ops::Range;

use super::message::{Bound, FrameError, Payload, Reader, Writer};
use super::span::Span;
use crate::nostr::EventId;

/// Parts into which a range that differs is split.
const PARTS: usize = 16;
/// Ranges with fewer items are told id by id.
const TOLD: usize = 2 * PARTS;
/// What an answer may take beyond the point at which nothing more is begun: one range split or told, and the rest as one.
const SLACK: usize = 1_280;
/// The least that an answer may be bounded to.
pub const MIN_FRAME_BYTES: usize = 4_096;

/// What one side has and the other has not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Ours, which the other side lacks.
    pub have: Vec<EventId>,
    /// The other side's, which we lack.
    pub need: Vec<EventId>,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.have.is_empty() && self.need.is_empty()
    }
}

/// The first message of who asks.
pub fn begin(span: &Span) -> Vec<u8> {
    let mut answer = Writer::default();
    split(span, 0..span.len(), Bound::END, &mut answer);
    answer.finish()
}

/// Answers a message of at most `frame_bytes`, as who was asked. A message of another version is answered with ours.
pub fn answer(span: &Span, message: &[u8], frame_bytes: usize) -> Result<Vec<u8>, FrameError> {
    match Reader::new(message)? {
        None => Ok(Writer::default().finish()),
        Some(ranges) => step(span, ranges, frame_bytes, None),
    }
}

/// Goes on as who asked: adds what has come out to `found`, and says what to ask next, if anything.
pub fn proceed(
    span: &Span,
    message: &[u8],
    frame_bytes: usize,
    found: &mut Difference,
) -> Result<Option<Vec<u8>>, FrameError> {
    let ranges = Reader::new(message)?.ok_or(FrameError::Version)?;
    let next = step(span, ranges, frame_bytes, Some(found))?;
    Ok((next.len() > 1).then_some(next))
}

fn step(
    span: &Span,
    mut ranges: Reader<'_>,
    frame_bytes: usize,
    mut found: Option<&mut Difference>,
) -> Result<Vec<u8>, FrameError> {
    let room = frame_bytes.max(MIN_FRAME_BYTES) - SLACK;
    let mut answer = Writer::default();
    let mut start = 0;
    while let Some(range) = ranges.read()? {
        let mut end = span.rank(&range.end.place).max(start);
        match (range.payload, &mut found) {
            (Payload::Skip, _) => answer.skip(range.end),
            (Payload::Fingerprint(theirs), _) if theirs == span.fingerprint(start..end) => answer.skip(range.end),
            (Payload::Fingerprint(_), _) => split(span, start..end, range.end, &mut answer),
            (Payload::Ids(theirs), Some(found)) => {
                compare(&span.ids(start..end, usize::MAX), theirs, found);
                answer.skip(range.end);
            }
            (Payload::Ids(_), None) => {
                // Who asked compares them; it is told as many of ours as there is room for.
                let ids = span.ids(start..end, room.saturating_sub(answer.size()) / 32 + 1);
                let told = start + ids.len();
                let bound = if told < end { span.get(told).map_or(range.end, Bound::at) } else { range.end };
                end = told;
                answer.ids(bound, &ids);
            }
        }
        start = end;
        if answer.size() > room {
            // What was not come to is for the next message: as one range, from where this one ends.
            answer.fingerprint(Bound::END, span.fingerprint(start..span.len()));
            break;
        }
    }
    Ok(answer.finish())
}

/// Says more about a range: its ids when they are few, else the fingerprints of its parts.
fn split(span: &Span, ranks: Range<usize>, end: Bound, answer: &mut Writer) {
    if ranks.len() < TOLD {
        return answer.ids(end, &span.ids(ranks, TOLD));
    }
    let (each, larger) = (ranks.len() / PARTS, ranks.len() % PARTS);
    for part in 0..PARTS {
        // The first ones have one more, as in the other implementations: an equal set then says equal things.
        let rank = |part: usize| ranks.start + part * each + part.min(larger);
        let (from, to) = (rank(part), rank(part + 1));
        let bound = match (span.get(to - 1), span.get(to)) {
            (Some(last), Some(next)) if to < ranks.end => Bound::between(&last, &next),
            _ => end,
        };
        answer.fingerprint(bound, span.fingerprint(from..to));
    }
}

fn compare(ours: &[EventId], theirs: &[[u8; 32]], found: &mut Difference) {
    let mut lacking: HashSet<EventId> = theirs.iter().map(|id| EventId(*id)).collect();
    for id in ours {
        if !lacking.remove(id) {
            found.have.push(*id);
        }
    }
    found.need.extend(lacking);
}
