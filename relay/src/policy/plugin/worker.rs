//! The task that keeps one process of a plugin busy: asks, hears, times, ends and starts anew.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::{Instant, SystemTime};

use tokio::sync::{mpsc, watch};

use super::chatter::Chatter;
use super::flight::Flight;
use super::process::{Heard, Process};
use super::protocol::{self, Said};
use super::script::{self, Backoff};
use super::{INTERNAL_ERROR, PluginConfig};
use crate::control::line::Line;
use crate::nostr::Pubkey;
use crate::policy::Verdict;

/// Output that is no answer, and comes without one between, before the process counts as gone mad.
const MAX_NOISE_BYTES: usize = 4 << 20;

/// What is done with a verdict. While it waits, the process is not heard, so whoever is behind slows it down.
pub type Then = Box<dyn FnOnce(Verdict) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// One thing to be judged.
pub struct Job {
    /// What the answer will name.
    pub id: String,
    /// Whose it is: verdicts about one author keep their order.
    pub author: Option<Pubkey>,
    /// The request, with the end of its line.
    pub line: Vec<u8>,
    pub then: Then,
}

pub struct Worker {
    config: PluginConfig,
    queue: mpsc::Receiver<Job>,
    stopping: watch::Receiver<bool>,
    process: Option<Running>,
    flight: Flight<Then>,
    /// Waits for the flight to be over, because the script has changed.
    held: Option<Job>,
    /// Nobody can ask any more.
    is_closed: bool,
    backoff: Backoff,
    chatter: Chatter,
}

/// A process with the state of its script when it was started.
struct Running {
    process: Process,
    modified: Option<SystemTime>,
}

enum Step {
    Job(Box<Job>),
    Heard(Heard),
    Broken(io::Error),
    TooLate,
    /// No more jobs, and nothing in flight; or the relay stops.
    Over,
}

impl Worker {
    pub fn new(config: PluginConfig, queue: mpsc::Receiver<Job>, stopping: watch::Receiver<bool>) -> Self {
        let flight = Flight::new(Instant::now());
        let (backoff, chatter) = (Backoff::default(), Chatter::default());
        Self { config, queue, stopping, process: None, flight, held: None, is_closed: false, backoff, chatter }
    }

    /// Goes on until the relay stops, or nobody can ask any more and everything is answered.
    pub async fn run(mut self) {
        loop {
            match self.next().await {
                Step::Job(job) => self.ask(*job).await,
                Step::Heard(heard) => self.hear(heard).await,
                Step::Broken(error) => self.fail(&format!("reading from it: {error}")).await,
                Step::TooLate => {
                    let seconds = self.config.timeout.as_secs();
                    self.fail(&format!("it has not answered for {seconds} s")).await;
                }
                Step::Over => break,
            }
        }
        self.refuse_all().await;
        if let Some(running) = self.process {
            running.process.end().await;
        }
    }

    async fn next(&mut self) -> Step {
        if self.flight.is_empty()
            && let Some(job) = self.held.take()
        {
            return Step::Job(Box::new(job));
        }
        if self.is_closed && self.flight.is_empty() {
            return Step::Over;
        }
        let has_room = !self.is_closed && self.held.is_none() && self.flight.len() < self.config.max_in_flight;
        let deadline = self.flight.oldest_since().map(|since| since + self.config.timeout);
        let process = &mut self.process;
        let step = async {
            match process {
                Some(running) => running.process.step().await,
                None => std::future::pending().await,
            }
        };
        let too_late = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Answers first: they may have waited while their receivers were slow, which is not the plugin's fault.
            biased;
            _ = self.stopping.wait_for(|stop| *stop) => Step::Over,
            step = step => step.map_or_else(Step::Broken, Step::Heard),
            () = too_late => Step::TooLate,
            job = self.queue.recv(), if has_room => match job {
                Some(job) => Step::Job(Box::new(job)),
                None => {
                    self.is_closed = true;
                    Step::Heard(Heard::Nothing)
                }
            },
        }
    }

    async fn ask(&mut self, job: Job) {
        match self.prepare() {
            Ok(Ready::Now) => {}
            Ok(Ready::WhenAnswered) => return self.held = Some(job),
            Err(reason) => {
                self.fail(&reason).await;
                return refuse(job.then).await;
            }
        }
        match &mut self.process {
            Some(running) => {
                running.process.tell(&job.line);
                self.flight.ask(job.id, job.author, job.then, Instant::now());
            }
            // It failed just now, and is not to be started yet.
            None => refuse(job.then).await,
        }
    }

    /// Sees to it that a process runs which has read the script as it is now.
    fn prepare(&mut self) -> Result<Ready, String> {
        if self.process.is_none() && !self.backoff.may_start(Instant::now()) {
            return Ok(Ready::Now);
        }
        let command = &self.config.command;
        let modified = script::modified(command).map_err(|error| format!("its script cannot be found: {error}"))?;
        if let Some(running) = self.process.take_if(|running| running.modified != modified) {
            if !self.flight.is_empty() {
                self.process = Some(running);
                return Ok(Ready::WhenAnswered);
            }
            tracing::info!("plugin {command}: its script has changed");
            tokio::spawn(running.process.end());
            self.backoff.answered();
        }
        if self.process.is_none() {
            tracing::info!("plugin {command}: started");
            let process = Process::start(command).map_err(|error| format!("it cannot be started: {error}"))?;
            self.process = Some(Running { process, modified });
        }
        Ok(Ready::Now)
    }

    async fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Ended => self.ended().await,
            Heard::Lines(lines) => {
                for line in lines {
                    if let Err(reason) = self.take_in(&line).await {
                        // What it said behind that is not to be trusted.
                        return self.fail(&reason).await;
                    }
                }
            }
            Heard::Nothing => {}
        }
        if self.process.as_ref().is_some_and(|running| running.process.noise_bytes > MAX_NOISE_BYTES) {
            self.fail("it floods its standard output with what is no answer").await;
        }
    }

    async fn take_in(&mut self, line: &Line) -> Result<(), String> {
        let said = match line {
            Line::Whole(bytes) => protocol::read(bytes),
            Line::TooLong => Said::Noise,
        };
        match said {
            Said::Answer { id, verdict } => {
                let Some(handed) = self.flight.answer(&id, verdict, Instant::now()) else {
                    return Err(format!("it answers what it was not asked: {}", protocol::shown(&id)));
                };
                self.backoff.answered();
                if let Some(running) = &mut self.process {
                    running.process.noise_bytes = 0;
                }
                for (then, verdict) in handed {
                    then(verdict).await;
                }
                Ok(())
            }
            Said::Noise => {
                self.chatter.log("plugin says what is no answer", line);
                Ok(())
            }
            Said::Nonsense(reason) => Err(reason),
        }
    }

    /// The process has closed its output.
    async fn ended(&mut self) {
        if !self.flight.is_empty() {
            return self.fail("it ended without answering").await;
        }
        tracing::warn!("plugin {}: it ended, and is started again when it is needed", self.config.command);
        self.give_up_process();
    }

    /// Says why, ends the process, and refuses all that waits for it.
    async fn fail(&mut self, reason: &str) {
        tracing::error!("plugin {}: {reason}; {} refused", self.config.command, self.flight.len());
        self.give_up_process();
        self.refuse_all().await;
    }

    fn give_up_process(&mut self) {
        if let Some(running) = self.process.take() {
            tokio::spawn(running.process.end());
        }
        self.backoff.failed(Instant::now());
    }

    async fn refuse_all(&mut self) {
        for (then, verdict) in self.flight.abandon() {
            match verdict {
                Some(verdict) => then(verdict).await,
                None => refuse(then).await,
            }
        }
        if let Some(job) = self.held.take() {
            refuse(job.then).await;
        }
    }
}

enum Ready {
    Now,
    /// The script has changed, and the process has not answered everything yet.
    WhenAnswered,
}

async fn refuse(then: Then) {
    then(Verdict::Reject(INTERNAL_ERROR.to_owned())).await;
}
