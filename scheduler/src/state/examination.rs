//! What validators do to the state.

use super::{Misfit, State};
use crate::examination::{Examination, Finding};
use crate::id::{JobId, ResultId};
use crate::validation::Verdict;

impl State {
    /// A job waits for validators.
    pub(super) fn examining(&mut self, id: JobId, until_ms: u64) -> Result<(), Misfit> {
        let job = self.jobs.get(&id).filter(|job| job.is_open()).ok_or("the job is not open")?;
        if job.examination.is_some() || job.request.panel.is_none() || !job.leases.is_empty() {
            return Err("the job cannot wait for validators");
        }
        self.change_job(id, |job| job.examination = Some(Examination { until_ms, by: None }))
    }

    /// A job was taken that is to examine another.
    pub(super) fn ordered(&mut self, by: JobId, examines: Option<JobId>) -> Result<(), Misfit> {
        let Some(id) = examines else {
            return Ok(());
        };
        let waits = |job: &crate::job::Job| job.examination.is_some_and(|examination| examination.by.is_none());
        if !self.jobs.get(&id).is_some_and(waits) {
            return Err("the job waits for no validators");
        }
        self.change_job(id, |job| {
            job.examination.iter_mut().for_each(|examination| examination.by = Some(by));
        })
    }

    /// Validators have decided, or did not in time.
    pub(super) fn examined(&mut self, id: JobId, found: Option<Verdict>, rejected: &[ResultId]) -> Result<(), Misfit> {
        let job =
            self.jobs.get(&id).filter(|job| job.examination.is_some()).ok_or("the job waits for no validators")?;
        let verdict = found.filter(|found| found.rejects());
        let blamed = job.submissions.iter().filter(|one| one.verdict.is_none() && rejected.contains(&one.result));
        let blamed: Vec<_> = blamed.map(|one| (one.provider, one.late)).collect();
        if blamed.len() != rejected.len() || verdict.is_some() == rejected.is_empty() {
            return Err("the validators rejected something else");
        }
        self.change_job(id, |job| {
            job.examination = None;
            let finding = if found.is_some() { Finding::Passed } else { Finding::Unvalidated };
            job.examined = verdict.is_none().then_some(finding);
            for submission in job.submissions.iter_mut().filter(|one| rejected.contains(&one.result)) {
                submission.verdict = verdict;
            }
        })?;
        for (provider, late) in blamed {
            if let Some(verdict) = verdict.filter(|_| self.providers.contains_key(&provider)) {
                self.change_provider(provider, |row| {
                    row.judged(verdict, late);
                    row.streak = 0;
                })?;
                self.result_judged(id, provider, verdict, late)?;
            }
        }
        Ok(())
    }
}
