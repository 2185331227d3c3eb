//! Programs of the operator's that decide which events are stored and which questions are answered.
//!
//! The protocol is strfry's, so its plugins run unchanged, but a slow one does not stall the relay: several processes
//! may run, each is asked about several events before it has answered the first, and the writer never waits for any of
//! them. All events of one author go to the same process, and keep their order.

mod chatter;
mod flight;
mod process;
pub mod protocol;
mod script;
mod worker;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use self::worker::{Job, Worker};
use super::{QueryVerdict, Question, Source, Verdict};
use crate::clock::now_s;
use crate::nostr::Event;

pub use self::worker::Then;

/// What a client is told when the plugin, and not the client, is at fault; strfry's words.
const INTERNAL_ERROR: &str = "error: internal error";

/// A command and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginConfig {
    /// For `/bin/sh -c`.
    pub command: String,
    pub processes: usize,
    /// How long the oldest unanswered question may wait.
    pub timeout: Duration,
    /// Questions that one process may have at once; as many more wait in its queue, and who asks then waits too.
    pub max_in_flight: usize,
}

/// A running plugin. Dropping it lets it answer what it was asked; `stop` does not.
pub struct Plugin {
    config: PluginConfig,
    queues: Vec<mpsc::Sender<Job>>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    stopping: watch::Sender<bool>,
    /// Spreads authors over processes; unknown to the authors.
    spread: RandomState,
    questions: AtomicU64,
}

impl Plugin {
    /// Must be called within a tokio runtime. The processes start when they are first asked.
    pub fn start(config: PluginConfig) -> Self {
        let (stopping, stop) = watch::channel(false);
        let start = |_| {
            let (queue, jobs) = mpsc::channel(config.max_in_flight);
            (queue, tokio::spawn(Worker::new(config.clone(), jobs, stop.clone()).run()))
        };
        let (queues, workers): (Vec<_>, Vec<_>) = (0..config.processes.max(1)).map(start).unzip();
        let (spread, questions) = (RandomState::new(), AtomicU64::new(0));
        Self { config, queues, workers: Mutex::new(workers), stopping, spread, questions }
    }

    pub fn config(&self) -> &PluginConfig {
        &self.config
    }

    /// Has an event judged, and `then` told. Waits while too many others wait. The verdicts about one author are told
    /// in the order of these calls.
    pub async fn submit(&self, event: &Event, source: &Source<'_>, then: Then) {
        let job = Job {
            id: event.id.to_hex(),
            author: Some(event.pubkey),
            line: protocol::about_event(event, source, now_s()),
            then,
        };
        let at = self.spread.hash_one(event.pubkey) % self.queues.len() as u64;
        self.send(at as usize, job).await;
    }

    /// The verdict on an event.
    pub async fn judge_event(&self, event: &Event, source: &Source<'_>) -> Verdict {
        let (then, verdict) = answer();
        self.submit(event, source, then).await;
        verdict.await.unwrap_or_else(|_| Verdict::Reject(INTERNAL_ERROR.to_owned()))
    }

    /// The verdict on a question. There is no answer that would deceive who asks, so a shadow is a refusal.
    pub async fn judge_question(&self, question: &Question<'_>, source: &Source<'_>) -> QueryVerdict {
        let number = self.questions.fetch_add(1, Ordering::Relaxed);
        let (then, verdict) = answer();
        let id = number.to_string();
        let line = protocol::about_question(&id, question, source, now_s());
        let at = number % self.queues.len() as u64;
        self.send(at as usize, Job { id, author: None, line, then }).await;
        match verdict.await {
            Ok(Verdict::Accept) => Ok(()),
            Ok(Verdict::Reject(text)) => Err(text),
            Ok(Verdict::Shadow(text)) => Err(super::with_prefix(&text)),
            Err(_) => Err(INTERNAL_ERROR.to_owned()),
        }
    }

    async fn send(&self, at: usize, job: Job) {
        let Some(queue) = self.queues.get(at) else { return };
        if let Err(mpsc::error::SendError(job)) = queue.send(job).await {
            (job.then)(Verdict::Reject(INTERNAL_ERROR.to_owned())).await;
        }
    }

    /// Ends the processes. What they have not answered is refused.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        for worker in workers {
            // A panic over there has been reported already.
            let _ = worker.await;
        }
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A `Then` that can be waited for.
fn answer() -> (Then, oneshot::Receiver<Verdict>) {
    let (told, verdict) = oneshot::channel();
    let then: Then = Box::new(move |verdict| {
        // Who asked may have gone.
        let _ = told.send(verdict);
        Box::pin(std::future::ready(()))
    });
    (then, verdict)
}
