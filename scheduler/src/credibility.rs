//! What a group of equal results is worth: a quorum needs enough providers, and enough that is known of them.
//!
//! After Sarmenta's credibility and iExec's proof of contribution, in integers. With `low` the lower bound of a provider's reputation
//! for the kind when it delivered, in thousandths (a newcomer has 120; 0 counts as 1):
//!
//! ```text
//! worth(result) = low²                                       worth(group) = the sum over its results, one of each provider
//! quorum        = the group has as many results as the request asks for,
//!                 and  worth(group) > worth(any group of results that are not in it),
//!                 and  worth(group) >= as many * 60²
//! ```
//!
//! The square makes a crowd of unknown keys weak, 64 newcomers against one whose lower bound is 957, and keeps the known comparable: one
//! with 957 is outvoted by three with 652. The last rule keeps out groups of nobody but those who were caught and of whom nothing
//! good is known: 60 is half of a newcomer. Credibility only ever asks for more opinions: no group wins with fewer than the request asks for.
//! Of several groups that win, as nearness is not transitive, the worthiest counts, of equals the one whose centre came first.

use crate::validation::{Group, Submission, Validation};

/// What each result of a quorum must be worth on average, as a lower bound.
pub const LEAST_LOW: u64 = 60;
/// The lower bound of somebody of whom nothing is known.
pub const NEWCOMER_LOW: u32 = 120;
/// The most that one result can be worth.
const WORTH_MAX: u64 = 1_000 * 1_000;

/// What one result is worth.
pub fn worth(submission: &Submission) -> u64 {
    u64::from(submission.low.max(1)).pow(2)
}

/// What a group stands for, and what stands against it.
#[derive(Clone, Copy)]
struct Standing {
    size: u64,
    worth: u64,
    rival: u64,
}

impl Standing {
    fn of(group: &Group, validate: Validation, submissions: &[Submission]) -> Self {
        let is_undecided = |(submission, _): &(&Submission, &bool)| submission.verdict.is_none();
        let results = || submissions.iter().zip(&group.members).filter(is_undecided);
        let worth_of = |is_in: bool| results().filter(move |(_, member)| **member == is_in).map(|(one, _)| one);
        let others: Vec<&Submission> = worth_of(false).collect();
        let around = |centre: &&Submission| -> u64 {
            others.iter().filter(|other| validate.same(centre, other)).map(|other| worth(other)).sum()
        };
        Self {
            size: u64::try_from(group.size()).unwrap_or(u64::MAX),
            worth: worth_of(true).map(worth).sum(),
            rival: others.iter().map(around).max().unwrap_or(0),
        }
    }

    /// Where nothing is compared, one is as good as another.
    fn wins(self, quorum: u32) -> bool {
        let quorum = u64::from(quorum);
        let is_believed = self.worth > self.rival && self.worth >= quorum * LEAST_LOW.pow(2);
        self.size >= quorum && (quorum <= 1 || is_believed)
    }

    /// When so many more join it, all of them known as well as can be.
    fn joined_by(self, more: u32) -> Self {
        let (size, worth) = (self.size + u64::from(more), self.worth + u64::from(more) * WORTH_MAX);
        Self { size, worth, ..self }
    }
}

/// The results that are a quorum of so many.
pub fn quorum(validate: Validation, submissions: &[Submission], quorum: u32) -> Option<Group> {
    let mut best: Option<(u64, Group)> = None;
    for group in validate.groups(submissions) {
        let standing = Standing::of(&group, validate, submissions);
        let is_worthier = best.as_ref().is_none_or(|(worth, _)| standing.worth > *worth);
        if is_worthier && standing.wins(quorum) {
            best = Some((standing.worth, group));
        }
    }
    best.map(|(_, group)| group)
}

/// Whether a quorum can still come when so many more deliver, whoever they are and whatever they say.
pub fn can_win(validate: Validation, submissions: &[Submission], more: u32, quorum: u32) -> bool {
    let (mut can, mut worthiest) = (false, 0);
    for group in validate.groups(submissions) {
        let standing = Standing::of(&group, validate, submissions);
        worthiest = standing.worth.max(worthiest);
        can |= standing.joined_by(more).wins(quorum);
    }
    can || Standing { size: 0, worth: 0, rival: worthiest }.joined_by(more).wins(quorum)
}
