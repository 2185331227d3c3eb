//! Plays a relay's tape and holds the leases that it published against what comes out.
//!
//! Whoever has the relay's events can do it: the scheduler is deterministic, and the tape has all that it was told. A
//! lease is compared whole, date, tags and text: it is the same event or it is not.

use std::collections::{BTreeMap, HashMap};

use mercato_scheduler::Effect;
use mercato_scheduler::tape::Playback;

use super::announce;
use super::clock::Moment;
use super::tape::{self, Head, Page, Spoken, Wire};
use crate::nostr::{Event, EventId, Pubkey, kind};

/// Events of one relay: its tape and its leases.
#[derive(Debug, Default)]
pub struct Audit {
    /// Pages with which a tape begins, in the order of their dates.
    beginnings: BTreeMap<(u64, EventId), Page>,
    /// All others by the head before them.
    pages: HashMap<Head, Page>,
    /// By lease number and job.
    leases: BTreeMap<(u64, EventId), Event>,
}

/// What an audit came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Tapes, from beginning to end.
    pub tapes: u64,
    /// Lines that were played.
    pub lines: u64,
    /// Leases that came out as they were published.
    pub equal: u64,
    /// Leases that came out, and are not among the events: deleted, or left out.
    pub missing: u64,
    /// Leases among the events from before or after what could be played.
    pub beyond: u64,
    /// Pages that no tape leads to, because pages before them are missing.
    pub loose: u64,
    /// The first line that is still sealed; nothing of its tape was played from there on.
    pub sealed: Option<u64>,
    /// The first thing that is not as the tape has it; nothing was played from there on.
    pub difference: Option<String>,
}

/// What is played of one tape.
struct Play<'a> {
    leases: &'a mut BTreeMap<(u64, EventId), Event>,
    report: &'a mut Report,
    playback: Playback,
    /// When its first and its last step were, in seconds since 1970.
    span: Option<(u64, u64)>,
}

impl Audit {
    /// Takes an event, if it is one of the relay's that matter. Signatures are the caller's to check.
    ///
    /// # Errors
    /// When a page of the tape is damaged.
    pub fn add(&mut self, relay: &Pubkey, event: Event) -> Result<(), String> {
        if event.pubkey != *relay {
            return Ok(());
        }
        match event.kind {
            kind::MARKET_TAPE => {
                let page = Page::read(&event.tags(), &event.content())
                    .map_err(|error| format!("{} is no page of a tape: {error}", event.id))?;
                if page.first == 0 {
                    self.beginnings.insert((event.created_at, event.id), page);
                } else {
                    self.pages.insert(page.prev, page);
                }
            }
            kind::JOB_FEEDBACK => {
                if let Some(key) = lease_key(&event.tags()) {
                    self.leases.insert(key, event);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Plays every tape from its beginning, up to the first difference.
    pub fn run(mut self) -> Report {
        let mut report = Report::default();
        for page in std::mem::take(&mut self.beginnings).into_values() {
            let pages = self.follow(page);
            let lines: Vec<Wire> = pages.into_iter().flat_map(|page| page.lines).collect();
            report.tapes += 1;
            let mut play =
                Play { leases: &mut self.leases, report: &mut report, playback: Playback::default(), span: None };
            if let Err(difference) = play.all(lines).and_then(|()| play.left_over()) {
                report.difference = Some(difference);
                return report;
            }
        }
        report.loose = self.pages.len() as u64;
        report.beyond = self.leases.len() as u64;
        report
    }

    /// A page and those after it.
    fn follow(&mut self, first: Page) -> Vec<Page> {
        let mut pages = vec![first];
        while let Some(next) = pages.last().and_then(|page| self.pages.remove(&page.head)) {
            pages.push(next);
        }
        pages
    }
}

impl Play<'_> {
    fn all(&mut self, lines: Vec<Wire>) -> Result<(), String> {
        let mut revealed: HashMap<u64, ([u8; 32], Spoken)> = HashMap::new();
        for wire in &lines {
            if let Wire::Revealed { number, salt, spoken } = wire {
                revealed.insert(*number, (*salt, spoken.clone()));
            }
        }
        let mut head = [0; 32];
        for (number, wire) in (0..).zip(lines) {
            let before = head;
            head = tape::chain(&before, &tape::encode(&wire));
            let spoken = match wire {
                Wire::Open(spoken) => spoken,
                Wire::Revealed { .. } => continue,
                Wire::Sealed(seal) => match revealed.remove(&number) {
                    None => {
                        self.report.sealed.get_or_insert(number);
                        return Ok(());
                    }
                    Some((salt, spoken)) if tape::seal(&salt, &spoken) == seal => spoken,
                    Some(_) => return Err(format!("line {number} was revealed as something else than was sealed")),
                },
            };
            self.line(&before, spoken).map_err(|why| format!("line {number}: {why}"))?;
            self.report.lines += 1;
        }
        Ok(())
    }

    fn line(&mut self, before: &Head, Spoken { wall_ms, line }: Spoken) -> Result<(), String> {
        let at_ms = line.at_ms();
        let step = self.playback.play(*line).map_err(|error| error.to_string())?;
        if let Some(market_ms) = at_ms {
            let now = Moment { market_ms, wall_ms };
            let first = self.span.map_or(now.wall_s(), |(first, _)| first);
            self.span = Some((first, now.wall_s()));
            step.effects.iter().try_for_each(|effect| self.lease(before, now, effect))?;
        }
        Ok(())
    }

    /// Holds a lease that comes out against the one that was published.
    fn lease(&mut self, before: &Head, now: Moment, effect: &Effect) -> Result<(), String> {
        let Effect::AnnounceLease { job, lease, .. } = effect else { return Ok(()) };
        let job = EventId(job.0);
        let Some(published) = self.leases.remove(&(*lease, job)) else {
            self.report.missing += 1;
            return Ok(());
        };
        let tags = published.tags();
        let request =
            tags.iter().find(|tag| tag.first().is_some_and(|name| name == "request")).and_then(|tag| tag.get(1));
        if let Some(request) = request
            && !Event::parse(request).is_ok_and(|event| event.id == job)
        {
            return Err(format!("lease {lease} on job {job} carries another request"));
        }
        let draft = announce::draft(effect, request.map(String::as_str), Some(before), now);
        let mut differences = Vec::new();
        if published.created_at != now.wall_s() {
            differences.push(format!("it is dated {}, by the tape {}", published.created_at, now.wall_s()));
        }
        if published.content() != draft.content {
            differences.push("it has another text".to_owned());
        }
        let mut pairs = tags.iter().zip(&draft.tags);
        if let Some((tag, wanted)) = pairs.find(|(tag, wanted)| tag != wanted) {
            differences.push(format!("it says {tag:?}, by the tape {wanted:?}"));
        } else if tags.len() != draft.tags.len() {
            differences.push(format!("it has {} tags, by the tape {}", tags.len(), draft.tags.len()));
        }
        if differences.is_empty() {
            self.report.equal += 1;
            Ok(())
        } else {
            Err(format!("lease {lease} on job {job}: {}", differences.join("; ")))
        }
    }

    /// A lease from the time of the tape which did not come out of it is an invention.
    fn left_over(&mut self) -> Result<(), String> {
        let Some((first, last)) = self.span else { return Ok(()) };
        let mut within = self.leases.iter().filter(|(_, event)| event.created_at > first && event.created_at < last);
        match within.next() {
            Some(((lease, job), event)) => {
                Err(format!("lease {lease} on job {job}, event {}, is not on the tape", event.id))
            }
            None => Ok(()),
        }
    }
}

/// Number and job of a lease; `None`: the event tells of something else.
fn lease_key(tags: &[Vec<String>]) -> Option<(u64, EventId)> {
    let value = |name: &str| {
        let tag = tags.iter().find(|tag| tag.first().is_some_and(|first| first == name))?;
        tag.get(1)
    };
    if value("status")? != "assigned" {
        return None;
    }
    Some((value("lease")?.parse().ok()?, EventId::from_hex(value("e")?)?))
}
