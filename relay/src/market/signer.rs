//! Signs with one key, thousands of times a second.
//!
//! secp256k1's safe interface blinds its context anew after every signature, which costs as much as the signature
//! itself. The blinding is a second line of defence, against somebody who can measure the processor at work (power,
//! radiation); the first is that neither time nor memory access depends on the key. Here the context is blinded from
//! fresh randomness at the start and after every so many signatures, so that no measurement can be averaged for long.
//!
//! Nonces are BIP-340's, derived from key and message alone: the same event has the same signature, and a weak source of
//! randomness cannot give the key away.

use std::sync::{Arc, Mutex, PoisonError};

use secp256k1::ffi::{self, CPtr};
use secp256k1::{Keypair, Secp256k1, SignOnly};

use crate::nostr::EventId;

/// Signatures under one blinding.
const BLINDED_FOR: u32 = 32;

/// A key that signs; clones share its context.
#[derive(Clone)]
pub struct Signer {
    pair: Keypair,
    context: Arc<Mutex<Context>>,
}

struct Context {
    secp: Secp256k1<SignOnly>,
    /// Under this blinding.
    signed: u32,
}

impl Signer {
    pub fn new(pair: Keypair) -> Self {
        // Blinded by the library from the system's randomness.
        Self { pair, context: Arc::new(Mutex::new(Context { secp: Secp256k1::signing_only(), signed: 0 })) }
    }

    pub fn pair(&self) -> &Keypair {
        &self.pair
    }

    /// The BIP-340 signature of an id.
    pub fn sign(&self, id: &EventId) -> [u8; 64] {
        let mut context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
        context.signed += 1;
        if context.signed >= BLINDED_FOR {
            context.blind();
        }
        let mut signature = [0; 64];
        let parameters = ffi::SchnorrSigExtraParams::new(None, std::ptr::null());
        // SAFETY: the context was made for signing and lives behind the lock; signature, id and key pair are of the
        // sizes that the function states, and outlive the call; no nonce function and no data mean BIP-340's own.
        let signed = unsafe {
            ffi::secp256k1_schnorrsig_sign_custom(
                context.secp.ctx().as_ptr(),
                signature.as_mut_ptr(),
                id.0.as_ptr(),
                id.0.len(),
                self.pair.as_c_ptr(),
                &parameters,
            )
        };
        // It fails for a key pair that is none, and `Keypair` is always one.
        assert_eq!(signed, 1, "a valid key signs");
        signature
    }
}

impl Context {
    fn blind(&mut self) {
        let mut seed = [0; 32];
        // Without randomness the blinding of the start goes on.
        if getrandom::fill(&mut seed).is_ok() {
            self.secp.seeded_randomize(&seed);
            self.signed = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_signs_as_the_library_does_whatever_the_blinding() {
        let pair = Keypair::from_secret_bytes([9; 32]).expect("a key");
        let signer = Signer::new(pair);
        for nth in 0..3 * BLINDED_FOR as u8 {
            let id = EventId([nth; 32]);
            assert_eq!(signer.sign(&id), secp256k1::schnorr::sign_no_aux_rand(&id.0, &pair).to_byte_array());
        }
    }
}
