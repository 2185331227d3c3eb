//! What a peer has stored while the link was down.
//!
//! The peer is asked by NIP-77 what we lack, and for that by id: two relays that followed the same third one have next to
//! nothing to hand over. One that does not speak NIP-77, or has more of a difference than is worth telling by id, is walked
//! page by page.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Link;
use crate::nostr::{EventId, Filter};
use crate::peer::comparison::{CompareError, Comparison};
use crate::peer::error::LinkError;
use crate::peer::fetch::{self, fetch};
use crate::peer::pages::{self, Walk};
use crate::peer::question::Questions;
use crate::peer::socket::Peer;

/// What its subscriptions are called.
const NAME: &str = "missed";
/// How long the peer may take for a message of negentropy, or say nothing while it hands over what we lack.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of one of our negentropy messages; in hex twice that, which is less than any relay takes.
const FRAME_BYTES: usize = 60_000;
/// Messages of negentropy that the peer may need: those in which it tells of all that we may lack, in the smallest frames.
const MAX_ROUNDS: u32 = 2_000;
/// Events that we may lack; of more than these, ids cost as much as pages do.
const MAX_NEEDED: usize = 100_000;
/// How long a failed back-fill rests while the live subscription goes on.
const PAUSE: Duration = Duration::from_secs(300);

/// Why pages are walked after all.
#[derive(Debug, thiserror::Error)]
enum Hindrance {
    #[error("there is no memory for a set of all that is to be compared")]
    NoMemory,
    #[error("the peer has more than {MAX_NEEDED} events that are not here")]
    NeedsTooMany,
    #[error("the peer needs more than {MAX_ROUNDS} messages")]
    Endless,
    #[error(transparent)]
    Compare(#[from] CompareError),
}

impl Hindrance {
    /// What ends the connection, or is our own fault: nothing that pages would help against.
    fn fatal(self) -> Result<Self, LinkError> {
        match self {
            Self::Compare(CompareError::Link(error))
                if !matches!(error, LinkError::Silent(_) | LinkError::Unsubscribed(_)) =>
            {
                Err(error)
            }
            other => Ok(other),
        }
    }
}

impl From<LinkError> for Hindrance {
    fn from(error: LinkError) -> Self {
        Self::Compare(CompareError::Link(error))
    }
}

impl Link {
    /// Everything of the peer's since then. Tries until it succeeds: the mark moves on only afterwards.
    pub(super) async fn backfill(&self, peer: &Peer, since: u64) -> Result<(), LinkError> {
        let since = since.max(self.spec.filter.since.unwrap_or(0));
        let filter = Filter { since: Some(since), ..self.spec.filter.clone() };
        // Taken back once it has ended in any other way than with the connection: a peer that breaks off when it is asked
        // so is asked for pages next time.
        if self.reconciles.swap(false, Ordering::Relaxed) {
            let reconciled = match self.reconcile(peer, &filter).await {
                Ok(()) => true,
                Err(hindrance) => {
                    let (url, why) = (&self.spec.url, hindrance.fatal()?.to_string());
                    tracing::info!(stream = self.spec.stream, url, why, "what was missed is fetched page by page");
                    false
                }
            };
            self.reconciles.store(true, Ordering::Relaxed);
            if reconciled {
                return Ok(());
            }
        }
        self.walk(peer, filter).await?;
        self.reconciles.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// What the peer has and we have not, by negentropy.
    async fn reconcile(&self, peer: &Peer, filter: &Filter) -> Result<(), Hindrance> {
        let (span, share) = self.home.gather(filter.clone()).await?.ok_or(Hindrance::NoMemory)?;
        let here = span.len();
        let mut comparison = Comparison::new(peer, NAME, filter, (span, FRAME_BYTES), Some(PATIENCE));
        let compared = needed(&mut comparison).await;
        let rounds = comparison.rounds();
        comparison.close().await?;
        drop(share);
        let needed = compared?;
        let missing = self.fetch(peer, &needed).await?;
        let (stream, url, needed) = (&self.spec.stream, &self.spec.url, needed.len());
        tracing::info!(stream, url, here, rounds, needed, missing, "what was missed was found by negentropy");
        Ok(())
    }

    /// Hands over what is still not here; how many events the peer did not hand over.
    async fn fetch(&self, peer: &Peer, ids: &[EventId]) -> Result<usize, LinkError> {
        let mut questions = Questions::new(peer, NAME, Some(PATIENCE));
        let (mut intake, mut missing) = (self.intake(), 0);
        for batch in ids.chunks(fetch::BATCH) {
            // Another link may have brought it meanwhile.
            let lacking: Vec<EventId> = batch.iter().filter(|id| !self.home.has(id)).copied().collect();
            missing += fetch(&mut questions, &lacking, &mut intake).await?;
        }
        intake.settle().await?;
        Ok(missing)
    }

    /// Everything that matches, page by page.
    async fn walk(&self, peer: &Peer, filter: Filter) -> Result<(), LinkError> {
        let mut walk = Walk::new(filter);
        loop {
            let mut intake = self.intake();
            match pages::walk(peer, &mut walk, NAME, &mut intake).await {
                Ok(()) => {
                    for second in &walk.crowded {
                        let (url, what) = (&self.spec.url, "the peer may have more of one second than it shows");
                        tracing::warn!(url, second, "{what}");
                    }
                    return intake.settle().await;
                }
                Err(error @ (LinkError::Silent(_) | LinkError::Unsubscribed(_))) => {
                    tracing::warn!(url = self.spec.url, %error, "what was missed could not be fetched, again later");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The ids that the peer has and we have not.
async fn needed(comparison: &mut Comparison<'_>) -> Result<Vec<EventId>, Hindrance> {
    let mut needed = Vec::new();
    while let Some(found) = comparison.step().await? {
        needed.extend(found.need);
        if needed.len() > MAX_NEEDED {
            return Err(Hindrance::NeedsTooMany);
        }
        if comparison.rounds() > MAX_ROUNDS {
            return Err(Hindrance::Endless);
        }
    }
    Ok(needed)
}
