//! What comes down: checked, judged by the operator's plugin, and stored in batches.

use anyhow::bail;
use futures_util::future::join_all;

use super::super::writing::Writing;
use super::tally::Tally;
use crate::clock::now_s;
use crate::control::Answer;
use crate::nostr::{Event, EventId, Filter};
use crate::peer::LinkError;
use crate::peer::taker::{Found, Taker};
use crate::policy::{Channel, Policies, Source, Verdict};

/// Events stored at once; so many wait at most.
const BATCH: usize = 100;
/// Bytes of events that wait at most, and one event.
const BATCH_BYTES: usize = 4 << 20;
/// What is no event, or was not asked for, before the relay is given up.
const BAD: u64 = 100;

pub struct Descent<'a> {
    /// Where it goes; on loan to a thread while it is busy.
    writing: Option<Writing>,
    policies: &'a Policies,
    filter: &'a Filter,
    url: &'a str,
    waiting: Vec<Event>,
    waiting_bytes: usize,
    bad: u64,
    pub tally: Tally,
}

impl<'a> Descent<'a> {
    pub fn new(writing: Writing, policies: &'a Policies, filter: &'a Filter, url: &'a str) -> Self {
        let (writing, waiting, tally) = (Some(writing), Vec::new(), Tally::default());
        Self { writing, policies, filter, url, waiting, waiting_bytes: 0, bad: 0, tally }
    }

    /// Stores what waits.
    pub async fn store(&mut self) -> anyhow::Result<()> {
        self.waiting_bytes = 0;
        let events = std::mem::take(&mut self.waiting);
        let events = self.admitted(events).await;
        let Some(mut writing) = self.writing.take() else { return Ok(()) };
        let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
        // It waits for the disk, or for the relay that has the store.
        let stored = tokio::task::spawn_blocking(move || (writing.import(events), writing)).await?;
        let (answers, writing) = stored;
        self.writing = Some(writing);
        for (id, answer) in ids.iter().zip(answers?) {
            match answer {
                Answer::Stored => self.tally.stored += 1,
                Answer::Duplicate => self.tally.known += 1,
                Answer::Refused(reason) => self.tally.refuse_here(id, &reason),
                other => bail!("{id} could not be stored: {other:?}"),
            }
        }
        Ok(())
    }

    /// Returns once everything is on disk.
    pub fn finish(self) -> anyhow::Result<Tally> {
        if let Some(writing) = self.writing {
            writing.finish()?;
        }
        Ok(self.tally)
    }

    fn sound(&mut self, event: Event) -> Option<Event> {
        let fault = if !self.filter.matches(&event.view()) {
            "it does not match the filter".to_owned()
        } else if event.is_expired(now_s()) {
            "it has expired".to_owned()
        } else if let Err(error) = event.verify_signature() {
            error.to_string()
        } else {
            return Some(event);
        };
        self.tally.refuse_here(&event.id, &fault);
        None
    }

    /// Those that the operator's plugin lets in.
    async fn admitted(&mut self, events: Vec<Event>) -> Vec<Event> {
        let source = Source::link(Channel::Sync(self.url));
        let verdicts = join_all(events.iter().map(|event| self.policies.admit_event(event, &source))).await;
        let mut admitted = Vec::with_capacity(events.len());
        for (event, verdict) in events.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Accept => admitted.push(event),
                Verdict::Reject(text) | Verdict::Shadow(text) => self.tally.refuse_here(&event.id, &text),
            }
        }
        admitted
    }
}

impl Taker for Descent<'_> {
    async fn take(&mut self, found: Found) -> Result<(), LinkError> {
        match found {
            Found::Bad => {
                eprintln!("the relay sent what is no event, or was not asked for");
                self.bad += 1;
                if self.bad > BAD {
                    return Err(LinkError::Untrustworthy(self.bad));
                }
            }
            Found::Event(event) => {
                if let Some(event) = self.sound(*event) {
                    self.waiting_bytes += event.body().len();
                    self.waiting.push(event);
                }
                if self.waiting.len() >= BATCH || self.waiting_bytes >= BATCH_BYTES {
                    self.store().await.map_err(|error| LinkError::Own(format!("{error:#}")))?;
                }
            }
        }
        Ok(())
    }
}
