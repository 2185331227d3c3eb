//! One link: stays connected to one peer, and hands events down, up, or both ways.
//!
//! What passes while the connection is down is caught up with afterwards. Down: the peer is asked for everything since
//! shortly before it was last heard. Up: the store is searched for everything of a higher sequence than the peer has
//! answered for; nothing depends on clocks there.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::address;
use super::backoff::Backoff;
use super::error::LinkError;
use super::feed::{Fed, Joined};
use super::home::{self, Home};
use super::intake::Intake;
use super::mark::Marks;
use super::pages::{self, Walk};
use super::pipeline::{Pipeline, Settled};
use super::recent::Recent;
use super::router::file::Direction;
use super::socket::{self, Peer, Said};
use super::status::{Count, LinkState, Status};
use crate::nostr::{Event, EventView, Filter};
use crate::policy::plugin::Plugin;
use crate::policy::{Channel, Source, Verdict};

/// Events in flight to one peer.
const WIDTH: usize = 100;
/// How far before the last sign of life a peer is asked again, in seconds: events reach a relay some time after they are
/// made.
const MARGIN_S: u64 = 600;
/// A connection that held for so long was a good one: the next attempt comes soon.
const STEADY: Duration = Duration::from_secs(60);
/// How often the mark follows a link that is in sync.
const MARK_PERIOD: Duration = Duration::from_secs(2);
/// How long a peer may take to begin a subscription before it is asked for what was missed all the same.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// How long a failed back-fill rests while the live subscription goes on.
const BACKFILL_PAUSE: Duration = Duration::from_secs(300);

/// What one link is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub stream: String,
    pub url: String,
    pub direction: Direction,
    pub filter: Filter,
    pub plugin_down: Option<String>,
    pub plugin_up: Option<String>,
    pub connection_timeout: Duration,
}

pub struct Link {
    spec: Spec,
    home: Arc<Home>,
    status: Arc<Status>,
    marks: Arc<Marks>,
    /// Name of this link's mark: what it follows, by whatever name of a stream.
    mark: String,
    /// What the peer is known to have.
    known: Arc<Recent>,
    joined: Joined,
    plugin_down: Option<Arc<Plugin>>,
    plugin_up: Option<Arc<Plugin>>,
}

impl Link {
    pub fn new(spec: Spec, home: Arc<Home>, status: Arc<Status>, marks: Arc<Marks>) -> Self {
        let (joined, known) = (home.live.feed().join(), home.known_by(&spec.url));
        let plugin_down = home.plugin(spec.plugin_down.as_deref());
        let plugin_up = home.plugin(spec.plugin_up.as_deref());
        let mark = format!("{} {}", address::normal(&spec.url), spec.filter.to_json());
        Self { spec, home, status, marks, mark, known, joined, plugin_down, plugin_up }
    }

    /// Runs until dropped.
    pub async fn run(self) {
        let mut backoff = Backoff::new();
        let mut up = self.spec.direction.is_up().then(|| Up::new(&self));
        loop {
            self.status.enter(LinkState::Connecting);
            let started = Instant::now();
            let error = self.session(up.as_mut()).await;
            self.status.enter(LinkState::Waiting(error.to_string()));
            if started.elapsed() >= STEADY {
                backoff.reset();
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// One connection, from beginning to end.
    async fn session(&self, up: Option<&mut Up>) -> LinkError {
        let connected = socket::connect(&self.spec.url, self.home.key.clone(), self.spec.connection_timeout).await;
        let (peer, driver) = match connected {
            Ok(connected) => connected,
            Err(error) => return error,
        };
        self.status.enter(LinkState::CatchingUp);
        tokio::select! {
            error = driver.run() => error,
            error = self.work(&peer, up) => error,
        }
    }

    async fn work(&self, peer: &Peer, up: Option<&mut Up>) -> LinkError {
        if let Err(error) = peer.authenticated().await {
            return error;
        }
        let ended = match up {
            None => self.down(peer).await,
            Some(up) if self.spec.direction.is_down() => {
                tokio::try_join!(self.down(peer), self.up(peer, up)).map(|(never, _)| never)
            }
            Some(up) => self.up(peer, up).await,
        };
        match ended {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn intake(&self) -> Intake<'_> {
        Intake::new(&self.home, &self.status, &self.known, &self.spec.url, self.plugin_down.clone())
    }

    /// What comes from now on, and beside it what was missed.
    async fn down(&self, peer: &Peer) -> Result<Infallible, LinkError> {
        let (answered, ready) = oneshot::channel();
        let both = tokio::try_join!(self.subscribe(peer, answered), self.make_up(peer, ready));
        both.map(|(never, _)| never)
    }

    /// Fetches what was missed once the subscription stands, so that nothing falls between the two, and then has the mark
    /// follow.
    async fn make_up(&self, peer: &Peer, ready: oneshot::Receiver<()>) -> Result<Infallible, LinkError> {
        // A peer that never says EOSE has had time enough.
        let _ = timeout(ANSWER_PATIENCE, ready).await;
        if let Some(at) = self.marks.get(&self.mark).down_s {
            self.backfill(peer, at.saturating_sub(MARGIN_S)).await?;
        }
        self.status.enter(LinkState::Live);
        loop {
            self.marks.change(&self.mark, |mark| mark.down_s = Some(peer.heard_s()));
            tokio::time::sleep(MARK_PERIOD).await;
        }
    }

    /// The live subscription.
    async fn subscribe(&self, peer: &Peer, answered: oneshot::Sender<()>) -> Result<Infallible, LinkError> {
        let live = Filter { limit: Some(0), ..self.spec.filter.clone() };
        let request = format!("[\"REQ\",\"live\",{}]", live.to_json());
        let mut answers = peer.listen("live");
        peer.send(request.clone()).await?;
        let mut answered = Some(answered);
        let mut intake = self.intake();
        let mut authenticated = false;
        loop {
            let said = tokio::select! {
                said = answers.recv() => said.ok_or(LinkError::Gone)?,
                error = intake.watch() => return Err(error),
            };
            match said {
                Said::Event(text) => intake.take_text(&text, &self.spec.filter).await?,
                Said::Eose => {
                    // Told once: a second EOSE of a strange peer means nothing.
                    let _ = answered.take().map(|answered| answered.send(()));
                }
                Said::Closed(text) if text.starts_with("auth-required:") && !authenticated => {
                    authenticated = peer.authenticated().await?;
                    if !authenticated {
                        return Err(LinkError::Unsubscribed(text));
                    }
                    peer.send(request.clone()).await?;
                }
                Said::Closed(text) => return Err(LinkError::Unsubscribed(text)),
                Said::NegMsg(_) | Said::NegErr(_) => {}
            }
        }
    }

    /// Everything of the peer's since then. Tries until it succeeds: the mark moves on only afterwards.
    async fn backfill(&self, peer: &Peer, since: u64) -> Result<(), LinkError> {
        let since = since.max(self.spec.filter.since.unwrap_or(0));
        let mut walk = Walk::new(Filter { since: Some(since), ..self.spec.filter.clone() });
        loop {
            let mut intake = self.intake();
            match pages::walk(peer, &mut walk, "missed", &mut intake).await {
                Ok(()) => {
                    for second in &walk.crowded {
                        tracing::warn!(
                            url = self.spec.url,
                            second,
                            "the peer may have more of one second than it shows"
                        );
                    }
                    return intake.settle().await;
                }
                Err(error @ (LinkError::Silent(_) | LinkError::Unsubscribed(_))) => {
                    tracing::warn!(url = self.spec.url, %error, "what was missed could not be fetched, again later");
                    tokio::time::sleep(BACKFILL_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What we have that the peer has not, and then what is stored from now on.
    async fn up(&self, peer: &Peer, up: &mut Up) -> Result<Infallible, LinkError> {
        up.pipeline.resume(peer).await?;
        loop {
            if up.behind {
                self.catch_up(peer, up).await?;
            }
            if !self.spec.direction.is_down() {
                self.status.enter(LinkState::Live);
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
        let (from, through) = (up.looked_at, self.home.store.last_sequence());
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

/// What an upward link keeps from one connection to the next.
struct Up {
    events: broadcast::Receiver<Fed>,
    pipeline: Pipeline,
    /// Everything up to this sequence was offered, or was not to be.
    looked_at: u64,
    /// The store has to be searched: `events` does not have everything since.
    behind: bool,
}

impl Up {
    fn new(link: &Link) -> Self {
        // In this order: what is committed in between comes by both ways, and is offered once.
        let events = link.joined.follow();
        let last = link.home.store.last_sequence();
        // A mark beyond the end is of another store.
        let mark = link.marks.get(&link.mark).up_sequence.filter(|mark| *mark <= last);
        let looked_at = mark.unwrap_or(last);
        Self { events, pipeline: Pipeline::new(WIDTH), looked_at, behind: looked_at < last }
    }
}
