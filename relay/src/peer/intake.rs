//! Events of one peer on their way into the store: each is checked like one that a client publishes, and what passes goes
//! to the writer.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::error::LinkError;
use super::home::{Home, Unwanted};
use super::recent::Recent;
use super::status::{Count, Status};
use super::taker::{Found, Taker};
use crate::nostr::kind::Retention;
use crate::nostr::{Event, Filter};
use crate::policy::plugin::{Plugin, Then};
use crate::policy::{Channel, Source, Verdict};
use crate::writer::Imported;

/// Events at the writer at once; with so many the peer is read no further until the first is on disk.
const UNDER_WAY: usize = 500;
/// Events that are not valid or were not asked for, after which the connection is given up.
const BAD: u64 = 100;

pub struct Intake<'a> {
    home: &'a Arc<Home>,
    status: &'a Arc<Status>,
    /// The peer, as the plugin is told.
    url: &'a str,
    /// What the peer is asked for.
    filter: &'a Filter,
    plugin: Option<Arc<Plugin>>,
    /// What this peer is known to have, so that it is not sent back.
    known: &'a Recent,
    under_way: VecDeque<oneshot::Receiver<Imported>>,
    bad: u64,
}

impl<'a> Intake<'a> {
    pub fn new(
        home: &'a Arc<Home>,
        status: &'a Arc<Status>,
        known: &'a Recent,
        (url, filter): (&'a str, &'a Filter),
        plugin: Option<Arc<Plugin>>,
    ) -> Self {
        Self { home, status, url, filter, plugin, known, under_way: VecDeque::new(), bad: 0 }
    }

    /// An event as the peer sent it.
    pub async fn take_text(&mut self, text: &str) -> Result<(), LinkError> {
        match Event::parse(text) {
            Ok(event) => self.take_event(Box::new(event)).await,
            Err(_) => self.bad(),
        }
    }

    /// An event that has the right id.
    async fn take_event(&mut self, event: Box<Event>) -> Result<(), LinkError> {
        if !self.filter.matches(&event.view()) {
            return self.bad();
        }
        self.status.count(Count::Received);
        match self.home.check(&event) {
            Ok(()) => {}
            Err(unwanted) => {
                // Known or not wanted, the peer has it.
                self.known.note(event.id);
                let count = match unwanted {
                    Unwanted::Known => Count::Known,
                    Unwanted::Refused(text) => {
                        self.status.tell("not kept", &event.id, &text);
                        Count::RefusedDown
                    }
                };
                self.status.count(count);
                return Ok(());
            }
        }
        if event.verify_signature().is_err() {
            return self.bad();
        }
        self.known.note(event.id);
        if event.retention() == Retention::Ephemeral && !self.home.feed().note(event.id) {
            self.status.count(Count::Known);
            return Ok(());
        }
        if self.under_way.len() >= UNDER_WAY {
            self.settle_one().await?;
        }
        let (reply, outcome) = oneshot::channel();
        self.under_way.push_back(outcome);
        match &self.plugin {
            None => self.home.store(event, reply).await,
            Some(plugin) => self.judge(plugin, event, reply).await,
        }
        Ok(())
    }

    /// Has the plugin judge an event; what it accepts goes to the writer in the order in which it judged.
    async fn judge(&self, plugin: &Plugin, event: Box<Event>, reply: oneshot::Sender<Imported>) {
        let then: Then = {
            let (home, status, event) = (self.home.clone(), self.status.clone(), event.clone());
            Box::new(move |verdict| {
                Box::pin(async move {
                    match verdict {
                        Verdict::Accept => home.store(event, reply).await,
                        Verdict::Reject(text) | Verdict::Shadow(text) => {
                            status.tell("refused by pluginDown", &event.id, &text);
                            // Whoever waited has given the connection up.
                            let _ = reply.send(Imported::Refused("pluginDown"));
                        }
                    }
                })
            })
        };
        plugin.submit(&event, &Source::link(Channel::Stream(self.url)), then).await;
    }

    /// Something that is no event, or none that was asked for.
    fn bad(&mut self) -> Result<(), LinkError> {
        self.status.count(Count::Bad);
        self.bad += 1;
        if self.bad > BAD {
            return Err(LinkError::Untrustworthy(self.bad));
        }
        Ok(())
    }

    /// Counts what the writer answers while nothing comes; never resolves well. May be dropped at any time.
    pub async fn watch(&mut self) -> LinkError {
        while !self.under_way.is_empty() {
            if let Err(error) = self.settle_one().await {
                return error;
            }
        }
        std::future::pending().await
    }

    /// Waits until everything is on disk.
    pub async fn settle(&mut self) -> Result<(), LinkError> {
        while !self.under_way.is_empty() {
            self.settle_one().await?;
        }
        Ok(())
    }

    async fn settle_one(&mut self) -> Result<(), LinkError> {
        let Some(first) = self.under_way.front_mut() else { return Ok(()) };
        let outcome = first.await;
        self.under_way.pop_front();
        self.account(outcome.map_err(|_| stopping())?)
    }

    fn account(&self, outcome: Imported) -> Result<(), LinkError> {
        let count = match outcome {
            Imported::Stored => Count::Stored,
            Imported::Duplicate => Count::Known,
            Imported::Refused(_) => Count::RefusedDown,
            // Fetched again after the reconnection.
            Imported::Failed(text) => return Err(LinkError::Own(text)),
        };
        self.status.count(count);
        Ok(())
    }
}

impl Taker for Intake<'_> {
    async fn take(&mut self, found: Found) -> Result<(), LinkError> {
        match found {
            Found::Event(event) => self.take_event(event).await,
            Found::Bad => self.bad(),
        }
    }
}

fn stopping() -> LinkError {
    LinkError::Own("the relay is stopping".to_owned())
}
