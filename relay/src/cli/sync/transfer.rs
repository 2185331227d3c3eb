//! Hands over what differs: down by REQ, up by EVENT.

use std::collections::HashSet;

use anyhow::bail;
use futures_util::future::join_all;

use super::super::writing::Writing;
use super::tally::Tally;
use super::wire::{Said, Wire};
use crate::clock::now_s;
use crate::control::Answer;
use crate::negentropy::reconcile::Difference;
use crate::nostr::{Event, EventId, Filter, message};
use crate::policy::{Channel, Policies, Source, Verdict};
use crate::store::Store;
use crate::store::rocks::RocksStore;

/// Ids asked for in one REQ.
const BATCH: usize = 100;
/// Events on their way up at once.
const WINDOW: usize = 100;

pub struct Transfer<'a> {
    pub wire: Wire,
    pub filter: Filter,
    /// Where what comes down goes; `None`: nothing comes down.
    writing: Option<Writing>,
    /// Where what goes up comes from; `None`: nothing goes up.
    store: Option<&'a RocksStore>,
    /// The operator's plugin judges what comes down.
    pub policies: Policies,
    url: String,
    tally: Tally,
    /// Numbers the REQs.
    asked: u64,
}

impl<'a> Transfer<'a> {
    pub fn new(
        wire: Wire,
        writing: Option<Writing>,
        store: Option<&'a RocksStore>,
        filter: Filter,
        (policies, url): (Policies, String),
    ) -> Self {
        Self { wire, filter, writing, store, policies, url, tally: Tally::default(), asked: 0 }
    }

    /// What the messages so far, as many as `rounds`, have brought to light at last.
    pub async fn hand_over(&mut self, found: &Difference, rounds: u32) -> anyhow::Result<()> {
        self.tally.rounds = rounds;
        self.tally.have += found.have.len() as u64;
        self.tally.need += found.need.len() as u64;
        if self.writing.is_some() {
            self.down(&found.need).await?;
        }
        match self.store {
            Some(store) => self.up(store, &found.have).await,
            None => Ok(()),
        }
    }

    /// Returns once everything is on disk.
    pub fn finish(self) -> anyhow::Result<Tally> {
        if let Some(writing) = self.writing {
            writing.finish()?;
        }
        Ok(Tally { bytes_up: self.wire.bytes_up, bytes_down: self.wire.bytes_down, ..self.tally })
    }

    /// Asks for the next batch before the last is stored.
    async fn down(&mut self, ids: &[EventId]) -> anyhow::Result<()> {
        let mut batches = ids.chunks(BATCH);
        let mut batch = batches.next();
        if let Some(ids) = batch {
            self.ask(ids).await?;
        }
        while let Some(ids) = batch {
            let events = self.collect(ids).await?;
            batch = batches.next();
            if let Some(ids) = batch {
                self.ask(ids).await?;
            }
            self.keep(events).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, ids: &[EventId]) -> anyhow::Result<()> {
        self.asked += 1;
        let filter = Filter { ids: Some(ids.to_vec()), ..Filter::default() };
        self.wire.send(message::req(&self.subscription(), &filter)).await
    }

    fn subscription(&self) -> String {
        format!("R{}", self.asked)
    }

    /// What the relay answers to the REQ under way, as far as it was asked for and is sound.
    async fn collect(&mut self, ids: &[EventId]) -> anyhow::Result<Vec<Event>> {
        let subscription = self.subscription();
        let mut awaited: HashSet<EventId> = ids.iter().copied().collect();
        let mut events = Vec::new();
        loop {
            match self.wire.next().await? {
                Said::Event { subscription: named, event } if named == subscription => match event {
                    Ok(event) if awaited.remove(&event.id) => events.extend(self.sound(*event)),
                    // Not asked for, or twice.
                    Ok(_) => {}
                    Err(error) => eprintln!("the relay sent what is no event: {error}"),
                },
                // Events may have gone since they were compared: what does not come is not waited for.
                Said::Eose(named) if named == subscription => break,
                Said::Closed { subscription: named, text } if named == subscription => {
                    bail!("the relay does not hand over its events: {text}")
                }
                other => self.wire.mention(&other),
            }
        }
        self.wire.feed(message::close(&subscription)).await?;
        Ok(events)
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

    async fn keep(&mut self, events: Vec<Event>) -> anyhow::Result<()> {
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

    /// Those that the operator's plugin lets in.
    async fn admitted(&mut self, events: Vec<Event>) -> Vec<Event> {
        let source = Source::link(Channel::Sync(&self.url));
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

    async fn up(&mut self, store: &RocksStore, ids: &[EventId]) -> anyhow::Result<()> {
        let mut under_way = HashSet::new();
        for id in ids {
            // Gone since they were compared.
            let Some(record) = store.get(id)? else { continue };
            let Ok(body) = std::str::from_utf8(&record.body()).map(str::to_owned) else { continue };
            self.wire.feed(format!("[\"EVENT\",{body}]")).await?;
            under_way.insert(*id);
            while under_way.len() >= WINDOW {
                self.settle(&mut under_way).await?;
            }
        }
        while !under_way.is_empty() {
            self.settle(&mut under_way).await?;
        }
        Ok(())
    }

    /// Waits for one message, which may be an OK.
    async fn settle(&mut self, under_way: &mut HashSet<EventId>) -> anyhow::Result<()> {
        match self.wire.next().await? {
            Said::Ok { id, accepted, text } if under_way.remove(&id) => match accepted {
                true => self.tally.taken += 1,
                false => self.tally.refuse_there(&id, &text),
            },
            Said::NegErr { text, .. } => bail!("the relay says: {text}"),
            other => self.wire.mention(&other),
        }
        Ok(())
    }
}
