//! Nutzaps, kind 9321 (NIP-61): ecash for somebody. Whether a mint honours it only the recipient's wallet finds out, so it is a
//! claim and never more.

use mercato_scheduler::Marks;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Claim;
use crate::market::tag::{Malformed, Tags};
use crate::nostr::{Event, EventId, Pubkey};

/// Proofs that are read of one event.
const PROOFS_MAX: usize = 128;

#[derive(Deserialize)]
struct Proof {
    amount: u64,
    secret: String,
}

/// What a nutzap says; `None` when it names no recipient, no event, or no unit of bitcoin.
pub fn read(event: &Event) -> Result<Option<Claim>, Malformed> {
    let tags = Tags::of(event);
    let per_unit = match tags.values("unit").next().unwrap_or("sat") {
        "sat" => 1_000,
        "msat" => 1,
        _ => return Ok(None),
    };
    let payee = tags.values("p").next().and_then(Pubkey::from_hex);
    let about = tags.values("e").next().and_then(EventId::from_hex);
    let (Some(payee), Some(about)) = (payee, about) else { return Ok(None) };
    let proofs = proofs(&tags)?;
    let units = proofs.iter().fold(0_u64, |sum, proof| sum.saturating_add(proof.amount));
    let payment_hash = digest(&proofs);
    Ok(Some(Claim {
        payer: event.pubkey,
        payee,
        about: Some(about),
        msat: units.saturating_mul(per_unit),
        marks: Marks { receipt: event.id.0, payment_hash, request: Sha256::digest(payment_hash).into() },
        has_preimage: false,
        zap: None,
    }))
}

/// In the order of their secrets, each once.
fn proofs(tags: &Tags) -> Result<Vec<Proof>, Malformed> {
    let texts = tags.values("proof").take(PROOFS_MAX);
    let proofs: Result<Vec<Proof>, _> = texts.map(serde_json::from_str).collect();
    let mut proofs = proofs.map_err(|_| Malformed::new("proof", "is not an ecash proof in JSON"))?;
    proofs.sort_by(|one, two| one.secret.cmp(&two.secret));
    proofs.dedup_by(|one, two| one.secret == two.secret);
    Ok(proofs)
}

fn digest(proofs: &[Proof]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for proof in proofs {
        hash.update(Sha256::digest(&proof.secret));
    }
    hash.finalize().into()
}
