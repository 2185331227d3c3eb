//! Negentropy messages written by hand, for peers that lie.

/// A message that says only how the ids of everything lie: its hex.
pub fn ids(ids: impl IntoIterator<Item = [u8; 32]>) -> String {
    hex(&all(&listed(ids)))
}

/// Ids up to a moment, in seconds, and that the rest differs: the other side has to go on.
pub fn ids_until(until: u64, ids: impl IntoIterator<Item = [u8; 32]>) -> String {
    let mut message = vec![VERSION];
    message.extend(number(until + 1));
    message.push(0);
    message.extend(listed(ids));
    message.extend([0, 0]);
    message.extend(differs());
    hex(&message)
}

/// That everything differs, again and again.
pub fn different() -> String {
    hex(&all(&differs()))
}

/// The first byte of version 1.
const VERSION: u8 = 0x61;

/// One range to the end of time.
fn all(payload: &[u8]) -> Vec<u8> {
    [&[VERSION, 0, 0], payload].concat()
}

fn differs() -> Vec<u8> {
    [&[1], [0xee; 16].as_slice()].concat()
}

fn listed(ids: impl IntoIterator<Item = [u8; 32]>) -> Vec<u8> {
    let ids: Vec<u8> = ids.into_iter().flatten().collect();
    [vec![2], number(ids.len() as u64 / 32), ids].concat()
}

/// Base 128, most significant digits first.
fn number(mut value: u64) -> Vec<u8> {
    let mut digits = vec![(value & 0x7f) as u8];
    while value > 0x7f {
        value >>= 7;
        digits.insert(0, (value & 0x7f) as u8 | 0x80);
    }
    digits
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
