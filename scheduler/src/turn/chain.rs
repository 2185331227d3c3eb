//! What has ended is told to the jobs that wait for it.

use super::Turn;
use crate::chain::Knot;
use crate::effect::End;
use crate::id::JobId;
use crate::record::Fact;
use crate::refusal::Refusal;
use crate::request::Request;

/// Dependants told in one step; the others are told in the steps that follow at once.
const INPUTS_PER_STEP: usize = 256;

impl Turn<'_> {
    /// Fills in what has ended already, as far as it is known here.
    pub(super) fn resolve_inputs(&self, request: &mut Request) {
        for input in request.inputs.iter_mut().filter(|input| input.result.is_none()) {
            if let Some(End::Succeeded { result }) = self.state.jobs.get(&input.job).and_then(|job| job.end()) {
                input.result = Some(*result);
            }
        }
    }

    /// Refuses a request whose inputs can never come.
    pub(super) fn check_inputs(&self, id: JobId, request: &Request) -> Result<(), Refusal> {
        let awaited = || request.inputs.iter().filter(|input| input.result.is_none()).map(|input| input.job);
        let end_of = |job: JobId| self.state.jobs.get(&job).and_then(|job| job.end());
        for input in awaited() {
            match end_of(input) {
                Some(End::Failed | End::Cancelled | End::Expired) => return Err(Refusal::InputFailed { input }),
                Some(End::Succeeded { .. }) | None => {}
            }
        }
        match self.state.chain.knot(id, awaited(), &self.state.jobs) {
            Some(Knot::Cycle) => Err(Refusal::InputCycle),
            Some(Knot::TooLong) => Err(Refusal::InputsTooDeep),
            None => Ok(()),
        }
    }

    /// When the last of the jobs that a request waits for will have ended; now, if there is none.
    pub(super) fn inputs_by_ms(&self, request: &Request) -> u64 {
        let open = request.inputs.iter().filter_map(|input| self.state.jobs.get(&input.job));
        let deadlines = open.filter(|job| job.is_open()).map(|job| job.terms.deadline_ms);
        deadlines.max().unwrap_or(0).max(self.now_ms)
    }

    /// Tells dependants of ended jobs, a bounded number in a step.
    pub(super) fn settle_inputs(&mut self) {
        for _ in 0..INPUTS_PER_STEP {
            let Some((job, input)) = self.state.chain.next() else {
                return;
            };
            self.settle_input(job, input);
        }
    }

    fn settle_input(&mut self, id: JobId, input: JobId) {
        let end = self.state.jobs.get(&input).and_then(|job| job.end());
        match end.cloned() {
            Some(End::Succeeded { result }) => {
                self.record(Fact::InputCame { job: id, input, result });
                self.touched.push(id);
                self.go_on(id);
            }
            Some(End::Failed | End::Cancelled | End::Expired) => {
                self.record(Fact::InputFailed { job: id, input });
                self.end(id, End::Failed, None, Vec::new());
            }
            None => panic!("{input:?} has not ended and is told to {id:?}"),
        }
    }
}
