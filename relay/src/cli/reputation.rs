//! `mercato reputation KEY`: what the scheduler thinks of a provider or customer, and why (docs/market.md has the formulas).

use anyhow::Context;
use mercato_scheduler::{Customer, CustomerId, Evidence, OUTCOME, Provider, ProviderId, State, Tally};
use nostr::nips::nip19::FromBech32;

use super::npub::npub;
use super::output::Output;
use super::storage;
use crate::config::Config;
use crate::market;
use crate::nostr::Pubkey;
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub struct ReputationArgs {
    /// Whose: npub1... or 64 hex digits.
    key: String,
}

pub fn run(config: &Config, args: &ReputationArgs) -> anyhow::Result<()> {
    let key = parse(&args.key)?;
    let store = storage::open_to_read(config)?;
    let scheduler = market::read_journal(&config.market, store.journal()?.into_iter())?;
    let mut output = Output::new();
    for line in explain(scheduler.state(), &key) {
        output.line(line)?;
    }
    output.flush()
}

fn parse(text: &str) -> anyhow::Result<Pubkey> {
    let from_npub = || nostr::PublicKey::from_bech32(text).ok().map(|key| Pubkey(key.to_bytes()));
    Pubkey::from_hex(text).or_else(from_npub).with_context(|| format!("{text} is neither an npub nor 64 hex digits"))
}

/// Everything that goes into the numbers, decayed to the scheduler's last record, as it takes decisions by.
fn explain(state: &State, key: &Pubkey) -> Vec<String> {
    let mut lines = vec![npub(key)];
    if let Some(row) = state.providers().get(&ProviderId(key.0)) {
        lines.extend(explain_provider(state, row));
    }
    if let Some(row) = state.customers().get(&CustomerId(key.0)) {
        lines.extend(explain_customer(state, row));
    }
    if lines.len() == 1 {
        lines.push(
            "nothing is known of it: as a newcomer it has low 120 as a provider, and rank 12 as a customer".to_owned(),
        );
        return lines;
    }
    let days = state.half_life_ms() / 86_400_000;
    lines.push(format!(
        "evidence halves every {days} days; of one party's word at most 8 counts, of all newcomers' at most 4"
    ));
    lines.push("low = Wilson's lower bound at 5% with one for and one against added, in thousandths".to_owned());
    lines
}

fn explain_provider(state: &State, row: &Provider) -> Vec<String> {
    let Provider { succeeded, failed, late, outliers, settled_msat, .. } = row;
    let mut lines = vec![format!(
        "provider: {succeeded} ok, {late} late, {failed} failed ({outliers} of them outliers), {settled_msat} msat settled"
    )];
    let standing = if row.is_established() { "its own" } else { "a newcomer's" };
    lines.push(format!("  its word about a customer is {standing}"));
    for (kind, tally) in &row.reputation.tallies {
        lines.push(format!("  kind {kind}: low {}", state.low_permille(row, *kind)));
        lines.extend(explain_tally(state, tally));
    }
    lines
}

fn explain_customer(state: &State, row: &Customer) -> Vec<String> {
    let Customer { paid, late, unpaid, settled_msat, .. } = row;
    let rank = state.customer_rank(row.id);
    let mut lines =
        vec![format!("customer: rank {rank}; {paid} paid, {late} late, {unpaid} unpaid, {settled_msat} msat settled")];
    let standing = if row.is_established() { "its own" } else { "a newcomer's" };
    lines.push(format!("  its word about a provider is {standing}"));
    lines.extend(explain_tally(state, &row.tally));
    lines
}

fn explain_tally(state: &State, tally: &Tally) -> Vec<String> {
    let all = tally.evidence(state.now_ms(), state.half_life_ms());
    let mut lines = vec![format!("    now, decayed:     {}", shown(all))];
    let named = tally.shares.iter().map(|(key, share)| (npub(&Pubkey(*key)), *share));
    let rest =
        [("newcomers together".to_owned(), tally.newcomers), ("others, no longer by name".to_owned(), tally.others)];
    let known = named.chain(rest).filter(|(_, share)| share.total() > 0);
    lines.extend(known.map(|(who, share)| format!("    at the last word: {} by {who}", shown(share))));
    lines
}

fn shown(evidence: Evidence) -> String {
    let hundredths = |of: u64| u128::from(of) * 100 / u128::from(OUTCOME);
    let number = |of: u64| format!("{}.{:02}", hundredths(of) / 100, hundredths(of) % 100);
    format!("{} for, {} against", number(evidence.good), number(evidence.bad))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mercato_scheduler::{Advert, Answer, Input, JobId, Offer, Request, ResultId, Scheduler};

    #[test]
    fn a_number_is_explained() {
        let mut scheduler = Scheduler::new(mercato_scheduler::Config::default());
        let (provider, customer, job) = (ProviderId([1; 32]), CustomerId([2; 32]), JobId([3; 32]));
        let advert = Advert { kinds: vec![Offer { kind: 5050, price_msat: None }], ..Advert::default() };
        let result = ResultId([4; 32]);
        let (lease, answer) = (None, Answer::Unread);
        for input in [
            Input::Advertise { provider, advert },
            Input::Online { provider },
            Input::Request { job, customer, request: Request::new(5050) },
            Input::Result { job, provider, lease, result, kind: 6050, answer },
        ] {
            scheduler.step(1, input).unwrap();
        }
        let lines = explain(scheduler.state(), &Pubkey(provider.0));
        assert_eq!(lines[1], "provider: 1 ok, 0 late, 0 failed (0 of them outliers), 0 msat settled");
        assert_eq!(lines[3], "  kind 5050: low 253");
        assert_eq!(lines[5], "    at the last word: 1.00 for, 0.00 against by newcomers together");
        assert!(explain(scheduler.state(), &Pubkey(customer.0))[1].starts_with("customer: rank 12; 0 paid"));
        assert!(explain(scheduler.state(), &Pubkey([9; 32]))[1].starts_with("nothing is known"));
    }

    #[test]
    fn a_key_is_read_in_both_ways() {
        let key = Pubkey::from_hex("32e1827635450ebb3c5a7d12c1f8e7b2b514439ac10a67eef3d9fd9c5c68e245").unwrap();
        assert_eq!(parse(&npub(&key)).unwrap(), key);
        assert_eq!(parse(&key.to_hex()).unwrap(), key);
        assert!(parse("npub1").is_err());
    }
}
