//! The tape: everything that the scheduler was told, so that anybody can have it told again and come to the same leases.
//!
//! A journal says what was decided; a tape says from what. Played to this same code it gives the same steps, since nothing
//! else goes into one: a lease that a relay made up, gave to a friend, or left out differs from what comes out here.

use crate::config::Config;
use crate::id::JobId;
use crate::input::{Feedback, Input};
use crate::record::{Fact, Record};
use crate::refusal::Refusal;
use crate::scheduler::{RestoreError, Scheduler, Step};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One line of a tape.
#[expect(clippy::large_enum_variant, reason = "one is there at a time, and a step is the usual one")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Line {
    /// The tape begins, or begins anew: so many [`Line::Row`]s of a checkpoint follow.
    Began {
        /// What the operator had decided.
        config: Config,
        /// How many.
        rows: u64,
    },
    /// A row of the checkpoint.
    Row(Record),
    /// The relay came back, or built its scheduler anew after a commit that failed.
    Restored {
        /// What the operator has decided since.
        config: Config,
    },
    /// A step that was not refused.
    Step {
        /// When.
        at_ms: u64,
        /// What was told.
        input: Input,
    },
}

/// A tape that cannot be what a scheduler was told.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TapeError {
    /// A line stands where none of its sort can.
    #[error("this line cannot stand here: {0}")]
    Misplaced(&'static str),
    /// A configuration that no scheduler takes.
    #[error("no scheduler takes this configuration: {0}")]
    Config(&'static str),
    /// A checkpoint that adds up to nothing.
    #[error(transparent)]
    Rows(#[from] RestoreError),
    /// The scheduler would have refused this, so it was never told it.
    #[error("the scheduler refuses this step: {0}")]
    Refused(Refusal),
}

/// Plays a tape.
#[derive(Debug, Default)]
pub struct Playback {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Blank,
    /// The checkpoint comes in.
    Beginning {
        config: Box<Config>,
        missing: u64,
        rows: Vec<Record>,
    },
    Playing(Box<Scheduler>),
}

impl Line {
    /// When its step was; `None`: it is none.
    pub fn at_ms(&self) -> Option<u64> {
        match self {
            Line::Step { at_ms, .. } => Some(*at_ms),
            Line::Began { .. } | Line::Row(_) | Line::Restored { .. } => None,
        }
    }

    /// The open job whose secret this line would tell: a result that others work at too, or a sealed offer. To be asked after the step.
    pub fn secret(&self, scheduler: &Scheduler) -> Option<JobId> {
        let job = match self {
            Line::Row(Record { fact: Fact::JobRestored(job), .. }) => job.id,
            Line::Step { input: Input::Result { job, .. }, .. } => *job,
            Line::Step { input: Input::Feedback { job, feedback: Feedback::Offer { .. }, .. }, .. } => *job,
            Line::Began { .. } | Line::Row(_) | Line::Restored { .. } | Line::Step { .. } => return None,
        };
        let job = scheduler.state().jobs().get(&job)?;
        let compares = job.is_open() && job.compares() && !job.submissions.is_empty();
        (compares || job.bidding.until_ms.is_some()).then_some(job.id)
    }
}

impl Playback {
    /// Takes the next line; a step's is what came of it.
    ///
    /// # Errors
    /// When the line cannot stand where it does. The tape cannot be played on then, except from another beginning.
    pub fn play(&mut self, line: Line) -> Result<Step, TapeError> {
        match (line, std::mem::take(&mut self.state)) {
            (Line::Began { config, rows }, State::Blank | State::Beginning { .. } | State::Playing(_)) => {
                fit(&config)?;
                self.begin(config, rows, Vec::new())?;
            }
            (Line::Row(row), State::Beginning { config, missing, mut rows }) => {
                rows.push(row);
                self.begin(*config, missing - 1, rows)?;
            }
            (Line::Row(_), State::Blank | State::Playing(_)) => {
                return Err(TapeError::Misplaced("no checkpoint has begun"));
            }
            (Line::Restored { config }, State::Playing(scheduler)) => {
                fit(&config)?;
                let restored = Scheduler::restore(config, scheduler.checkpoint().into_iter())?;
                self.state = State::Playing(Box::new(restored));
            }
            (Line::Step { at_ms, input }, State::Playing(mut scheduler)) => {
                let step = scheduler.step(at_ms, input).map_err(TapeError::Refused)?;
                self.state = State::Playing(scheduler);
                return Ok(step);
            }
            (Line::Restored { .. } | Line::Step { .. }, State::Blank | State::Beginning { .. }) => {
                return Err(TapeError::Misplaced("the tape has not begun"));
            }
        }
        Ok(Step::default())
    }

    /// The scheduler as the tape has it; `None` before its beginning is complete.
    pub fn scheduler(&self) -> Option<&Scheduler> {
        match &self.state {
            State::Playing(scheduler) => Some(scheduler),
            State::Blank | State::Beginning { .. } => None,
        }
    }

    fn begin(&mut self, config: Config, missing: u64, rows: Vec<Record>) -> Result<(), TapeError> {
        self.state = if missing > 0 {
            State::Beginning { config: Box::new(config), missing, rows }
        } else {
            State::Playing(Box::new(Scheduler::restore(config, rows.into_iter())?))
        };
        Ok(())
    }
}

fn fit(config: &Config) -> Result<(), TapeError> {
    config.flaw().map_or(Ok(()), |flaw| Err(TapeError::Config(flaw)))
}
