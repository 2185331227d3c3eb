//! The way of a client's event from its session to the writer: past the policies, where there are any.

use std::sync::Arc;

use crate::connection::Connection;
use crate::nostr::{Event, kind, message};
use crate::policy::plugin::{Plugin, Then};
use crate::policy::{Source, Verdict};
use crate::relay::Shared;
use crate::writer::{Command, Reply, WriterHandle};

impl Shared {
    /// Has a well-formed, signed event judged and stored, and its sender told. Returns as soon as the next event may
    /// come: a client that publishes faster than the policies judge or the disk takes is read more slowly.
    pub async fn publish(&self, connection: &Arc<Connection>, event: Box<Event>) {
        // Whoever may write here, who wants to vanish may do so (NIP-62).
        if self.policies.admit_every_event() || event.kind == kind::VANISH {
            return store(&self.writer, connection, event).await;
        }
        let verdict = self.policies.judge_event(&event, &connection.address).await;
        match self.policies.write_plugin() {
            Some(plugin) if verdict == Verdict::Accept => self.ask(&plugin, connection, event).await,
            Some(_) | None => settle(&self.writer, connection, event, verdict).await,
        }
    }

    /// Leaves the rest to the plugin: what it accepts goes to the writer in the order in which it judged.
    async fn ask(&self, plugin: &Plugin, connection: &Arc<Connection>, event: Box<Event>) {
        // Never closed.
        let Ok(place) = connection.judged.clone().acquire_owned().await else { return };
        let source = Source::client(connection, Some(&event.pubkey));
        let then: Then = {
            let (writer, connection, event) = (self.writer.clone(), connection.clone(), event.clone());
            Box::new(move |verdict| {
                Box::pin(async move {
                    if let Verdict::Reject(text) | Verdict::Shadow(text) = &verdict
                        && !text.is_empty()
                    {
                        tracing::info!(id = %event.id, "plugin: {text}");
                    }
                    settle(&writer, &connection, event, verdict).await;
                    drop(place);
                })
            })
        };
        plugin.submit(&event, &source, then).await;
    }
}

async fn settle(writer: &WriterHandle, connection: &Arc<Connection>, event: Box<Event>, verdict: Verdict) {
    match verdict {
        Verdict::Accept => store(writer, connection, event).await,
        Verdict::Reject(text) => {
            connection.challenge_for(&text);
            connection.outbox.text(message::ok(&event.id, false, &text));
        }
        Verdict::Shadow(text) => connection.outbox.text(message::ok(&event.id, true, &text)),
    }
}

async fn store(writer: &WriterHandle, connection: &Arc<Connection>, event: Box<Event>) {
    let reply = Reply::Connection(connection.clone());
    writer.send(Command::Publish { event, reply }).await;
}
