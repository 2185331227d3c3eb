//! Who has paid for admission, by the zap receipts (NIP-57) to the operator that the store holds.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use crate::nostr::{Event, Filter, Pubkey, kind};
use crate::store::{Progress, Record, Scan, Store, StoreError};

/// Kind of the request that a receipt answers.
const ZAP_REQUEST: u16 = 9734;
/// Receipts looked at, newest first; older ones no longer count.
const MAX_RECEIPTS: u64 = 1_000_000;
/// Index entries looked at in one slice.
const SLICE: u32 = 4_096;

/// Everybody whose zaps to `operator`, confirmed by `zapper`, come to `fee_msat` together.
pub fn payers(
    store: &dyn Store,
    operator: &Pubkey,
    zapper: &Pubkey,
    fee_msat: u64,
) -> Result<HashSet<Pubkey>, StoreError> {
    let mut filter = Filter { authors: Some(vec![*zapper]), kinds: Some(vec![kind::ZAP_RECEIPT]), ..Filter::default() };
    filter.tags.insert(b'p', vec![operator.to_hex().into_bytes().into()]);
    let mut scan = Scan::new(filter);
    scan.room = MAX_RECEIPTS;
    let mut paid: HashMap<Pubkey, u64> = HashMap::new();
    // One invoice is one payment, however often its receipt is published.
    let mut invoices = HashSet::new();
    let mut found = |record: Record| {
        let body = record.body();
        let receipt = std::str::from_utf8(&body).ok().and_then(|text| Event::parse(text).ok());
        if let Some((payer, invoice, msat)) = receipt.and_then(|receipt| read(&receipt, operator))
            && invoices.insert(invoice)
        {
            let total = paid.entry(payer).or_default();
            *total = total.saturating_add(msat);
        }
        ControlFlow::Continue(())
    };
    while store.scan(&mut scan, SLICE, &mut found)? == Progress::More {}
    Ok(paid.into_iter().filter(|(_, msat)| *msat >= fee_msat).map(|(payer, _)| payer).collect())
}

/// Who paid how much by which invoice; `None` when the receipt does not prove it (NIP-57, appendix F).
fn read(receipt: &Event, operator: &Pubkey) -> Option<(Pubkey, String, u64)> {
    let tags = receipt.tags();
    let value = |name: &str| tags.iter().find(|tag| tag.first().is_some_and(|n| n == name))?.get(1).map(String::as_str);
    let invoice = value("bolt11")?;
    let request = Event::parse(value("description")?).ok().filter(|request| request.kind == ZAP_REQUEST)?;
    request.verify_signature().ok()?;
    let asked = request.tags();
    let asked_for = |name: &str| asked.iter().find(|tag| tag.first().is_some_and(|n| n == name))?.get(1);
    if asked_for("p").and_then(|key| Pubkey::from_hex(key)) != Some(*operator) {
        return None;
    }
    let msat = invoice_msat(invoice)?;
    let fits = asked_for("amount").is_none_or(|amount| amount.parse() == Ok(msat));
    fits.then(|| (request.pubkey, invoice.to_ascii_lowercase(), msat))
}

/// The amount in the human-readable part of a bolt11 invoice; `None` when it names none.
fn invoice_msat(invoice: &str) -> Option<u64> {
    // ln, the network, the amount with its multiplier, and the separator of bech32: the last 1.
    let invoice = invoice.to_ascii_lowercase();
    let (readable, _) = invoice.rsplit_once('1')?;
    let amount = readable.strip_prefix("ln")?.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let unit = amount.chars().last()?;
    let number = |text: &str| text.parse::<u64>().ok();
    match unit {
        'm' => number(amount.strip_suffix('m')?)?.checked_mul(100_000_000),
        'u' => number(amount.strip_suffix('u')?)?.checked_mul(100_000),
        'n' => number(amount.strip_suffix('n')?)?.checked_mul(100),
        // Tenths of a millisatoshi must come to whole ones.
        'p' => number(amount.strip_suffix('p')?).filter(|tenths| tenths % 10 == 0).map(|tenths| tenths / 10),
        _ => number(amount)?.checked_mul(100_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invoice_is_worth_what_bolt11_says() {
        // Amounts of the examples in BOLT 11.
        assert_eq!(invoice_msat("lnbc2500u1pvjluez"), Some(250_000_000));
        assert_eq!(invoice_msat("LNBC20M1PVJLUEZ"), Some(2_000_000_000));
        assert_eq!(invoice_msat("lnbc9678785340p1pwmna7l"), Some(967_878_534));
        assert_eq!(invoice_msat("lntb20m1pvjluez"), Some(2_000_000_000));
        assert_eq!(invoice_msat("lnbcrt1230n1pj"), Some(123_000));
        for worthless in ["lnbc1pvjluez", "", "lnbc", "lnbc2500x1p", "lnbc11p1p", "lnbc99999999999999999m1p"] {
            assert_eq!(invoice_msat(worthless), None, "{worthless}");
        }
    }
}
