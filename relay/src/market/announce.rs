//! What the scheduler must tell the world, as events for the relay to sign (docs/market.md has the table).

use mercato_scheduler::{
    Bill, CustomerId, Effect, End, Examination, JobId, JobView, Judged, LeaseView, Payment, ProviderId, Reason,
    Upstream, Verdict,
};

use super::clock::Moment;
use super::keys::{Author, MarketKeys};
use super::order;
use super::tape::Head;
use crate::nostr::{Event, kind};

/// NIP-32 namespace of verdicts on results.
const VALIDATION: &str = "mercato.validation";

/// An event without its author and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// 7000 for what happened, 30383 for how a job stands.
    pub kind: u16,
    /// In order.
    pub tags: Vec<Vec<String>>,
    /// For people; machines have the tags.
    pub content: String,
}

/// An event that is still to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    pub(super) draft: Draft,
    /// Unix seconds.
    pub(super) created_at: u64,
    /// The job whose state this is, for a 30383: a later one replaces it.
    pub(super) state_of: Option<JobId>,
    /// Who says it.
    pub(super) author: Author,
}

impl Announcement {
    pub fn sign(self, keys: &MarketKeys) -> Event {
        let Draft { kind, tags, content } = self.draft;
        keys.sign_as(self.author, self.created_at, kind, &tags, &content)
    }
}

/// The event that tells of `effect`. `request` is the job's request as JSON, and `snapshot` the tape's head before, for a lease. Deadlines are told by the wall
/// clock of `now`.
pub fn draft(effect: &Effect, request: Option<&str>, snapshot: Option<&Head>, now: Moment) -> Draft {
    match effect {
        Effect::AnnounceLease {
            job,
            customer,
            provider,
            attempt,
            lease,
            expires_at_ms,
            run_ms,
            agreed_msat,
            inputs,
            backs_up,
            seed,
            why,
        } => {
            let mut tags = vec![
                tag("status", ["assigned"]),
                tag("e", [hex(&job.0)]),
                tag("p", [hex(&provider.0)]),
                tag("p", [hex(&customer.0)]),
                tag("attempt", [attempt.to_string()]),
                tag("lease", [lease.to_string()]),
                tag("deadline", [seconds(now, *expires_at_ms).to_string()]),
                tag("timeout", ["run".to_owned(), run_ms.div_ceil(1_000).to_string()]),
            ];
            tags.extend(agreed_msat.map(|msat| tag("amount", [msat.to_string()])));
            tags.extend(inputs.iter().map(input_tag));
            tags.extend(backs_up.map(|slow| tag("backs_up", [slow.to_string()])));
            tags.extend(request.map(|request| tag("request", [request])));
            tags.push(tag("why", why.iter().flat_map(|(term, value)| [(*term).to_owned(), value.to_string()])));
            tags.push(tag("seed", [format!("{seed:016x}")]));
            tags.extend(snapshot.map(|head| tag("snapshot", [hex(head)])));
            Draft { kind: kind::JOB_FEEDBACK, tags, content: String::new() }
        }
        Effect::AnnounceWithdrawal { job, customer, provider, lease, attempt, reason } => {
            let words = reason.to_string();
            let tags = vec![
                tag("status", ["withdrawn", &words]),
                tag("e", [hex(&job.0)]),
                tag("p", [hex(&provider.0)]),
                tag("p", [hex(&customer.0)]),
                tag("attempt", [attempt.to_string()]),
                tag("lease", [lease.to_string()]),
                reason_tag(*attempt, provider, reason),
            ];
            Draft { kind: kind::JOB_FEEDBACK, tags, content: format!("Lease {lease} is withdrawn: {words}.") }
        }
        Effect::AnnounceVerdict { job, provider, result, verdict, agreed, results } => {
            let word = verdict.as_str();
            let tags = vec![
                tag("L", [VALIDATION]),
                tag("l", [word, VALIDATION]),
                tag("e", [hex(&result.0)]),
                tag("p", [hex(&provider.0)]),
                tag("job", [hex(&job.0)]),
                tag("quorum", [agreed.to_string(), results.to_string()]),
            ];
            let content = match verdict {
                Verdict::Fail | Verdict::Copy => format!("{word}: validators say so"),
                Verdict::Pass | Verdict::Outlier => format!("{word}: {agreed} of {results} results agree"),
            };
            Draft { kind: kind::LABEL, tags, content }
        }
        Effect::AnnounceEnd { job, customer, provider, end, failed_input, reasons, judged, examined } => {
            let words = end_words(end);
            let mut tags = vec![tag("status", [end_status(end), words]), tag("e", [hex(&job.0)])];
            tags.extend(provider.iter().map(|provider| tag("p", [hex(&provider.0)])));
            tags.push(tag("p", [hex(&customer.0)]));
            let others = judged.iter().map(|judged| &judged.provider);
            let others = others.filter(|other| Some(*other) != provider.as_ref());
            tags.extend(others.map(|other| tag("p", [hex(&other.0)])));
            tags.push(tag("end", [end_word(end)]));
            if let End::Succeeded { result } = end {
                tags.push(tag("result", [hex(&result.0)]));
            }
            tags.extend(judged.iter().map(|Judged { provider, result, verdict, low }| {
                let word = verdict.map_or("undecided", Verdict::as_str);
                tag("verdict", [hex(&result.0), hex(&provider.0), word.to_owned(), low.to_string()])
            }));
            tags.extend(examined.map(|finding| tag("validated", [finding.as_str()])));
            tags.extend(failed_input.map(|input| tag("upstream-failed", [hex(&input.0)])));
            tags.extend(reasons.iter().map(|(attempt, provider, reason)| reason_tag(*attempt, provider, reason)));
            Draft { kind: kind::JOB_FEEDBACK, tags, content: end_content(words, *failed_input, reasons) }
        }
        Effect::AnnounceState { view } => state(view, now),
        Effect::AnnouncePayment { customer, payment } => paid(customer, payment),
        Effect::OrderValidation { job, result, panel, until_ms, .. } => {
            order::draft(*job, *result, *panel, seconds(now, *until_ms))
        }
    }
}

/// A payment that was taken note of. What is claimed nobody has proven.
fn paid(customer: &CustomerId, payment: &Payment) -> Draft {
    let receipt = payment.receipt;
    let (word, words) = match (receipt.counts, receipt.confirmed) {
        (false, _) => ("extra", "this payment is not owed"),
        (true, false) => ("claimed", "a receipt says that the customer paid"),
        (true, true) => ("confirmed", "the customer paid, and that is proven"),
    };
    let tags = vec![
        tag("status", ["payment", words]),
        tag("e", [hex(&payment.job.0)]),
        tag("p", [hex(&receipt.provider.0)]),
        tag("p", [hex(&customer.0)]),
        tag("payment", [word.to_owned(), receipt.msat.to_string()]),
        tag("receipt", [hex(&receipt.marks.receipt)]),
        tag("claimed", [payment.claimed_msat.to_string()]),
        tag("confirmed", [payment.confirmed_msat.to_string()]),
        tag("x", [hex(&receipt.marks.payment_hash)]),
        tag("x", [hex(&receipt.marks.request)]),
    ];
    Draft { kind: kind::JOB_FEEDBACK, tags, content: format!("{} msat: {words}.", receipt.msat) }
}

/// Money in a job's state: each provider's, then how it stands with the accepted result.
fn money(view: &JobView, now: Moment) -> Vec<Vec<String>> {
    let mut tags = Vec::new();
    for account in &view.accounts {
        let mut told = |name, msat: u64| tags.push(tag(name, [msat.to_string(), hex(&account.provider.0)]));
        if let Some(quoted) = account.quoted_msat {
            told("quoted", quoted);
        }
        if account.claimed_msat > 0 {
            told("claimed", account.claimed_msat);
            told("confirmed", account.confirmed_msat);
        }
    }
    match view.bill {
        Bill::None | Bill::Unpaid { .. } => {}
        Bill::Due { pay_by_ms, .. } => tags.push(tag("pay_by", [seconds(now, pay_by_ms).to_string()])),
        Bill::Settled { msat } => tags.push(tag("settled", [msat.to_string()])),
    }
    tags
}

fn state(view: &JobView, now: Moment) -> Draft {
    let mut tags = vec![
        tag("d", [hex(&view.job.0)]),
        tag("e", [hex(&view.job.0)]),
        tag("k", [view.kind.to_string()]),
        tag("s", [view.status.as_str()]),
        tag("P", [hex(&view.customer.0)]),
        tag("p", [hex(&view.customer.0)]),
    ];
    let held = view.leases.iter().map(|lease| lease.provider);
    let parties: Vec<_> = if view.leases.is_empty() { view.provider.into_iter().collect() } else { held.collect() };
    tags.extend(parties.iter().map(|provider| tag("p", [hex(&provider.0)])));
    tags.push(tag("status", [view.status.as_str()]));
    tags.push(tag("customer", [hex(&view.customer.0)]));
    tags.extend(view.provider.map(|provider| tag("provider", [hex(&provider.0)])));
    if view.attempt > 0 {
        tags.push(tag("attempt", [view.attempt.to_string()]));
    }
    tags.extend(view.leases.iter().map(|lease| lease_tag(lease, view.replicas, now)));
    let next_ms = view.leases.iter().map(|lease| lease.expires_at_ms).min();
    tags.extend(next_ms.map(|at_ms| tag("lease_deadline", [seconds(now, at_ms).to_string()])));
    if view.replicas != (1, 1) {
        tags.push(tag("replicas", [view.replicas.0.to_string(), view.replicas.1.to_string()]));
        tags.push(tag("results", [view.results.to_string()]));
    }
    tags.push(tag("deadline", [seconds(now, view.deadline_ms).to_string()]));
    tags.extend(view.inputs.iter().map(input_tag));
    if let Some(Examination { until_ms, by }) = view.examination {
        tags.push(tag("validation", by.map(|by| hex(&by.0)).into_iter().chain([seconds(now, until_ms).to_string()])));
    }
    tags.extend(view.examined.map(|finding| tag("validated", [finding.as_str()])));
    tags.extend(view.bids_until_ms.map(|at_ms| tag("offers_until", [seconds(now, at_ms).to_string()])));
    tags.extend(view.rests_until_ms.map(|at_ms| tag("rests_until", [seconds(now, at_ms).to_string()])));
    tags.extend(view.amount_msat.map(|amount| tag("amount", [amount.to_string()])));
    tags.extend(money(view, now));
    tags.extend(view.result.map(|result| tag("result", [hex(&result.0)])));
    Draft { kind: kind::JOB_STATE, tags, content: String::new() }
}

/// A job that another one waits for, and its result once there is one.
fn input_tag(input: &Upstream) -> Vec<String> {
    let ids = [Some(input.job.0), input.result.map(|result| result.0)];
    tag("input", ids.into_iter().flatten().map(|id| hex(&id)))
}

/// A lease in a job's state; one of several says whose it is and when its deadline comes.
fn lease_tag(lease: &LeaseView, replicas: (u32, u32), now: Moment) -> Vec<String> {
    let mut tag = tag("lease", [lease.number.to_string()]);
    if replicas != (1, 1) {
        tag.extend([hex(&lease.provider.0), seconds(now, lease.expires_at_ms).to_string()]);
    }
    tag
}

/// Whether a 30383 with this status is the last of its job.
pub fn is_final(status: &str) -> bool {
    matches!(status, "succeeded" | "failed" | "cancelled" | "expired" | "settled" | "unpaid")
}

/// NIP-90's word, and ours where it has none.
fn end_status(end: &End) -> &'static str {
    match end {
        End::Succeeded { .. } => "success",
        End::Failed | End::Expired => "error",
        End::Cancelled => "cancelled",
    }
}

fn end_word(end: &End) -> &'static str {
    match end {
        End::Succeeded { .. } => "succeeded",
        End::Failed => "failed",
        End::Cancelled => "cancelled",
        End::Expired => "expired",
    }
}

fn end_words(end: &End) -> &'static str {
    match end {
        End::Succeeded { .. } => "the job has its result",
        End::Failed => "the job failed",
        End::Cancelled => "the customer cancelled the job",
        End::Expired => "the deadline of the job passed",
    }
}

fn end_content(words: &str, failed_input: Option<JobId>, reasons: &[(u32, ProviderId, Reason)]) -> String {
    let mut content = words.to_owned();
    if let Some(input) = failed_input {
        content.push_str(&format!("\nit waited for {}, which ended without a result", hex(&input.0)));
    }
    for (attempt, provider, reason) in reasons {
        content.push_str(&format!("\nattempt {attempt}, {}: {reason}", hex(&provider.0)));
    }
    content
}

fn reason_tag(attempt: u32, provider: &ProviderId, reason: &Reason) -> Vec<String> {
    tag("reason", [attempt.to_string(), hex(&provider.0), reason.as_str().to_owned(), reason.to_string()])
}

pub fn tag<T: Into<String>>(name: &str, values: impl IntoIterator<Item = T>) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(values.into_iter().map(Into::into)).collect()
}

fn hex(bytes: &[u8; 32]) -> String {
    const_hex::encode(bytes)
}

/// Rounded up: nobody is told of a deadline that comes before the real one.
fn seconds(now: Moment, market_ms: u64) -> u64 {
    now.to_wall_ms(market_ms).div_ceil(1_000)
}
