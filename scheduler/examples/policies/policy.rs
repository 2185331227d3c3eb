//! What every scheduler under comparison is asked and answers, and the one of this project behind it.

use mercato_scheduler::{Config, Effect, End, Input, JobId, ProviderId, ResultId, Scheduler};

/// What a scheduler decides.
#[derive(Clone, Debug)]
pub enum Order {
    /// The provider is to do the job.
    Lease { job: JobId, provider: ProviderId, lease: u64 },
    /// It is not to do it any more.
    Withdraw { job: JobId, provider: ProviderId },
    /// The scheduler does not take the job.
    Refuse { job: JobId },
    /// The job is over, with this result or with none.
    End { job: JobId, winner: Option<(ProviderId, ResultId)> },
}

/// A scheduler. It takes the inputs of ours, so that all of them are told the same.
pub trait Policy {
    fn step(&mut self, now_ms: u64, input: Input) -> Vec<Order>;
    /// When it wants a tick.
    fn next_ms(&self) -> Option<u64>;
}

/// The scheduler of this project, as a relay runs it.
pub struct Ours(Scheduler);

impl Ours {
    pub fn new(config: Config) -> Self {
        Self(Scheduler::new(config))
    }
}

impl Policy for Ours {
    fn step(&mut self, now_ms: u64, input: Input) -> Vec<Order> {
        let asked = if let Input::Request { job, .. } = &input { Some(*job) } else { None };
        match self.0.step(now_ms, input) {
            Ok(step) => step.effects.into_iter().filter_map(order).collect(),
            Err(_) => asked.into_iter().map(|job| Order::Refuse { job }).collect(),
        }
    }

    fn next_ms(&self) -> Option<u64> {
        self.0.next_deadline_ms()
    }
}

fn order(effect: Effect) -> Option<Order> {
    match effect {
        Effect::AnnounceLease { job, provider, lease, .. } => Some(Order::Lease { job, provider, lease }),
        Effect::AnnounceWithdrawal { job, provider, .. } => Some(Order::Withdraw { job, provider }),
        Effect::AnnounceEnd { job, provider, end, .. } => {
            let winner = match end {
                End::Succeeded { result } => provider.map(|provider| (provider, result)),
                End::Failed | End::Cancelled | End::Expired => None,
            };
            Some(Order::End { job, winner })
        }
        Effect::AnnounceVerdict { .. }
        | Effect::AnnounceState { .. }
        | Effect::AnnouncePayment { .. }
        | Effect::OrderValidation { .. } => None,
    }
}
