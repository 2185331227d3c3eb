//! The scheduler's refusals in the words of NIP-01: a machine prefix, then a text for people.

use mercato_scheduler::Refusal;

/// The text of `OK false`.
pub fn text(refusal: &Refusal) -> String {
    format!("{}: {refusal}", prefix(refusal))
}

/// `restricted`: it is not for you. `blocked`: it is for nobody any more. `rate-limited`: later. `invalid`: never.
fn prefix(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::DuplicateJob | Refusal::DuplicateResult | Refusal::DuplicateReceipt => "duplicate",
        Refusal::NotEligible
        | Refusal::NotTheCustomer
        | Refusal::NotTheCustomersPayment
        | Refusal::PaidAStranger
        | Refusal::NeverLeased
        | Refusal::StaleLease { .. } => "restricted",
        Refusal::UnderExamination
        | Refusal::NoBidding
        | Refusal::AlreadyEnded { .. }
        | Refusal::InputFailed { .. }
        | Refusal::SecondResult
        | Refusal::ReplayedPayment => "blocked",
        Refusal::TooManyBids { .. }
        | Refusal::TooManyRevisions { .. }
        | Refusal::TooManyJobs { .. }
        | Refusal::TooManyJobsOfCustomer { .. }
        | Refusal::TooManyProviders { .. }
        | Refusal::TooManyReceipts { .. } => "rate-limited",
        Refusal::UnknownJob
        | Refusal::NothingPaid
        | Refusal::UnknownPayment
        | Refusal::WrongResultKind { .. }
        | Refusal::UnfitAnswer { .. }
        | Refusal::TooManyReplicas { .. }
        | Refusal::DeadlinePassed
        | Refusal::OfferTooHigh { .. }
        | Refusal::NotExamined
        | Refusal::TooManyValidators { .. }
        | Refusal::InputCycle
        | Refusal::InputsTooDeep
        | Refusal::InvalidRequest(_)
        | Refusal::InvalidAdvert(_) => "invalid",
    }
}
