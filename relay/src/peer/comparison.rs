//! One reconciliation with a peer (NIP-77), as the side that asks: message by message, what either lacks.

use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use super::error::LinkError;
use super::patience::within;
use super::socket::{Peer, Said};
use crate::negentropy::reconcile::Difference;
use crate::negentropy::{Client, FrameError, Span};
use crate::nostr::{Filter, message};

/// Why a reconciliation came to no end.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// With the text of NEG-ERR or CLOSED.
    #[error("the relay says: {0}")]
    Refused(String),
    /// With the text of the NOTICE that came instead of an answer.
    #[error("the relay seems not to support negentropy; it says: {0}")]
    Unsupported(String),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Link(#[from] LinkError),
}

pub struct Comparison<'a> {
    peer: &'a Peer,
    subscription: &'a str,
    client: Client,
    /// What is to be said next; `None`: all is known.
    next: Option<String>,
    answers: mpsc::Receiver<Said>,
    notices: broadcast::Receiver<String>,
    /// How long the peer may take for an answer.
    patience: Option<Duration>,
    /// Whether the peer wanted to know who asks.
    introduced: bool,
    refused: bool,
}

impl<'a> Comparison<'a> {
    /// Compares what matches `filter`: ours in `span`, the peer's as it says, in messages of up to `frame_bytes` from us.
    pub fn new(
        peer: &'a Peer,
        subscription: &'a str,
        filter: &Filter,
        (span, frame_bytes): (Span, usize),
        patience: Option<Duration>,
    ) -> Self {
        let (client, first) = Client::new(span, frame_bytes);
        let next = Some(message::neg_open(subscription, filter, &first));
        let (answers, notices) = (peer.listen(subscription), peer.notices());
        Self { peer, subscription, client, next, answers, notices, patience, introduced: false, refused: false }
    }

    /// Says what is to be said next, and returns what the answer brings to light; `None` when all is known.
    pub async fn step(&mut self) -> Result<Option<Difference>, CompareError> {
        let Some(said) = self.next.take() else { return Ok(None) };
        let answer = within(self.patience, self.ask(said)).await?;
        self.refused = matches!(answer, Err(CompareError::Refused(_) | CompareError::Unsupported(_)));
        let answer = answer?;
        let step = self.client.on_message(&answer)?;
        self.next = step.next.map(|next| message::neg_msg(self.subscription, &next));
        Ok(Some(step.found))
    }

    /// Messages of the peer so far.
    pub fn rounds(&self) -> u32 {
        self.client.rounds()
    }

    /// Lets the peer forget it, whether or not it has come to its end. One that has refused it has nothing to forget.
    pub async fn close(self) -> Result<(), LinkError> {
        match self.refused {
            true => Ok(()),
            false => self.peer.send(message::neg_close(self.subscription)).await,
        }
    }

    async fn ask(&mut self, said: String) -> Result<String, CompareError> {
        self.peer.send(said.clone()).await?;
        loop {
            let answer = tokio::select! {
                biased;
                answer = self.answers.recv() => answer.ok_or(LinkError::Gone)?,
                notice = self.notices.recv() => {
                    self.heed(notice)?;
                    continue;
                }
            };
            match answer {
                Said::NegMsg(message) => return Ok(message),
                Said::NegErr(text) | Said::Closed(text) if text.starts_with("auth-required:") && !self.introduced => {
                    self.introduced = true;
                    if !self.peer.authenticated().await? {
                        return Err(CompareError::Refused(text));
                    }
                    self.peer.send(said.clone()).await?;
                }
                Said::NegErr(text) | Said::Closed(text) => return Err(CompareError::Refused(text)),
                Said::Event(_) | Said::Eose => {}
            }
        }
    }

    /// A relay without NIP-77 answers its first message with a notice.
    fn heed(&self, notice: Result<String, RecvError>) -> Result<(), CompareError> {
        match notice {
            Ok(text) if self.rounds() == 0 && is_refusal(&text) => Err(CompareError::Unsupported(text)),
            Ok(_) | Err(RecvError::Lagged(_)) => Ok(()),
            Err(RecvError::Closed) => Err(LinkError::Gone.into()),
        }
    }
}

impl Drop for Comparison<'_> {
    fn drop(&mut self) {
        self.peer.forget(self.subscription);
    }
}

/// Relays that do not know a verb say so in words of their own.
fn is_refusal(notice: &str) -> bool {
    let words = [
        "bad m",
        "could not parse",
        "disabled",
        "error",
        "fail",
        "invalid",
        "not support",
        "unexpected",
        "unhandled",
        "unknown",
        "unrecognized",
        "unsupported",
    ];
    let notice = notice.to_lowercase();
    words.iter().any(|word| notice.contains(word))
}
