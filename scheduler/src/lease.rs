//! A lease: one provider's right to work on a job, for a while.

use crate::effect::LeaseView;
use crate::id::ProviderId;
use crate::job::Deadline;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes kept of a provider's own words.
pub const REASON_MAX: usize = 256;

/// A live lease. A replicated job has several at a time, of different providers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Fencing number: unique over all jobs, and only grows.
    pub number: u64,
    /// Who holds it.
    pub provider: ProviderId,
    /// Which attempt at the job this is, from 1.
    pub attempt: u32,
    /// When it was granted.
    pub since_ms: u64,
    /// What it is paid by its offer, in millisatoshi.
    pub agreed_msat: Option<u64>,
    /// How long its run may take.
    pub run_ms: u64,
    /// How long it has worked, up to the last time that it waited for money.
    pub worked_ms: u64,
    /// Since when it works, if it does.
    pub working_since_ms: Option<u64>,
    /// The holder is disconnected and must be back by then.
    pub grace_until_ms: Option<u64>,
    /// When it has taken longer than most, if its job then has no time to lose.
    pub straggles_at_ms: Option<u64>,
    /// How far it has come.
    pub phase: Phase,
    /// How long its holder took to say a first word, once it has.
    pub accepted_ms: Option<u64>,
}

/// How far a lease has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The leaseholder has not said anything yet.
    Offered {
        /// It must have said something by then.
        accept_by_ms: u64,
    },
    /// The leaseholder works.
    Running {
        /// It must have delivered by then.
        run_by_ms: u64,
        /// It must have said something by then.
        heartbeat_by_ms: Option<u64>,
    },
    /// The leaseholder waits for money.
    AwaitingPayment {
        /// How much, in millisatoshi.
        amount_msat: Option<u64>,
        /// The customer must have paid by then.
        pay_by_ms: u64,
        /// What is left of the run when it goes on.
        run_left_ms: u64,
    },
}

impl Lease {
    /// How long the work has taken by now; of one that never said that it began, since it was asked.
    pub(crate) fn ran_ms(&self, now_ms: u64) -> u64 {
        match (self.working_since_ms, &self.phase) {
            (Some(since_ms), _) => self.worked_ms.saturating_add(now_ms.saturating_sub(since_ms)),
            (None, Phase::Offered { .. }) => now_ms.saturating_sub(self.since_ms),
            (None, Phase::Running { .. } | Phase::AwaitingPayment { .. }) => self.worked_ms,
        }
    }

    /// How long its holder took to say a first word, if that is now or was before.
    pub(crate) fn accepted_in_ms(&self, now_ms: u64) -> u64 {
        self.accepted_ms.unwrap_or_else(|| now_ms.saturating_sub(self.since_ms))
    }

    /// Moves on to a phase; its clock stands still while it waits for money.
    pub(crate) fn enter(&mut self, phase: Phase, now_ms: u64) {
        self.accepted_ms = Some(self.accepted_in_ms(now_ms));
        let (was, is) = (self.working_since_ms.is_some(), matches!(phase, Phase::Running { .. }));
        if was && !is {
            self.worked_ms = self.ran_ms(now_ms);
            self.working_since_ms = None;
            // Somebody may have paid it by now, and one job is paid once.
            self.straggles_at_ms = None;
        } else if is && !was {
            self.working_since_ms = Some(now_ms);
        }
        self.phase = phase;
    }

    /// The next deadline of this lease and when it is.
    pub fn next_deadline(&self) -> (u64, Deadline) {
        let own = match self.phase {
            Phase::Offered { accept_by_ms } => (accept_by_ms, Deadline::Accept),
            Phase::Running { run_by_ms, heartbeat_by_ms } => {
                let run = (run_by_ms, Deadline::Run);
                heartbeat_by_ms.map_or(run, |by_ms| run.min((by_ms, Deadline::Heartbeat)))
            }
            Phase::AwaitingPayment { pay_by_ms, .. } => (pay_by_ms, Deadline::Pay),
        };
        self.grace_until_ms.map_or(own, |by_ms| own.min((by_ms, Deadline::Grace)))
    }

    /// The lease as the public sees it; the job ends by `whole_ms`.
    pub(crate) fn view(&self, whole_ms: u64) -> LeaseView {
        let (at_ms, _) = self.next_deadline();
        let (number, provider, attempt) = (self.number, self.provider, self.attempt);
        LeaseView { number, provider, attempt, expires_at_ms: at_ms.min(whole_ms) }
    }

    /// The latest of its own deadlines.
    pub(crate) fn last_deadline_ms(&self) -> u64 {
        match self.phase {
            Phase::Offered { accept_by_ms } => accept_by_ms,
            Phase::Running { run_by_ms, heartbeat_by_ms } => heartbeat_by_ms.map_or(run_by_ms, |ms| ms.max(run_by_ms)),
            Phase::AwaitingPayment { pay_by_ms, .. } => pay_by_ms,
        }
    }

    /// Moves its own deadlines to no earlier than this.
    pub(crate) fn extend_to(&mut self, at_ms: u64) {
        match &mut self.phase {
            Phase::Offered { accept_by_ms } => *accept_by_ms = at_ms.max(*accept_by_ms),
            Phase::Running { run_by_ms, heartbeat_by_ms } => {
                *run_by_ms = at_ms.max(*run_by_ms);
                *heartbeat_by_ms = heartbeat_by_ms.map(|by_ms| at_ms.max(by_ms));
            }
            Phase::AwaitingPayment { pay_by_ms, .. } => *pay_by_ms = at_ms.max(*pay_by_ms),
        }
    }
}

/// A lease that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which attempt at the job it was, from 1.
    pub number: u32,
    /// Who held the lease.
    pub provider: ProviderId,
    /// The lease's fencing number.
    pub lease: u64,
    /// When it was granted.
    pub since_ms: u64,
    /// Why it is over.
    pub reason: Reason,
    /// When it ended.
    pub ended_at_ms: u64,
}

/// Why a lease is over without a result of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The provider did not say anything in time.
    AcceptTimeout,
    /// The provider did not deliver in time.
    RunTimeout,
    /// The provider was silent for longer than the job allows.
    HeartbeatTimeout,
    /// The provider disconnected and did not come back in time.
    Disconnected,
    /// The provider gave up, in its own words.
    Error(String),
    /// The customer did not pay in time.
    Unpaid,
    /// An earlier leaseholder delivered after all.
    LateResultWon,
    /// Of a straggler and its backup the other one delivered first.
    Outrun,
    /// Enough others agreed before this one delivered.
    QuorumReached,
    /// It delivered, and too few agreed on any result.
    NoQuorum,
    /// The customer cancelled the job.
    Cancelled,
    /// The whole job ran out of time.
    Expired,
    /// The provider did not want to wait for its payment any longer, in its own words.
    GaveUpWaiting(String),
    /// It delivered, and validators found that wrong.
    Rejected,
}

impl Reason {
    /// The provider's own words, cut to [`REASON_MAX`] bytes at a character's boundary.
    pub fn error(words: String) -> Self {
        Reason::Error(cut(words))
    }

    /// As [`Reason::error`], of one who waited for money.
    pub fn gave_up_waiting(words: String) -> Self {
        Reason::GaveUpWaiting(cut(words))
    }

    /// Whether it counts against the provider. A late winner, a quorum without it, none at all, a cancelled, unpaid or
    /// expired job count against nobody.
    pub fn blames_provider(&self) -> bool {
        match self {
            Reason::AcceptTimeout
            | Reason::RunTimeout
            | Reason::HeartbeatTimeout
            | Reason::Disconnected
            | Reason::Error(_) => true,
            Reason::Unpaid
            | Reason::LateResultWon
            | Reason::Outrun
            | Reason::QuorumReached
            | Reason::NoQuorum
            | Reason::Cancelled
            | Reason::Expired
            | Reason::GaveUpWaiting(_)
            | Reason::Rejected => false,
        }
    }

    /// A stable word for machines.
    pub fn as_str(&self) -> &'static str {
        match self {
            Reason::AcceptTimeout => "accept-timeout",
            Reason::RunTimeout => "run-timeout",
            Reason::HeartbeatTimeout => "heartbeat-timeout",
            Reason::Disconnected => "disconnected",
            Reason::Error(_) => "error",
            Reason::Unpaid => "unpaid",
            Reason::LateResultWon => "late-result-won",
            Reason::Outrun => "outrun",
            Reason::QuorumReached => "quorum-reached",
            Reason::NoQuorum => "no-quorum",
            Reason::Cancelled => "cancelled",
            Reason::Expired => "expired",
            Reason::GaveUpWaiting(_) => "gave-up-waiting",
            Reason::Rejected => "rejected",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::AcceptTimeout => f.write_str("the provider did not accept in time"),
            Reason::RunTimeout => f.write_str("the provider did not deliver in time"),
            Reason::HeartbeatTimeout => f.write_str("the provider was silent for too long"),
            Reason::Disconnected => f.write_str("the provider disconnected"),
            Reason::Error(words) => write!(f, "the provider gave up: {words}"),
            Reason::Unpaid => f.write_str("the customer did not pay in time"),
            Reason::LateResultWon => f.write_str("an earlier provider delivered after all"),
            Reason::Outrun => f.write_str("another provider of this job was faster"),
            Reason::QuorumReached => f.write_str("enough other providers agreed on a result"),
            Reason::NoQuorum => f.write_str("too few providers agreed on any result"),
            Reason::Cancelled => f.write_str("the customer cancelled the job"),
            Reason::Expired => f.write_str("the job ran out of time"),
            Reason::Rejected => f.write_str("validators found its result wrong"),
            Reason::GaveUpWaiting(words) => write!(f, "the provider gave up waiting for its payment: {words}"),
        }
    }
}

fn cut(mut words: String) -> String {
    let fits = |end: &usize| words.is_char_boundary(*end);
    if let Some(end) = (0..=REASON_MAX.min(words.len())).rev().find(fits) {
        words.truncate(end);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        let words = format!("{}é", "x".repeat(REASON_MAX - 1));
        assert_eq!(Reason::error(words), Reason::Error("x".repeat(REASON_MAX - 1)));
    }
}
