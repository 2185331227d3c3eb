//! Proof of work (NIP-13).

use super::event::{Event, EventId};

/// Leading zero bits.
pub fn difficulty(id: &EventId) -> u32 {
    let zero_bytes = id.0.iter().take_while(|byte| **byte == 0).count();
    8 * zero_bytes as u32 + id.0.get(zero_bytes).map_or(0, |byte| byte.leading_zeros())
}

/// The difficulty that the event's author set out to reach: the third entry of the nonce tag.
pub fn target(event: &Event) -> Option<u32> {
    let tags = event.tags();
    let nonce = tags.iter().find(|tag| tag.first().is_some_and(|name| name == "nonce"))?;
    nonce.get(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zero_bits_are_counted_as_nip_13_counts_them() {
        let cases = [
            ("000006d8c378af1779d2feebc7603a125d99eca0ccf1085959b307f64e5dd358", 21),
            ("6bf5b4f434813c64b523d2b0e6efe18f3bd0cbbd0a5effd8ece9e00fd2531996", 1),
            ("00003479309ecdb46b1c04ce129d2709378518588bed6776e60474ebde3159ae", 18),
            ("01a76167d41add96be4959d9e618b7a35f26551d62c43c11e5e64094c6b53c83", 7),
            ("ac4f44bae06a45ebe88cfbd3c66358750159650a26c0d79e8ccaa92457fca4f6", 0),
            ("0000000000000000006cfbd3c66358750159650a26c0d79e8ccaa92457fca4f6", 73),
            ("0000000000000000000000000000000000000000000000000000000000000000", 256),
        ];
        for (id, bits) in cases {
            assert_eq!(EventId::from_hex(id).map(|id| difficulty(&id)), Some(bits), "{id}");
        }
    }
}
