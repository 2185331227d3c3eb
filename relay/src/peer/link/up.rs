//! The way up: what the peer lacks, as our order of storing tells, and then what is stored from now on.

use std::convert::Infallible;

use tokio::sync::broadcast::{self, error::RecvError};

use super::Link;
use super::course::Course;
use crate::nostr::{Event, EventView};
use crate::peer::error::LinkError;
use crate::peer::feed::Fed;
use crate::peer::home;
use crate::peer::pipeline::{Pipeline, Settled};
use crate::peer::socket::Peer;
use crate::peer::status::Count;
use crate::policy::{Channel, Source, Verdict};

/// Events in flight to one peer.
const WIDTH: usize = 100;

/// What an upward link keeps from one connection to the next.
pub struct Up {
    events: broadcast::Receiver<Fed>,
    pipeline: Pipeline,
    /// Everything up to this sequence was offered, or was not to be.
    looked_at: u64,
    /// The store has to be searched: `events` does not have everything since.
    behind: bool,
}

impl Up {
    pub fn new(link: &Link) -> Self {
        // In this order: what is committed in between comes by both ways, and is offered once.
        let events = link.joined.follow();
        let last = link.home.last_sequence();
        // A mark beyond the end is of another store.
        let mark = link.marks.get(&link.mark).up_sequence.filter(|mark| *mark <= last);
        let looked_at = mark.unwrap_or(last);
        Self { events, pipeline: Pipeline::new(WIDTH), looked_at, behind: looked_at < last }
    }
}

impl Link {
    /// What we have that the peer has not, and then what is stored from now on.
    pub(super) async fn up(&self, peer: &Peer, up: &mut Up, course: &Course<'_>) -> Result<Infallible, LinkError> {
        up.pipeline.resume(peer).await?;
        let mut missed = up.looked_at;
        loop {
            if up.behind {
                self.catch_up(peer, up).await?;
                missed = up.looked_at;
            }
            if up.pipeline.first_sequence().is_none_or(|first| first > missed) {
                course.up_is_caught_up();
            }
            let full = up.pipeline.is_full();
            tokio::select! {
                fed = up.events.recv(), if !full => match fed {
                    Ok(fed) => self.offer_fed(peer, up, fed).await?,
                    Err(RecvError::Lagged(_)) => up.behind = true,
                    Err(RecvError::Closed) => return Err(LinkError::Own("the relay is stopping".to_owned())),
                },
                settled = up.pipeline.settle(peer) => self.account(settled?),
            }
            self.mark_up(up);
        }
    }

    /// Offers what the store has beyond the last sequence that was looked at.
    async fn catch_up(&self, peer: &Peer, up: &mut Up) -> Result<(), LinkError> {
        let (from, through) = (up.looked_at, self.home.last_sequence());
        let mut scan = home::all(self.spec.filter.clone(), through);
        loop {
            let (next, records, more) = self.home.slice(scan, from).await?;
            for record in records {
                // Stored events are not looked into for NIP-70's tag unless they may go.
                if !self.is_offered(&record.view(), false) {
                    continue;
                }
                let Ok(event) = record.event() else { continue };
                if event.protected || !self.passes_plugin(&event).await {
                    continue;
                }
                while up.pipeline.is_full() {
                    let settled = up.pipeline.settle(peer).await?;
                    self.account(settled);
                }
                // The mark stays where it was until all of them are answered.
                up.pipeline.offer(peer, record.position.id, record.body(), from + 1).await?;
            }
            if !more {
                break;
            }
            scan = next;
        }
        up.behind = false;
        up.looked_at = through;
        Ok(())
    }

    async fn offer_fed(&self, peer: &Peer, up: &mut Up, fed: Fed) -> Result<(), LinkError> {
        if fed.sequence <= up.looked_at {
            return Ok(());
        }
        up.looked_at = fed.sequence;
        let event = &fed.event;
        if !self.is_offered(&event.view(), event.protected) || !self.passes_plugin(event).await {
            return Ok(());
        }
        up.pipeline.offer(peer, event.id, event.body().clone(), fed.sequence).await
    }

    fn is_offered(&self, event: &EventView<'_>, protected: bool) -> bool {
        let filter = &self.spec.filter;
        filter.matches(event) && !self.known.contains(event.id) && self.home.may_leave(event, filter, protected)
    }

    /// Whether pluginUp lets an event go.
    async fn passes_plugin(&self, event: &Event) -> bool {
        let Some(plugin) = &self.plugin_up else { return true };
        match plugin.judge_event(event, &Source::link(Channel::Stored)).await {
            Verdict::Accept => true,
            Verdict::Reject(text) | Verdict::Shadow(text) => {
                self.status.tell("refused by pluginUp", &event.id, &text);
                false
            }
        }
    }

    fn account(&self, settled: Settled) {
        let Settled { id, verdict } = settled;
        // Other prefixes are refusals even where OK says true; a duplicate is what we wanted.
        if verdict.accepted || verdict.text.starts_with("duplicate:") {
            self.known.note(id);
            self.status.count(Count::Accepted);
        } else {
            self.status.count(Count::RefusedUp);
            self.status.tell("refused by the peer", &id, &verdict.text);
        }
    }

    fn mark_up(&self, up: &Up) {
        if up.behind {
            return;
        }
        let answered = up.pipeline.first_sequence().map_or(up.looked_at, |first| first.saturating_sub(1));
        self.marks.change(&self.mark, |mark| mark.up_sequence = Some(answered));
    }
}
