//! When two results are the same answer.
//!
//! The group of a result is all results that agree with it, itself included. Nearness is not transitive, so a group has a
//! centre. Each provider submits once, so a group's size is its number of distinct providers. Which group counts:
//! [`credibility`](crate::credibility).

use crate::id::{ProviderId, ResultId};
use serde::{Deserialize, Serialize};

/// Numbers that one answer may hold.
pub const NUMBERS_MAX: usize = 256;
/// Decimal places of an answer's numbers: each is a count of 10^-12.
pub const NUMBER_PLACES: u32 = 12;
/// The largest magnitude of a number, 10^18, in units of 10^-12: products with parts per million still fit.
pub const NUMBER_MAX: i128 = 1_000_000_000_000_000_000_000_000_000_000;
/// A share of one, in millionths.
pub const ONE_PPM: u32 = 1_000_000;

/// When two answers agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Validation {
    /// The same bytes, by their digest.
    #[default]
    Exact,
    /// Equally many numbers, each pair near enough in one of two ways.
    Tolerance {
        /// They differ by at most this, in units of 10^-12.
        abs: i128,
        /// They differ by at most this share of the larger magnitude, in millionths.
        rel_ppm: u32,
    },
    /// The same verdict on another result.
    Verdict,
}

/// What a result says, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Nobody compares it.
    Unread,
    /// The sha256 of its content, or of the blob that it names.
    Digest([u8; 32]),
    /// Its numbers, in units of 10^-12.
    Numbers(Vec<i128>),
    /// What a validator finds.
    Verdict(Verdict),
}

/// What was decided about a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// It is in the quorum.
    Pass,
    /// A quorum says something else; or validators found it far from what is right.
    Outlier,
    /// Validators found it wrong.
    Fail,
    /// Validators found it to be somebody else's.
    Copy,
}

/// A result that came in for a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Who delivered.
    pub provider: ProviderId,
    /// The result.
    pub result: ResultId,
    /// The lease under which it worked; `None` in open dispatch.
    pub lease: Option<u64>,
    /// Which attempt at the job that was, from 1; 0 in open dispatch.
    pub attempt: u32,
    /// Whether its lease was over before.
    pub late: bool,
    /// When it came.
    pub at_ms: u64,
    /// How long the run took; of a late result, all the time since its lease was granted.
    pub ran_ms: u64,
    /// The lower bound of its provider's reputation for the kind when it came, in thousandths.
    pub low: u32,
    /// What is compared; dropped when the job ends.
    pub answer: Answer,
    /// `None`: not decided, or never to be.
    pub verdict: Option<Verdict>,
    /// How long it took from the lease to the first word; `None` when it held none any more.
    pub accepted_ms: Option<u64>,
}

/// Results that agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its first result in order of submission: the one that is accepted.
    pub first: usize,
    /// For each submission, whether it is in.
    pub members: Vec<bool>,
}

impl Verdict {
    /// A stable word for machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Outlier => "outlier",
            Verdict::Fail => "fail",
            Verdict::Copy => "copy",
        }
    }

    /// Whether it is against the result.
    pub fn rejects(self) -> bool {
        self != Verdict::Pass
    }
}

impl Group {
    /// How many agree.
    pub fn size(&self) -> usize {
        self.members.iter().filter(|member| **member).count()
    }
}

impl Answer {
    /// Whether it can be compared by this method.
    pub fn suits(&self, validation: Validation) -> bool {
        match (validation, self) {
            (Validation::Exact, Answer::Digest(_)) => true,
            (Validation::Tolerance { .. }, Answer::Numbers(numbers)) => {
                let in_range = |number: &i128| (-NUMBER_MAX..=NUMBER_MAX).contains(number);
                (1..=NUMBERS_MAX).contains(&numbers.len()) && numbers.iter().all(in_range)
            }
            (Validation::Verdict, Answer::Verdict(_)) => true,
            (Validation::Exact, Answer::Unread | Answer::Numbers(_) | Answer::Verdict(_))
            | (Validation::Tolerance { .. }, Answer::Unread | Answer::Digest(_) | Answer::Verdict(_))
            | (Validation::Verdict, Answer::Unread | Answer::Digest(_) | Answer::Numbers(_)) => false,
        }
    }
}

impl Validation {
    /// Whether two answers are the same.
    pub fn agree(self, one: &Answer, other: &Answer) -> bool {
        match (self, one, other) {
            (Validation::Exact, Answer::Digest(one), Answer::Digest(other)) => one == other,
            (Validation::Tolerance { abs, rel_ppm }, Answer::Numbers(one), Answer::Numbers(other)) => {
                let mut pairs = one.iter().zip(other);
                one.len() == other.len() && pairs.all(|(one, other)| near(*one, *other, abs, rel_ppm))
            }
            (Validation::Verdict, Answer::Verdict(one), Answer::Verdict(other)) => one == other,
            (
                Validation::Exact | Validation::Tolerance { .. } | Validation::Verdict,
                Answer::Unread | Answer::Digest(_) | Answer::Numbers(_) | Answer::Verdict(_),
                Answer::Unread | Answer::Digest(_) | Answer::Numbers(_) | Answer::Verdict(_),
            ) => false,
        }
    }

    /// The group around each result on which nothing is decided, in their order.
    pub fn groups(self, submissions: &[Submission]) -> impl Iterator<Item = Group> {
        let centres = submissions.iter().enumerate().filter(|(_, submission)| submission.verdict.is_none());
        centres.map(move |(at, centre)| {
            let joins = |(other, submission): (usize, &Submission)| {
                other == at || (submission.verdict.is_none() && self.same(centre, submission))
            };
            let members: Vec<bool> = submissions.iter().enumerate().map(joins).collect();
            let first = members.iter().position(|member| *member).unwrap_or(at);
            Group { first, members }
        })
    }

    /// Whether two results say the same.
    pub(crate) fn same(self, one: &Submission, other: &Submission) -> bool {
        one.result == other.result || self.agree(&one.answer, &other.answer)
    }
}

fn near(one: i128, other: i128, abs: i128, rel_ppm: u32) -> bool {
    let apart = one.abs_diff(other);
    let larger = one.unsigned_abs().max(other.unsigned_abs());
    let scaled = apart.saturating_mul(u128::from(ONE_PPM));
    apart <= abs.unsigned_abs() || scaled <= larger.saturating_mul(u128::from(rel_ppm))
}
