//! NIP-45's HyperLogLog: an estimate of how many authors there are, which clients merge across relays.

use sha2::{Digest, Sha256};

use crate::nostr::{Filter, Pubkey, hex};

const REGISTERS: usize = 256;

/// The value that the authors counted so far add up to.
#[derive(Debug)]
pub struct HyperLogLog {
    registers: Box<[u8; REGISTERS]>,
    /// Where in a public key the register's number stands; between 8 and 23.
    offset: usize,
}

impl HyperLogLog {
    /// An empty value for these filters; `None` where NIP-45 defines none, or would have clients rely on the order of
    /// a filter's parts: for anything but one tag with one value.
    pub fn of(filters: &[Filter]) -> Option<Self> {
        let [filter] = filters else { return None };
        let (Some((_, values)), 1, None) = (filter.tags.first_key_value(), filter.tags.len(), filter.limit) else {
            return None;
        };
        let [value] = values.as_slice() else { return None };
        Some(Self { registers: Box::new([0; REGISTERS]), offset: offset(value) })
    }

    pub fn add(&mut self, author: &Pubkey) {
        let (register, rest) = (author.0[self.offset], &author.0[self.offset + 1..]);
        let zero_bytes = rest.iter().take_while(|byte| **byte == 0).count();
        let zero_bits = 8 * zero_bytes as u32 + rest.get(zero_bytes).map_or(0, |byte| byte.leading_zeros());
        let register = &mut self.registers[usize::from(register)];
        // At most 23 bytes of zeros follow: 184 bits.
        *register = (*register).max(zero_bits as u8 + 1);
    }

    pub fn to_hex(&self) -> String {
        const_hex::encode(&self.registers[..])
    }
}

/// The 33rd hex digit of what the tag names, and 8.
fn offset(value: &[u8]) -> usize {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let of_address = || {
        let mut parts = text.splitn(3, ':');
        let (kind, pubkey, _) = (parts.next()?, parts.next()?, parts.next()?);
        kind.parse::<u16>().ok()?;
        hex::decode(pubkey)
    };
    let bytes: [u8; 32] = hex::decode(text).or_else(of_address).unwrap_or_else(|| Sha256::digest(value).into());
    usize::from(bytes[16] >> 4) + 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nostr::FilterLimits;

    fn filter(json: &str) -> Filter {
        Filter::parse(json, FilterLimits { max_elements: 100, max_tags: 10 }).unwrap()
    }

    #[test]
    fn the_offset_is_the_digit_at_position_32_and_8() {
        let hex = "0123456789abcdef0123456789abcdefb123456789abcdef0123456789abcdef";
        assert_eq!(offset(hex.as_bytes()), 8 + 0xb);
        assert_eq!(offset(format!("30023:{hex}:a:b").as_bytes()), 8 + 0xb);
        // What is no id, key or address is hashed.
        for text in ["nostr", "", &hex[1..], &hex.to_uppercase(), &format!("x:{hex}:"), &format!("1:{hex}")] {
            let digest = const_hex::encode(Sha256::digest(text));
            let digit = digest.chars().nth(32).and_then(|digit| digit.to_digit(16)).unwrap();
            assert_eq!(offset(text.as_bytes()), 8 + digit as usize, "{text}");
        }
    }

    #[test]
    fn one_tag_with_one_value_is_eligible_and_nothing_else() {
        for eligible in [r##"{"#e":["a"],"kinds":[7]}"##, r##"{"#p":["a"],"since":1}"##, r##"{"#t":["a","a"]}"##] {
            assert!(HyperLogLog::of(&[filter(eligible)]).is_some(), "{eligible}");
        }
        for not in ["{}", r##"{"#e":["a","b"]}"##, r##"{"#e":["a"],"#p":["b"]}"##, r##"{"#e":["a"],"limit":5}"##] {
            assert!(HyperLogLog::of(&[filter(not)]).is_none(), "{not}");
        }
        let one = filter(r##"{"#e":["a"]}"##);
        assert!(HyperLogLog::of(&[one.clone(), one]).is_none());
    }

    #[test]
    fn registers_hold_the_longest_run_of_zero_bits_behind_them() {
        let zeros = "0".repeat(64);
        let mut hll = HyperLogLog::of(&[filter(&format!(r##"{{"#e":["{zeros}"]}}"##))]).unwrap();
        let mut key = [0xff; 32];
        // Offset 8: the register's number is byte 8, zeros count from byte 9 on.
        (key[8], key[9]) = (3, 0b0001_0000);
        hll.add(&Pubkey(key));
        assert_eq!(hll.registers[3], 4);
        key[9] = 0xff;
        hll.add(&Pubkey(key));
        assert_eq!(hll.registers[3], 4, "a shorter run changes nothing");
        (key[8], key[9], key[10]) = (3, 0, 0b0100_0000);
        hll.add(&Pubkey(key));
        assert_eq!(hll.registers[3], 10);
        hll.add(&Pubkey([0; 32]));
        assert_eq!(hll.registers[0], 185);
        let hex = hll.to_hex();
        assert_eq!((hex.len(), &hex[..2], &hex[6..8]), (512, "b9", "0a"));
    }
}
