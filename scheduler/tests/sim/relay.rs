//! The relay: steps the scheduler, commits in batches, crashes and comes back.

use super::provider::KINDS;
use super::rng::Rng;
use mercato_scheduler::credibility::NEWCOMER_LOW;
use mercato_scheduler::{Answer, Config, Fact, Input, JobId, Record, Refusal, ResultId, Scheduler, Step, Verdict};
use std::collections::BTreeMap;

/// A mistake of the relay, planted to see whether the simulation finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Publishes what a step asks for before it is durable.
    PublishesBeforeCommit,
    /// Loses the record of a lease's end now and then.
    LosesARecord,
    /// Writes a batch twice now and then.
    CommitsTwice,
    /// Does not tell the scheduler that it was away.
    ForgetsRestarted,
    /// Never ticks.
    NeverTicks,
    /// Loses a withdrawal now and then.
    LosesAWithdrawal,
    /// Replaces the journal by a checkpoint from before the last steps.
    CompactsTooEarly,
    /// Takes every answer for the same.
    MisreadsAnswers,
    /// Loses a verdict now and then.
    LosesAVerdict,
    /// Loses the record of a result now and then.
    LosesASubmission,
    /// Loses the record that the result of another job came now and then.
    LosesAnInput,
    /// Loses the record of an offer now and then.
    LosesAnOffer,
    /// Loses the record of a rest now and then.
    LosesARest,
    /// Loses the record that somebody is slow now and then.
    LosesAStraggler,
    /// Loses the record of a payment now and then.
    LosesAPayment,
    /// Takes every payment for the customer's.
    TakesAnybodysMoney,
    /// Does not see that a payment was used before.
    TakesOldReceipts,
    /// Does not read providers' conditions.
    IgnoresConditions,
    /// Takes a result that the scheduler refused because its lease is over or never was.
    ForwardsDeadResults,
    /// Shows results to everybody before the others have delivered.
    ShowsWithheldResults,
    /// Publishes what a step asks for and forgets to write its records now and then.
    ForgetsToWrite,
    /// Swaps two records now and then.
    ReordersRecords,
    /// Publishes the effects of a step in reverse.
    ReordersEffects,
    /// Writes a step in parts, so that a crash tears it.
    TearsSteps,
    /// Gives the job of a lease to a second provider now and then.
    LeasesTwice,
    /// Announces a later end of time than was granted, now and then.
    MovesDeadlines,
    /// Writes down results as those of newcomers now and then.
    ForgetsStanding,
    /// Tells, when a job ends, that everybody was a newcomer, now and then.
    TellsFalseStanding,
    /// Takes who listens for some kinds for one who listens for all.
    MisreadsListening,
    /// Is content with the first result of anybody, where it is to be that of a trusted provider.
    TrustsAnybody,
    /// Takes what every validator says for a pass.
    MisreadsVerdicts,
    /// Loses the record of what validators found now and then.
    LosesAFinding,
}

impl Sabotage {
    pub const ALL: &[Self] = &[
        Self::PublishesBeforeCommit,
        Self::LosesARecord,
        Self::CommitsTwice,
        Self::ForgetsRestarted,
        Self::NeverTicks,
        Self::LosesAWithdrawal,
        Self::CompactsTooEarly,
        Self::MisreadsAnswers,
        Self::LosesAVerdict,
        Self::LosesASubmission,
        Self::LosesAnInput,
        Self::LosesAnOffer,
        Self::LosesARest,
        Self::LosesAStraggler,
        Self::LosesAPayment,
        Self::TakesAnybodysMoney,
        Self::TakesOldReceipts,
        Self::IgnoresConditions,
        Self::ForwardsDeadResults,
        Self::ShowsWithheldResults,
        Self::ForgetsToWrite,
        Self::ReordersRecords,
        Self::ReordersEffects,
        Self::TearsSteps,
        Self::LeasesTwice,
        Self::MovesDeadlines,
        Self::ForgetsStanding,
        Self::TellsFalseStanding,
        Self::MisreadsListening,
        Self::TrustsAnybody,
        Self::MisreadsVerdicts,
        Self::LosesAFinding,
    ];
}

/// A step that is done in memory and waits to be durable.
pub struct Pending {
    pub input: Input,
    pub step: Step,
}

pub struct Relay {
    pub config: Config,
    /// `None` while the relay is down.
    pub scheduler: Option<Scheduler>,
    pub journal: Vec<Record>,
    pub pending: Vec<Pending>,
    pub sabotage: Option<Sabotage>,
    /// When it came up last.
    pub up_since_ms: u64,
    stale_checkpoint: Vec<Record>,
    /// A digest of every answer of the scheduler, when it is wanted: builds whose digests agree decide the same.
    pub digest: Option<u32>,
    /// What it has stored: the results of jobs that the scheduler may have forgotten.
    pub results: BTreeMap<JobId, ResultId>,
}

impl Relay {
    pub fn new(config: Config, sabotage: Option<Sabotage>) -> Self {
        Self {
            scheduler: Some(Scheduler::new(config.clone())),
            config,
            journal: Vec::new(),
            pending: Vec::new(),
            sabotage,
            up_since_ms: 0,
            stale_checkpoint: Vec::new(),
            digest: None,
            results: BTreeMap::new(),
        }
    }

    /// What it makes of a message.
    pub fn read(&self, input: &Input) -> Input {
        let mut read = input.clone();
        if let Input::Request { request, .. } = &mut read {
            for input in &mut request.inputs {
                input.result = self.results.get(&input.job).copied();
            }
        }
        if let (Some(Sabotage::MisreadsAnswers), Input::Result { answer: Answer::Digest(digest), .. }) =
            (self.sabotage, &mut read)
        {
            *digest = [0; 32];
        }
        if let (Some(Sabotage::MisreadsListening), Input::Listen { kinds, .. }) = (self.sabotage, &mut read) {
            *kinds = KINDS.to_vec();
        }
        if let (Some(Sabotage::TrustsAnybody), Input::Request { request, .. }) = (self.sabotage, &mut read)
            && request.adaptive
        {
            (request.adaptive, request.replicas, request.quorum) = (false, 1, 1);
        }
        if let (Some(Sabotage::MisreadsVerdicts), Input::Result { answer: Answer::Verdict(verdict), .. }) =
            (self.sabotage, &mut read)
        {
            *verdict = Verdict::Pass;
        }
        if let (Some(Sabotage::TakesAnybodysMoney), Input::Claimed { job, payer, .. }) = (self.sabotage, &mut read) {
            let jobs = self.scheduler.as_ref().map(|scheduler| scheduler.state().jobs());
            *payer = jobs.and_then(|jobs| jobs.get(job)).map_or(*payer, |job| job.customer);
        }
        if let (Some(Sabotage::TakesOldReceipts), Input::Claimed { marks, .. }) = (self.sabotage, &mut read) {
            marks.payment_hash = marks.receipt.map(|byte| !byte);
            marks.request = marks.receipt.map(|byte| byte ^ 0x55);
        }
        if let (Some(Sabotage::IgnoresConditions), Input::Advertise { advert, .. }) = (self.sabotage, &mut read) {
            advert.accept.clear();
        }
        read
    }

    /// When the scheduler wants its tick.
    pub fn tick_ms(&self) -> Option<u64> {
        let honest = self.sabotage != Some(Sabotage::NeverTicks);
        self.scheduler.as_ref().filter(|_| honest)?.next_deadline_ms()
    }

    /// Steps the scheduler and checks what the step touched.
    pub fn step(&mut self, now_ms: u64, input: &Input) -> Result<Result<Step, Refusal>, String> {
        let scheduler = self.scheduler.as_mut().ok_or("the relay is down")?;
        let answer = scheduler.step(now_ms, input.clone());
        if let Ok(step) = &answer {
            scheduler.state().check_touched(&step.records)?;
        }
        self.digest = self.digest.map(|digest| digested(digest, &answer));
        Ok(answer)
    }

    /// As `step`, with every invariant checked, also that a refusal changes nothing.
    pub fn step_checked(&mut self, now_ms: u64, input: &Input) -> Result<Result<Step, Refusal>, String> {
        let before = self.scheduler.as_ref().map(|scheduler| scheduler.state().clone());
        let answer = self.step(now_ms, input)?;
        let scheduler = self.scheduler.as_ref().ok_or("the relay is down")?;
        scheduler.check()?;
        let (known, max) = (scheduler.state().providers().len(), self.config.providers_max);
        if known > max {
            return Err(format!("{known} providers are known, {max} may be"));
        }
        if answer.is_err() && before.as_ref() != Some(scheduler.state()) {
            return Err("a refusal changed the state".to_owned());
        }
        Ok(answer)
    }

    /// Makes a batch durable.
    pub fn commit(&mut self, rng: &mut Rng) -> Vec<Pending> {
        let batch = std::mem::take(&mut self.pending);
        let times = if self.slips(Sabotage::CommitsTwice, rng) { 2 } else { 1 };
        for _ in 0..times {
            for Pending { step, .. } in &batch {
                let lost = |record: &Record| matches!(record.fact, Fact::LeaseEnded { .. });
                let submission = |record: &Record| matches!(record.fact, Fact::Submitted { .. });
                let loses = self.slips(Sabotage::LosesARecord, rng);
                let loses_result = self.slips(Sabotage::LosesASubmission, rng);
                let finding = |record: &Record| matches!(record.fact, Fact::Examining { .. } | Fact::Examined { .. });
                let loses_finding = self.slips(Sabotage::LosesAFinding, rng);
                let rest = |record: &Record| matches!(record.fact, Fact::Rested { .. });
                let loses_rest = self.slips(Sabotage::LosesARest, rng);
                let offer = |record: &Record| matches!(record.fact, Fact::BidsOpened { .. } | Fact::Bade { .. });
                let loses_offer = self.slips(Sabotage::LosesAnOffer, rng);
                let input = |record: &Record| matches!(record.fact, Fact::InputCame { .. });
                let loses_input = self.slips(Sabotage::LosesAnInput, rng);
                let straggler = |record: &Record| matches!(record.fact, Fact::Straggled { .. });
                let loses_straggler = self.slips(Sabotage::LosesAStraggler, rng);
                let payment = |record: &Record| matches!(record.fact, Fact::Paid { .. });
                let loses_payment = self.slips(Sabotage::LosesAPayment, rng);
                let is_lost = |record: &Record| {
                    loses_offer && offer(record)
                        || loses_finding && finding(record)
                        || loses_input && input(record)
                        || loses_straggler && straggler(record)
                        || loses && lost(record)
                        || loses_result && submission(record)
                        || loses_rest && rest(record)
                        || loses_payment && payment(record)
                };
                if self.slips(Sabotage::ForgetsToWrite, rng) {
                    continue;
                }
                let kept = step.records.iter().filter(|record| !is_lost(record));
                let forgets_standing = self.slips(Sabotage::ForgetsStanding, rng);
                self.journal.extend(kept.cloned().map(|mut record| {
                    if let (true, Fact::Submitted { low, .. }) = (forgets_standing, &mut record.fact) {
                        *low = NEWCOMER_LOW;
                    }
                    record
                }));
                let len = self.journal.len();
                if len > 1 && self.slips(Sabotage::ReordersRecords, rng) {
                    self.journal.swap(len - 2, len - 1);
                }
            }
        }
        batch
    }

    /// A crash tears the journal: of the steps that were not committed some of the first may be on disk, each whole or not at all.
    /// Says which are.
    pub fn tear(&mut self, rng: &mut Rng) -> Vec<Pending> {
        let whole = if rng.chance(800) { rng.index(self.pending.len() + 1) } else { 0 };
        let lost = self.pending.split_off(whole);
        let kept = self.commit(rng);
        if let (Some(Sabotage::TearsSteps), Some(torn)) = (self.sabotage, lost.first()) {
            let records = torn.step.records.len();
            self.journal.extend(torn.step.records.iter().take(records.div_ceil(2)).cloned());
        }
        self.pending = lost;
        kept
    }

    pub fn slips(&self, sabotage: Sabotage, rng: &mut Rng) -> bool {
        self.sabotage == Some(sabotage) && rng.chance(50)
    }

    /// Compares journal and memory, and replaces the journal, when it has grown long.
    pub fn compact(&mut self) -> Result<(), String> {
        if !self.pending.is_empty() {
            return Ok(());
        }
        // As much again as a checkpoint, or else only checkpoints would be written.
        if self.journal.len() < (50 * self.config.providers_max).max(2_000) {
            return Ok(());
        }
        self.replays_itself()?;
        let Some(scheduler) = &self.scheduler else {
            return Ok(());
        };
        let rows = scheduler.checkpoint();
        same_state(&self.restored(rows.clone())?, scheduler, "the checkpoint")?;
        if self.sabotage == Some(Sabotage::CompactsTooEarly) && !self.stale_checkpoint.is_empty() {
            self.journal = std::mem::replace(&mut self.stale_checkpoint, rows);
        } else {
            self.stale_checkpoint.clone_from(&rows);
            self.journal = rows;
        }
        Ok(())
    }

    /// Whether the journal gives the state that lives, when everything is written.
    pub fn replays_itself(&self) -> Result<(), String> {
        let Some(scheduler) = self.scheduler.as_ref().filter(|_| self.pending.is_empty()) else {
            return Ok(());
        };
        let forward = self.journal.is_sorted_by_key(|record| record.at_ms);
        let replayed = self.restored(self.journal.clone())?;
        same_state(&replayed, scheduler, "the journal")?;
        if forward { Ok(()) } else { Err("the journal's time goes back".to_owned()) }
    }

    /// Comes back from the journal alone.
    pub fn restore(&mut self, now_ms: u64) -> Result<(), String> {
        assert!(self.scheduler.is_none() && self.pending.is_empty(), "the relay is up already");
        self.scheduler = Some(self.restored(self.journal.clone())?);
        self.up_since_ms = now_ms;
        Ok(())
    }

    fn restored(&self, journal: Vec<Record>) -> Result<Scheduler, String> {
        Scheduler::restore(self.config.clone(), journal.into_iter()).map_err(|e| e.to_string())
    }
}

/// FNV-1a over the words for developers, which name every field.
fn digested(digest: u32, answer: &Result<Step, Refusal>) -> u32 {
    let words = format!("{answer:?}");
    words.bytes().fold(digest, |digest, byte| (digest ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn same_state(restored: &Scheduler, live: &Scheduler, source: &str) -> Result<(), String> {
    if restored.state() == live.state() {
        return Ok(());
    }
    Err(format!("{source} does not restore the live state"))
}
