//! Events on their way to a peer: several in flight, answered in any order, settled in the order they were offered.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::error::LinkError;
use super::socket::{self, Peer, Verdict};
use crate::nostr::EventId;

/// How long the peer may take to answer an event, unless it is said otherwise.
const PATIENCE: Duration = Duration::from_secs(60);
/// First and longest pause before an event is offered again to a peer that takes no more for the moment.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often an event is offered again to a peer that is asked too fast, before the connection is given up.
const ATTEMPTS_RATE: u32 = 12;
/// How often after any other fault, before the event counts as refused.
const ATTEMPTS_FAULT: u32 = 3;

/// Up to `width` events in flight. What is not settled when a connection breaks is offered again to the next.
#[derive(Debug)]
pub struct Pipeline {
    width: usize,
    /// How long the peer may take to answer an event; `None`: for ever.
    patience: Option<Duration>,
    waiting: VecDeque<Offer>,
    pause: Duration,
    /// Until then nothing refused for the moment is offered again.
    resume_at: Option<Instant>,
}

#[derive(Debug)]
struct Offer {
    id: EventId,
    body: Bytes,
    sequence: u64,
    sent: Instant,
    verdict: oneshot::Receiver<Verdict>,
    decided: Option<Verdict>,
    attempts: u32,
}

/// What became of the event that was offered first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    pub id: EventId,
    pub verdict: Verdict,
}

impl Pipeline {
    pub fn new(width: usize) -> Self {
        Self { width, patience: Some(PATIENCE), waiting: VecDeque::new(), pause: FIRST_PAUSE, resume_at: None }
    }

    /// The same with another patience.
    pub fn with_patience(self, patience: Option<Duration>) -> Self {
        Self { patience, ..self }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.waiting.len() >= self.width
    }

    /// Sequence of the event that is to be settled next.
    pub fn first_sequence(&self) -> Option<u64> {
        self.waiting.front().map(|offer| offer.sequence)
    }

    /// Offers one more event. The caller sees to it that there is room.
    pub async fn offer(&mut self, peer: &Peer, id: EventId, body: Bytes, sequence: u64) -> Result<(), LinkError> {
        let verdict = peer.expect_ok(id);
        let message = message(&body);
        let sent = Instant::now();
        self.waiting.push_back(Offer { id, body, sequence, sent, verdict, decided: None, attempts: 0 });
        peer.send(message).await
    }

    /// Offers everything unsettled to a new connection.
    pub async fn resume(&mut self, peer: &Peer) -> Result<(), LinkError> {
        self.resume_at = None;
        for offer in &mut self.waiting {
            offer.send_again(peer).await?;
        }
        Ok(())
    }

    /// Waits for what becomes of the first event. May be dropped and called again at any time; never resolves while
    /// nothing is in flight.
    pub async fn settle(&mut self, peer: &Peer) -> Result<Settled, LinkError> {
        loop {
            if let Some(at) = self.resume_at {
                sleep_until(at).await;
                self.offer_again(peer).await?;
                self.resume_at = None;
            }
            let Some(first) = self.waiting.front_mut() else { return std::future::pending().await };
            if first.decided.is_none() {
                first.decided = Some(first.answered(self.patience).await?);
            }
            match &first.decided {
                Some(verdict) if is_too_fast(verdict) && first.attempts >= ATTEMPTS_RATE => {
                    return Err(LinkError::Busy(verdict.text.clone()));
                }
                Some(verdict) if is_too_fast(verdict) || is_fault(verdict) && first.attempts < ATTEMPTS_FAULT => {
                    self.resume_at = Some(Instant::now() + self.pause);
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                }
                Some(_) | None => {
                    self.pause = FIRST_PAUSE;
                    let settled = self.waiting.pop_front();
                    if let Some(Offer { id, decided: Some(verdict), .. }) = settled {
                        return Ok(Settled { id, verdict });
                    }
                }
            }
        }
    }

    /// Offers again what was refused for the moment. Dropped half-way, it begins again: the peer knows what it has.
    async fn offer_again(&mut self, peer: &Peer) -> Result<(), LinkError> {
        for offer in &mut self.waiting {
            if offer.decided.is_none() {
                offer.decided = offer.verdict.try_recv().ok();
            }
            if offer.decided.as_ref().is_some_and(|verdict| is_too_fast(verdict) || is_fault(verdict)) {
                offer.send_again(peer).await?;
                offer.attempts += 1;
            }
        }
        Ok(())
    }
}

impl Offer {
    async fn answered(&mut self, patience: Option<Duration>) -> Result<Verdict, LinkError> {
        let verdict = match patience {
            Some(patience) => {
                let answered = timeout_at(self.sent + patience, &mut self.verdict).await;
                answered.map_err(|_| LinkError::NoVerdict(patience))?
            }
            None => (&mut self.verdict).await,
        };
        verdict.map_err(|_| LinkError::Gone)
    }

    async fn send_again(&mut self, peer: &Peer) -> Result<(), LinkError> {
        self.decided = None;
        self.sent = Instant::now();
        self.verdict = peer.expect_ok(self.id);
        peer.send(message(&self.body)).await
    }
}

fn message(body: &Bytes) -> String {
    format!("[\"EVENT\",{}]", socket::body(body))
}

fn is_too_fast(verdict: &Verdict) -> bool {
    !verdict.accepted && verdict.text.starts_with("rate-limited:")
}

/// Whether the same event may be taken a little later.
fn is_fault(verdict: &Verdict) -> bool {
    !verdict.accepted && (verdict.text.starts_with("error:") || verdict.text.starts_with("auth-required:"))
}
