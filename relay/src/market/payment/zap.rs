//! Zap receipts, kind 9735 (NIP-57): the checks of its appendix F, D and E that need nothing but the event.

use mercato_scheduler::Marks;
use sha2::{Digest, Sha256};

use super::invoice::{self, Invoice};
use super::{Claim, Zap};
use crate::market::money;
use crate::market::tag::{Malformed, Tags};
use crate::nostr::{Event, EventId, Pubkey};

/// Kind of the request inside.
const ZAP_REQUEST: u16 = 9734;
/// How far a wallet's clock may be off, in seconds.
const SKEW_S: u64 = 300;

/// The event that a receipt is about, without any check: whether it may matter here.
pub fn subjects(receipt: &Event) -> Vec<EventId> {
    let tags = Tags::of(receipt);
    let inner = request(&tags).map(|request| Tags::of(&request));
    let inner = inner.iter().flat_map(|tags| tags.values("e"));
    let mut ids: Vec<EventId> = tags.values("e").chain(inner).filter_map(EventId::from_hex).collect();
    ids.dedup();
    ids
}

/// What a receipt says. An error is for a receipt that nobody's wallet would write.
pub fn read(receipt: &Event) -> Result<Claim, Malformed> {
    let tags = Tags::of(receipt);
    let request = request(&tags).ok_or_else(|| bad("description", "is not a zap request"))?;
    request.verify_signature().map_err(|_| bad("description", "the zap request's signature is wrong"))?;
    let asked = Tags::of(&request);
    let payee = check_parties(&tags, &asked, &request)?;
    let invoice = tags.only("bolt11")?.and_then(<[String]>::first).and_then(|text| invoice::read(text));
    let invoice = invoice.ok_or_else(|| bad("bolt11", "is not an invoice for bitcoin"))?;
    let msat = invoice.msat.ok_or_else(|| bad("bolt11", "the invoice names no amount"))?;
    check_amount(&asked, msat)?;
    check_time(receipt, &invoice)?;
    let is_bound = is_bound(&tags, &invoice);
    let named = tags.values("bolt11").next().filter(|_| is_bound);
    let zap = Zap { author: receipt.pubkey, invoice: named.map(str::to_owned), until_s: invoice.expires_s };
    let preimage = tags.values("preimage").next();
    Ok(Claim {
        payer: request.pubkey,
        payee,
        about: asked.values("e").next().and_then(EventId::from_hex),
        msat,
        marks: Marks { receipt: receipt.id.0, payment_hash: invoice.payment_hash, request: request.id.0 },
        has_preimage: preimage.is_some_and(|preimage| invoice.is_paid_by(preimage)),
        zap: Some(zap),
    })
}

fn request(tags: &Tags) -> Option<Event> {
    let text = tags.values("description").next()?;
    Event::parse(text).ok().filter(|request| request.kind == ZAP_REQUEST)
}

/// Who was paid: the one `p` of the request, which the receipt must repeat.
fn check_parties(tags: &Tags, asked: &Tags, request: &Event) -> Result<Pubkey, Malformed> {
    let mut named = asked.values("p").map(Pubkey::from_hex);
    let (Some(Some(payee)), None) = (named.next(), named.next()) else {
        return Err(bad("description", "a zap request has one p tag"));
    };
    if asked.values("e").count() > 1 {
        return Err(bad("description", "a zap request has one e tag at most"));
    }
    if tags.values("p").any(|key| Pubkey::from_hex(key) != Some(payee)) {
        return Err(bad("p", "is not whom the zap request names"));
    }
    if tags.values("P").any(|key| Pubkey::from_hex(key) != Some(request.pubkey)) {
        return Err(bad("P", "is not who wrote the zap request"));
    }
    let about = asked.values("e").next();
    if tags.values("e").any(|id| Some(id) != about) {
        return Err(bad("e", "is not what the zap request names"));
    }
    Ok(payee)
}

fn check_amount(asked: &Tags, msat: u64) -> Result<(), Malformed> {
    let amount = asked.only("amount")?.and_then(<[String]>::first);
    let asked_msat = amount.map_or(Ok(None), |amount| money::msat("amount", amount))?;
    match asked_msat {
        Some(asked_msat) if asked_msat != msat => {
            Err(bad("amount", &format!("the zap request is for {asked_msat} msat, and the invoice for {msat}")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Wallets date a receipt when they were paid, which is while the invoice was valid.
fn check_time(receipt: &Event, invoice: &Invoice) -> Result<(), Malformed> {
    let window = invoice.made_s.saturating_sub(SKEW_S)..=invoice.expires_s.saturating_add(SKEW_S);
    if window.contains(&receipt.created_at) {
        return Ok(());
    }
    Err(bad("bolt11", "the receipt is dated when the invoice was not valid"))
}

/// Whether the invoice was made for this zap request. Some wallets hash something else: that is noted, and the receipt
/// counts as what it is.
fn is_bound(tags: &Tags, invoice: &Invoice) -> bool {
    let text = tags.values("description").next().unwrap_or_default();
    let own: [u8; 32] = Sha256::digest(text).into();
    if invoice.description_hash.is_some_and(|hash| hash != own) {
        tracing::debug!("the description hash of a zap receipt's invoice is not its zap request's");
    }
    invoice.description_hash == Some(own)
}

fn bad(tag: &'static str, what: &str) -> Malformed {
    Malformed::new(tag, what)
}
