//! Deadlines pass, and what ended long ago is forgotten.

use super::Turn;
use crate::effect::End;
use crate::id::JobId;
use crate::job::{Deadline, Due};
use crate::lease::Reason;
use crate::matching::is_served;
use crate::record::Fact;

/// Deadlines of one sort handled in one step; those left are due at once again.
const DEADLINES_PER_STEP: usize = 64;

impl Turn<'_> {
    pub(super) fn expire(&mut self) {
        self.state.advance(self.now_ms);
        self.expire_jobs();
        self.lapse_providers();
        self.forget_old();
    }

    fn expire_jobs(&mut self) {
        for _ in 0..DEADLINES_PER_STEP {
            match self.state.index.deadlines.first_due() {
                Some((_, job)) => self.expire_job(job),
                None => return,
            }
        }
    }

    fn expire_job(&mut self, id: JobId) {
        let next = self.state.jobs.get(&id).and_then(|job| job.next_deadline());
        let Some(Due { at_ms, deadline, lease }) = next else {
            panic!("{id:?} has a deadline in the index but none of its own");
        };
        assert!(at_ms <= self.now_ms, "{id:?} is not due");
        let Some(lease) = lease else {
            return self.expire_whole(id, deadline);
        };
        match deadline {
            Deadline::Examination
            | Deadline::Job
            | Deadline::Rest
            | Deadline::Bids
            | Deadline::Bill
            | Deadline::Open => {
                panic!("this deadline of {id:?} is not a lease's")
            }
            Deadline::Grace => self.fail_attempt(id, lease, Reason::Disconnected),
            Deadline::Accept => self.fail_attempt(id, lease, Reason::AcceptTimeout),
            Deadline::Run => self.fail_attempt(id, lease, Reason::RunTimeout),
            Deadline::Heartbeat => self.fail_attempt(id, lease, Reason::HeartbeatTimeout),
            Deadline::Straggler => {
                self.record(Fact::Straggled { job: id, lease });
                self.go_on(id);
            }
            // Others would not be paid either.
            Deadline::Pay => self.end_without_result(id, End::Failed, &Reason::Unpaid),
        }
    }

    /// A deadline that is not a lease's.
    fn expire_whole(&mut self, id: JobId, deadline: Deadline) {
        match deadline {
            Deadline::Bill => self.go_unpaid(id),
            Deadline::Job => self.end_without_result(id, End::Expired, &Reason::Expired),
            Deadline::Open => self.open_unless_known(id),
            Deadline::Bids => self.close_bids(id),
            Deadline::Examination => self.follow(id, None),
            Deadline::Rest => {
                self.record(Fact::Woke { job: id });
                self.touched.push(id);
                self.go_on(id);
            }
            Deadline::Grace
            | Deadline::Accept
            | Deadline::Run
            | Deadline::Heartbeat
            | Deadline::Pay
            | Deadline::Straggler => {
                panic!("this deadline of {id:?} is a lease's")
            }
        }
    }

    /// Nobody has had a lease on the job so far. If somebody is known who serves its kind, or its own turn has not come, it waits as
    /// long again.
    fn open_unless_known(&mut self, id: JobId) {
        let Some(job) = self.state.jobs.get(&id) else {
            return;
        };
        if job.is_blocked() || is_served(self.state, job) {
            let waited_ms = self.now_ms.saturating_sub(job.arrived_ms).max(1);
            return self.record(Fact::Waited { job: id, open_at_ms: self.now_ms.saturating_add(waited_ms) });
        }
        self.open(id);
    }

    /// Everybody may answer from now on.
    pub(super) fn open(&mut self, id: JobId) {
        self.record(Fact::Opened { job: id });
        self.touched.push(id);
    }

    fn lapse_providers(&mut self) {
        for _ in 0..DEADLINES_PER_STEP {
            match self.state.index.lapses.first().copied() {
                Some((at_ms, provider)) if at_ms <= self.now_ms => {
                    self.record(Fact::Lapsed { provider });
                    self.forget_if_blank(provider);
                }
                Some(_) | None => return,
            }
        }
    }

    /// One whose dependants are still to be told of its end is not forgotten before.
    fn forget_old(&mut self) {
        for _ in 0..DEADLINES_PER_STEP {
            match self.state.index.ended.first().copied() {
                Some((_, _, job)) if self.state.chain.is_awaited(job) => return,
                Some((at_ms, _, job)) if at_ms <= self.now_ms => {
                    self.record(Fact::Forgotten { job });
                }
                Some(_) | None => return,
            }
        }
    }

    /// Drops the oldest ended jobs and customers beyond their bounds, also when those were lowered: a bounded number in a step.
    pub(super) fn forget_surplus(&mut self) {
        self.forget_surplus_customers();
        for _ in 0..DEADLINES_PER_STEP {
            let ended = &self.state.index.ended;
            match ended.first().copied() {
                Some((_, _, job)) if self.state.chain.is_awaited(job) => return,
                Some((_, _, job)) if ended.len() > self.config.ended_max => {
                    self.record(Fact::Forgotten { job });
                }
                Some(_) | None => return,
            }
        }
    }

    fn forget_surplus_customers(&mut self) {
        for _ in 0..DEADLINES_PER_STEP {
            let customers = &self.state.index.customers;
            match customers.first().copied() {
                Some((_, customer)) if customers.len() > self.config.customers_max => {
                    self.record(Fact::CustomerForgotten { customer });
                }
                Some(_) | None => return,
            }
        }
    }
}
