//! What the relay asserts about a provider or customer: kind 30382 (NIP-85), by its reputation key.

use mercato_scheduler::{Customer, CustomerId, Fact, Provider, ProviderId, State};

use super::announce::{Draft, tag};
use crate::nostr::{Pubkey, kind};

/// Of whom a fact says something new; the state knows of it already.
pub fn concerned(fact: &Fact, state: &State) -> Vec<Pubkey> {
    let (Fact::Examined { job, .. }
    | Fact::LeaseEnded { job, .. }
    | Fact::Ended { job, .. }
    | Fact::Settled { job, .. }
    | Fact::WentUnpaid { job }) = fact
    else {
        return Vec::new();
    };
    let Some(job) = state.jobs().get(job) else { return Vec::new() };
    let last = job.attempts.last().map(|attempt| attempt.provider);
    let delivered = job.submissions.iter().map(|submission| submission.provider);
    let providers = last.into_iter().chain(delivered).filter(|provider| state.providers().contains_key(provider));
    let providers = providers.map(|provider| Pubkey(provider.0));
    let customer = state.customers().contains_key(&job.customer).then_some(Pubkey(job.customer.0));
    providers.chain(customer).collect()
}

/// Everything that is known of a key; `None` when nothing is.
pub fn draft(state: &State, key: &Pubkey) -> Option<Draft> {
    let provider = state.providers().get(&ProviderId(key.0)).filter(|row| !row.reputation.is_empty());
    let customer = state.customers().get(&CustomerId(key.0));
    let mut tags = vec![tag("d", [key.to_hex()])];
    match (provider, customer) {
        (None, None) => return None,
        (Some(row), _) => {
            let all = row.reputation.evidence(state.now_ms(), state.half_life_ms());
            tags.push(tag("rank", [(all.low_permille() / 10).to_string()]));
        }
        (None, Some(row)) => tags.push(tag("rank", [state.customer_rank(row.id).to_string()])),
    }
    tags.extend(provider.into_iter().flat_map(|row| of_provider(state, row)));
    tags.extend(customer.into_iter().flat_map(|row| of_customer(state, row)));
    Some(Draft { kind: kind::ASSERTION, tags, content: String::new() })
}

fn of_provider(state: &State, row: &Provider) -> Vec<Vec<String>> {
    let mut tags = vec![
        tag("ok", [row.succeeded.to_string()]),
        tag("failed", [row.failed.to_string()]),
        tag("late", [row.late.to_string()]),
        tag("settled_msat", [row.settled_msat.to_string()]),
    ];
    let kinds = row.reputation.tallies.keys();
    tags.extend(kinds.map(|kind| tag("low", [state.low_permille(row, *kind).to_string(), kind.to_string()])));
    tags
}

fn of_customer(state: &State, row: &Customer) -> Vec<Vec<String>> {
    vec![
        tag("customer_rank", [state.customer_rank(row.id).to_string()]),
        tag("paid", [row.paid.to_string()]),
        tag("paid_late", [row.late.to_string()]),
        tag("unpaid", [row.unpaid.to_string()]),
        tag("paid_msat", [row.settled_msat.to_string()]),
    ]
}
