//! What each command is answered, once its group is on disk or has failed.

use std::time::Instant;

use tokio::sync::oneshot;

use super::{Command, Imported, Queued, Reply};
use crate::metrics::{Outcome, WriterMeters};
use crate::nostr::{EventId, message};

pub(super) enum Answer {
    Event { reply: Reply, id: EventId, since: Instant, verdict: Result<&'static str, String> },
    Import { reply: oneshot::Sender<Imported>, outcome: Imported },
    Delete { reply: oneshot::Sender<Result<u64, String>>, removed: u64 },
}

impl Answer {
    /// For a command that was never begun.
    pub(super) fn for_unbegun(queued: Queued) -> Option<Self> {
        let since = queued.since;
        match queued.command {
            Command::Publish { event, reply } => Some(Self::Event { reply, id: event.id, since, verdict: Ok("") }),
            Command::Import { reply, .. } | Command::Mirror { reply, .. } => {
                Some(Self::Import { reply, outcome: Imported::Stored })
            }
            Command::Delete { reply, .. } => Some(Self::Delete { reply, removed: 0 }),
            Command::Connected(_)
            | Command::Listening { .. }
            | Command::Disconnected(_)
            | Command::Settled(_)
            | Command::Stop => None,
        }
    }

    pub(super) fn count(&self, meters: &WriterMeters) {
        let Self::Event { since, verdict, .. } = self else { return };
        let outcome = match verdict {
            Ok("") => Outcome::Stored,
            Ok(_) => Outcome::Duplicate,
            Err(_) => Outcome::Refused,
        };
        meters.answered(outcome, *since);
    }

    pub(super) fn tell(self) {
        // A caller that has gone away does not want its answer.
        match self {
            Self::Event { reply: Reply::Connection(connection), id, verdict, .. } => {
                let text = match &verdict {
                    Ok(text) => *text,
                    Err(text) => text,
                };
                connection.outbox.text(message::ok(&id, verdict.is_ok(), text));
            }
            Self::Event { reply: Reply::Call(call), verdict, .. } => drop(call.send(verdict.map(drop))),
            Self::Import { reply, outcome } => drop(reply.send(outcome)),
            Self::Delete { reply, removed } => drop(reply.send(Ok(removed))),
        }
    }

    /// A client is told to come back; who works for the operator, why.
    pub(super) fn fail(self, meters: &WriterMeters, reason: &str) {
        let text = "error: the event could not be stored, try again later";
        match self {
            Self::Event { reply, id, since, .. } => {
                meters.answered(Outcome::Failed, since);
                Self::Event { reply, id, since, verdict: Err(text.to_owned()) }.tell();
            }
            Self::Import { reply, .. } => drop(reply.send(Imported::Failed(format!("error: {reason}")))),
            Self::Delete { reply, .. } => drop(reply.send(Err(format!("error: {reason}")))),
        }
    }
}
