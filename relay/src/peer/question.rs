//! Questions to a peer, one after the other: a REQ to its EOSE, put again when the peer is asked too fast, or wants to
//! know first who asks.

use std::time::Duration;

use super::error::LinkError;
use super::patience::within;
use super::socket::{Peer, Said};
use crate::nostr::{Filter, message};

/// Events of one answer before the peer is taken to send without end.
const FLOOD: u64 = 50_000;
/// How often a question is put again to a peer that is asked too fast.
const ATTEMPTS: u32 = 5;

/// Who hears an answer.
pub trait Hearer: Send {
    /// The question is put, or put again: what came of this answer until now comes once more.
    fn begin(&mut self);

    /// One event of the answer, as yet unread. An error ends the asking.
    fn hear(&mut self, event: &str) -> impl Future<Output = Result<(), LinkError>> + Send;
}

#[derive(Debug)]
pub struct Questions<'a> {
    peer: &'a Peer,
    /// Its subscriptions are called so, and numbered.
    name: &'a str,
    number: u64,
    /// How long the peer may say nothing within an answer.
    patience: Option<Duration>,
}

impl<'a> Questions<'a> {
    pub fn new(peer: &'a Peer, name: &'a str, patience: Option<Duration>) -> Self {
        Self { peer, name, number: 0, patience }
    }

    /// Returns when the peer has no more to say to it; `Unsubscribed` when it does not want to.
    pub async fn ask(&mut self, filter: &Filter, hearer: &mut impl Hearer) -> Result<(), LinkError> {
        let mut attempts = 0;
        loop {
            self.number += 1;
            let subscription = format!("{}-{}", self.name, self.number);
            hearer.begin();
            let ended = self.put(&subscription, filter, hearer).await;
            self.peer.forget(&subscription);
            if !matches!(ended, Ok(Ended::Closed(_))) {
                self.peer.send(message::close(&subscription)).await?;
            }
            match ended? {
                Ended::Complete => return Ok(()),
                Ended::Closed(text) if text.starts_with("rate-limited:") && attempts < ATTEMPTS => {
                    attempts += 1;
                    tokio::time::sleep(Duration::from_secs(1 << attempts)).await;
                }
                Ended::Closed(text) if text.starts_with("auth-required:") && attempts == 0 => {
                    attempts += 1;
                    if !self.peer.authenticated().await? {
                        return Err(LinkError::Unsubscribed(text));
                    }
                }
                Ended::Closed(text) => return Err(LinkError::Unsubscribed(text)),
            }
        }
    }

    async fn put(&self, subscription: &str, filter: &Filter, hearer: &mut impl Hearer) -> Result<Ended, LinkError> {
        let mut answers = self.peer.listen(subscription);
        self.peer.send(message::req(subscription, filter)).await?;
        let mut count = 0;
        loop {
            match within(self.patience, answers.recv()).await?.ok_or(LinkError::Gone)? {
                Said::Eose => return Ok(Ended::Complete),
                Said::Closed(text) => return Ok(Ended::Closed(text)),
                Said::Event(event) => {
                    count += 1;
                    if count > FLOOD {
                        return Err(LinkError::Untrustworthy(count));
                    }
                    hearer.hear(&event).await?;
                }
                Said::NegMsg(_) | Said::NegErr(_) => {}
            }
        }
    }
}

enum Ended {
    Complete,
    /// Before the end, with the peer's reason.
    Closed(String),
}
