//! One link: stays connected to one peer, and hands events down, up, or both ways.
//!
//! What passes while the connection is down is caught up with afterwards. Down (`backfill`): everything that the peer has
//! since shortly before it was last heard. Up (`up`): everything that was stored here since the event that the peer has
//! answered last; nothing depends on clocks there.

mod backfill;
mod course;
mod up;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use self::course::Course;
use self::up::Up;
use super::address;
use super::backoff::Backoff;
use super::error::LinkError;
use super::feed::Joined;
use super::home::Home;
use super::intake::Intake;
use super::mark::Marks;
use super::recent::Recent;
use super::router::file::Direction;
use super::socket::{self, Peer, Said, Terms};
use super::status::{LinkState, Status};
use crate::nostr::{Filter, message};
use crate::policy::plugin::Plugin;

/// The subscription to what comes from now on.
const LIVE: &str = "live";
/// How far before the last sign of life a peer is asked again, in seconds: events reach a relay some time after they are
/// made.
const MARGIN_S: u64 = 600;
/// A connection that held for so long was a good one: the next attempt comes soon.
const STEADY: Duration = Duration::from_secs(60);
/// How often the mark follows a link that is in sync.
const MARK_PERIOD: Duration = Duration::from_secs(2);
/// How long a peer may take to begin a subscription before it is asked for what was missed all the same.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

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
    /// Whether the next back-fill may begin with negentropy: not after a connection that did not outlive it.
    reconciles: AtomicBool,
}

impl Link {
    pub fn new(spec: Spec, home: Arc<Home>, status: Arc<Status>, marks: Arc<Marks>) -> Self {
        let (joined, known) = (home.feed().join(), home.known_by(&spec.url));
        let plugin_down = home.plugin(spec.plugin_down.as_deref());
        let plugin_up = home.plugin(spec.plugin_up.as_deref());
        let mark = format!("{} {}", address::normal(&spec.url), spec.filter.to_json());
        let reconciles = AtomicBool::new(true);
        Self { spec, home, status, marks, mark, known, joined, plugin_down, plugin_up, reconciles }
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
        let terms = Terms::new(self.home.key.clone(), self.spec.connection_timeout);
        let (peer, driver) = match socket::connect(&self.spec.url, terms).await {
            Ok(connected) => connected,
            Err(error) => return error,
        };
        self.status.enter(LinkState::CatchingUp);
        match driver.run_for(self.work(&peer, up)).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn work(&self, peer: &Peer, up: Option<&mut Up>) -> Result<Infallible, LinkError> {
        peer.authenticated().await?;
        let course = Course::new(self.spec.direction, &self.status);
        match up {
            None => self.down(peer, &course).await,
            Some(up) if self.spec.direction.is_down() => {
                let both = tokio::try_join!(self.down(peer, &course), self.up(peer, up, &course));
                both.map(|(never, _)| never)
            }
            Some(up) => self.up(peer, up, &course).await,
        }
    }

    fn intake(&self) -> Intake<'_> {
        let asked = (self.spec.url.as_str(), &self.spec.filter);
        Intake::new(&self.home, &self.status, &self.known, asked, self.plugin_down.clone())
    }

    /// What comes from now on, and beside it what was missed.
    async fn down(&self, peer: &Peer, course: &Course<'_>) -> Result<Infallible, LinkError> {
        let (answered, ready) = oneshot::channel();
        let both = tokio::try_join!(self.subscribe(peer, answered), self.make_up(peer, ready, course));
        both.map(|(never, _)| never)
    }

    /// Fetches what was missed once the subscription stands, so that nothing falls between the two, and then has the mark
    /// follow.
    async fn make_up(
        &self,
        peer: &Peer,
        ready: oneshot::Receiver<()>,
        course: &Course<'_>,
    ) -> Result<Infallible, LinkError> {
        // A peer that never says EOSE has had time enough.
        let _ = timeout(ANSWER_PATIENCE, ready).await;
        if let Some(at) = self.marks.get(&self.mark).down_s {
            self.backfill(peer, at.saturating_sub(MARGIN_S)).await?;
        }
        course.down_is_caught_up();
        loop {
            self.marks.change(&self.mark, |mark| mark.down_s = Some(peer.heard_s()));
            tokio::time::sleep(MARK_PERIOD).await;
        }
    }

    /// The live subscription.
    async fn subscribe(&self, peer: &Peer, answered: oneshot::Sender<()>) -> Result<Infallible, LinkError> {
        let live = Filter { limit: Some(0), ..self.spec.filter.clone() };
        let request = message::req(LIVE, &live);
        let mut answers = peer.listen(LIVE);
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
                Said::Event(text) => intake.take_text(&text).await?,
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
}
