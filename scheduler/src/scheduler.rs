//! The scheduler: an input and the time go in, records and effects come out.

use crate::config::Config;
use crate::effect::{Effect, JobView};
use crate::id::JobId;
use crate::input::Input;
use crate::record::{Fact, Record};
use crate::refusal::Refusal;
use crate::state::State;
use crate::turn::Turn;
use crate::wake::Wakes;
use thiserror::Error;

/// What a step did. Both lists may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What happened. Append these to the journal.
    pub records: Vec<Record>,
    /// What to sign and publish. Store it in the same atomic batch as the records, before anyone sees it.
    pub effects: Vec<Effect>,
}

/// A journal that cannot be what a scheduler wrote.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// A record does not follow from the ones before it.
    #[error("record {position} of the journal does not fit: {why}")]
    Misfit {
        /// Its place in the journal, from 0.
        position: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// All records fit, but what they add up to breaks an invariant.
    #[error("the journal adds up to an impossible state: {0}")]
    Impossible(String),
}

/// Assigns jobs to providers. See the [crate] page for how to drive it.
#[derive(Clone, Debug)]
pub struct Scheduler {
    config: Config,
    state: State,
    wakes: Wakes,
    /// A buffer for a step: empty between two of them.
    touched: Vec<JobId>,
    /// The latest time seen; time never goes back.
    now_ms: u64,
}

impl Scheduler {
    /// An empty scheduler.
    ///
    /// # Panics
    /// When [`Config::flaw`] finds one: check it where the operator can be told.
    pub fn new(config: Config) -> Self {
        assert_eq!(config.flaw(), None, "the configuration was not checked");
        Self { config, state: State::default(), wakes: Wakes::default(), touched: Vec::new(), now_ms: 0 }
    }

    /// The state that a journal adds up to. Give [`Input::Restarted`] next.
    ///
    /// # Errors
    /// When the records are not what a scheduler wrote, in the order in which it wrote them.
    ///
    /// # Panics
    /// As [`Scheduler::new`].
    pub fn restore(config: Config, records: impl Iterator<Item = Record>) -> Result<Self, RestoreError> {
        let mut scheduler = Self::new(config);
        for (position, record) in records.enumerate() {
            let fits = scheduler.state.apply(&record);
            fits.map_err(|why| RestoreError::Misfit { position, why })?;
        }
        scheduler.state.check().map_err(RestoreError::Impossible)?;
        scheduler.now_ms = scheduler.state.now_ms;
        scheduler.state.advance(scheduler.now_ms);
        scheduler.wakes = Wakes::everything(&scheduler.state);
        Ok(scheduler)
    }

    /// Takes one input at a time in milliseconds since the Unix epoch; a time before the last one counts as the last one.
    ///
    /// Only [`Input::Tick`] acts on deadlines: what was committed before the tick is judged as being in time.
    ///
    /// # Errors
    /// A [`Refusal`] says why the input does not count. Nothing has changed then.
    pub fn step(&mut self, now_ms: u64, input: Input) -> Result<Step, Refusal> {
        let now_ms = now_ms.max(self.now_ms);
        let mut turn = Turn::new(&self.config, &mut self.state, &mut self.wakes, &mut self.touched, now_ms);
        if let Err(refusal) = turn.take(input) {
            assert!(turn.is_untouched(), "refused after a change: {refusal}");
            self.touched.clear();
            return Err(refusal);
        }
        let step = turn.finish();
        self.now_ms = now_ms;
        self.state.advance(now_ms);
        debug_assert_eq!(self.state.check_touched(&step.records), Ok(()));
        Ok(step)
    }

    /// When to give [`Input::Tick`]: at once if the time has passed. `None`: nothing waits. Where many deadlines lie together it may be some time
    /// before the first of them; the tick then does nothing.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        if !self.is_settled() {
            return Some(self.now_ms);
        }
        let index = &self.state.index;
        let job = index.deadlines.next_ms();
        let lapse = index.lapses.first().map(|(at_ms, _)| *at_ms);
        let ended = index.ended.first().map(|(at_ms, _, _)| *at_ms);
        [job, lapse, ended].into_iter().flatten().min()
    }

    /// The state as records. Replacing the whole journal by these restores an equal state.
    pub fn checkpoint(&self) -> Vec<Record> {
        let (next_lease, next_arrival) = (self.state.next_lease, self.state.next_arrival);
        let counters = Fact::CountersRestored { next_lease, next_arrival };
        let providers = self.state.providers.values().cloned();
        let jobs = self.state.jobs.values().cloned();
        let queues = self.state.fairness.rows().into_iter();
        let paces = self.state.paces.iter().map(|(kind, pace)| (*kind, pace.clone()));
        let half_life_ms = self.state.half_life_ms;
        let facts = [Fact::HalfLifeSet { half_life_ms }, counters]
            .into_iter()
            .chain(providers.map(|row| Fact::ProviderRestored(Box::new(row))))
            .chain(self.state.customers.values().cloned().map(|row| Fact::CustomerRestored(Box::new(row))))
            .chain(jobs.map(|job| Fact::JobRestored(Box::new(job))))
            .chain(paces.map(|(kind, pace)| Fact::RunsRestored { kind, pace }))
            .chain(queues.map(|(kind, now, ends)| Fact::QueueRestored { kind, now, ends }));
        facts.map(|fact| Record { at_ms: self.state.now_ms, fact }).collect()
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A job as the public sees it; `None` when it is not known (any more).
    pub fn view(&self, job: JobId) -> Option<JobView> {
        self.state.jobs.get(&job).map(|job| job.view())
    }

    /// Whether nothing is left over for the next step: no queued job waits for another look, and nobody who waits for a
    /// job that has ended is still to be told.
    pub fn is_settled(&self) -> bool {
        self.wakes.is_empty() && self.state.chain.is_settled()
    }
}
