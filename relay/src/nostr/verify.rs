//! Checks signatures, and remembers what spares the next check its most expensive parts.
//!
//! Neither memory can be made to say yes to a bad signature: a key is only the parsed form of its own 32 bytes, and an
//! event's signature passes unchecked only when all 64 bytes are those that were found good for that very id (which is
//! the hash of the content, recomputed when the event was read).

use quick_cache::sync::Cache;
use secp256k1::XOnlyPublicKey;
use secp256k1::schnorr::Signature;

use super::{Event, EventError, EventId, Pubkey};

/// Public keys remembered, about 100 bytes each. Who writes once is forgotten before who writes often.
const KEYS: usize = 10_000;
/// Signatures remembered, about 150 bytes each: what one relay sends, others send again within the minute.
const SIGNATURES: usize = 10_000;

/// Shared by all who check; its locks are held for a look only.
#[derive(Debug)]
pub struct Verifier {
    /// In the form that the arithmetic wants: a square root saved, a sixth of the check.
    keys: Cache<Pubkey, XOnlyPublicKey>,
    /// What was found good.
    good: Cache<EventId, [u8; 64]>,
}

impl Default for Verifier {
    fn default() -> Self {
        Self { keys: Cache::new(KEYS), good: Cache::new(SIGNATURES) }
    }
}

impl Verifier {
    /// Checks the BIP-340 signature of an event over its id.
    pub fn check(&self, event: &Event) -> Result<(), EventError> {
        if self.good.get(&event.id) == Some(event.signature) {
            return Ok(());
        }
        let known = self.keys.get(&event.pubkey);
        let key = match known {
            Some(key) => key,
            None => XOnlyPublicKey::from_byte_array(event.pubkey.0).map_err(|_| EventError::Signature)?,
        };
        let verified = Signature::from_byte_array(event.signature).verify(&event.id.0, &key);
        verified.map_err(|_| EventError::Signature)?;
        // Only who can sign gets a place, so that nobody fills the memory with made-up keys for free.
        if known.is_none() {
            self.keys.insert(event.pubkey, key);
        }
        self.good.insert(event.id, event.signature);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use secp256k1::Keypair;

    use super::*;

    fn event() -> Event {
        let key = Keypair::from_secret_bytes([7; 32]).expect("a key");
        Event::sign(&key, 1_700_000_000, 1, &[], "hello")
    }

    /// The same event with another signature, as a forger would send it.
    fn forged(event: &Event, place: usize) -> Event {
        let mut signature = event.signature;
        signature[place] ^= 1;
        let body = std::str::from_utf8(event.body()).expect("JSON");
        let body = body.replace(&const_hex::encode(event.signature), &const_hex::encode(signature));
        Event::parse(&body).expect("its form is good")
    }

    #[test]
    fn a_good_event_lends_nothing_to_the_same_event_with_a_bad_signature() {
        let (verifier, event) = (Verifier::default(), event());
        for place in [0, 31, 63] {
            assert_eq!(verifier.check(&forged(&event, place)), Err(EventError::Signature), "before, byte {place}");
        }
        assert_eq!(verifier.check(&event), Ok(()));
        assert_eq!(verifier.check(&event), Ok(()), "from memory");
        for place in [0, 31, 63] {
            assert_eq!(verifier.check(&forged(&event, place)), Err(EventError::Signature), "after, byte {place}");
        }
        assert_eq!(verifier.check(&event), Ok(()), "a forgery does not push out the truth");
    }

    #[test]
    fn it_agrees_with_the_plain_check_whatever_came_before() {
        let verifier = Verifier::default();
        let keys: Vec<Keypair> = (1..=5).map(|n| Keypair::from_secret_bytes([n; 32]).expect("a key")).collect();
        for round in 0..40_u64 {
            let key = &keys[round as usize % keys.len()];
            let good = Event::sign(key, 1_700_000_000 + round % 9, 1, &[], "again");
            for event in [forged(&good, round as usize % 64), good] {
                assert_eq!(verifier.check(&event), event.verify_signature());
            }
        }
    }
}
