//! What the protocol's fingerprints are made of.

use std::ops::{AddAssign, Sub, SubAssign};

use sha2::{Digest, Sha256};

use super::message::put_varint;
use crate::nostr::EventId;

/// A digest of all ids in a range.
pub type Fingerprint = [u8; 16];

/// How many ids there are, and their sum modulo 2^256, each read as a little-endian number. Unlike a digest, sums of
/// parts add up, and what was added can be taken off again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    pub count: usize,
    /// Least significant first.
    limbs: [u64; 4],
}

impl Sum {
    pub fn of(id: &EventId) -> Self {
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(id.0.as_chunks::<8>().0) {
            *limb = u64::from_le_bytes(*bytes);
        }
        Self { count: 1, limbs }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        let mut bytes = Vec::with_capacity(42);
        self.limbs.iter().for_each(|limb| bytes.extend_from_slice(&limb.to_le_bytes()));
        put_varint(&mut bytes, self.count as u64);
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        *digest.first_chunk().expect("16 of 32 bytes")
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        let mut carry = false;
        for (limb, other) in self.limbs.iter_mut().zip(other.limbs) {
            let (sum, first) = limb.overflowing_add(other);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*limb, carry) = (sum, first | second);
        }
    }
}

impl SubAssign for Sum {
    fn sub_assign(&mut self, other: Self) {
        self.count -= other.count;
        let mut borrow = false;
        for (limb, other) in self.limbs.iter_mut().zip(other.limbs) {
            let (rest, first) = limb.overflowing_sub(other);
            let (rest, second) = rest.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (rest, first | second);
        }
    }
}

impl Sub for Sum {
    type Output = Self;

    fn sub(mut self, other: Self) -> Self {
        self -= other;
        self
    }
}

impl<'a> std::iter::Sum<&'a Sum> for Sum {
    fn sum<I: Iterator<Item = &'a Sum>>(sums: I) -> Self {
        let mut total = Self::default();
        sums.for_each(|sum| total += *sum);
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_run_through_every_limb_and_wrap_and_come_back() {
        let ones = EventId([0xff; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        let mut sum = Sum::of(&ones);
        sum += Sum::of(&EventId(one));
        assert_eq!(sum, Sum { count: 2, limbs: [0; 4] });
        sum -= Sum::of(&EventId(one));
        assert_eq!(sum, Sum::of(&ones));
    }
}
