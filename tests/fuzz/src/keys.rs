//! Whatever an event's tags hold, its index keys have the length of their family, lead back to it and sort as answers do;
//! an address is read from any text without harm.

use mercato::nostr::{EventId, EventView, IndexTags, Pubkey};
use mercato::store::Position;
use mercato::store::keys::{Address, each_range};

/// Two times, a kind, and then tags as they are stored: a name, a length of two bytes, a value.
pub fn check(bytes: &[u8]) {
    let _ = Address::parse(bytes);
    let Some((head, rest)) = bytes.split_first_chunk::<18>() else { return };
    let number = |from: usize| head[from..from + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let (one, other) = (Position::new(number(0), EventId([1; 32])), Position::new(number(8), EventId([2; 32])));
    let (kind, tags) = (u16::from_be_bytes([head[16], head[17]]), whole_tags(rest));
    let view = EventView {
        id: &one.id,
        pubkey: &Pubkey([3; 32]),
        created_at: one.created_at(),
        kind,
        index_tags: IndexTags(tags),
    };
    let _ = Address::of(&view);
    each_range(&view, Some(number(8)), |index, prefix| {
        assert_eq!(prefix.as_bytes().len(), index.prefix_bytes());
        let (key, next) = (prefix.at(one), prefix.at(other));
        assert_eq!(prefix.position(key.as_ref()), Some(one));
        assert_eq!(key.as_ref().cmp(next.as_ref()), one.cmp(&other));
    });
}

/// The tags before the first that is cut off.
fn whole_tags(bytes: &[u8]) -> &[u8] {
    let mut end = 0;
    while let Some([_, high, low]) = bytes.get(end..end + 3) {
        let next = end + 3 + usize::from(u16::from_be_bytes([*high, *low]));
        if next > bytes.len() {
            break;
        }
        end = next;
    }
    &bytes[..end]
}
