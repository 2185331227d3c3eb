//! A customer shows that it paid a provider's invoice: feedback, kind 7000, with `bolt11` and `preimage`.

use mercato_scheduler::Marks;
use sha2::{Digest, Sha256};

use super::{Claim, invoice};
use crate::market::tag::{Malformed, Tags};
use crate::nostr::{Event, EventId, Pubkey};

/// Whether this feedback is one.
pub fn is_one(tags: &Tags) -> bool {
    tags.values("preimage").next().is_some()
}

/// What it proves.
pub fn read(event: &Event, tags: &Tags, job: EventId) -> Result<Claim, Malformed> {
    let payee = tags.only("p")?.and_then(<[String]>::first).and_then(|key| Pubkey::from_hex(key));
    let payee = payee.ok_or_else(|| Malformed::new("p", "must name the provider that was paid"))?;
    let invoice = tags.only("bolt11")?.and_then(<[String]>::first).and_then(|text| invoice::read(text));
    let invoice = invoice.ok_or_else(|| Malformed::new("bolt11", "is not an invoice for bitcoin"))?;
    let msat = invoice.msat.ok_or_else(|| Malformed::new("bolt11", "the invoice names no amount"))?;
    let preimage = tags.only("preimage")?.and_then(<[String]>::first).map_or("", String::as_str);
    if !invoice.is_paid_by(preimage) {
        return Err(Malformed::new("preimage", "is not the invoice's"));
    }
    let (payment_hash, request) = (invoice.payment_hash, Sha256::digest(invoice.payment_hash).into());
    let marks = Marks { receipt: event.id.0, payment_hash, request };
    Ok(Claim { payer: event.pubkey, payee, about: Some(job), msat, marks, has_preimage: true, zap: None })
}
