//! What those who asked to vanish (NIP-62) have left behind: a bounded number of events at a time, for the writer to remove.

use std::ops::ControlFlow;

use crate::nostr::{EventId, Filter, Pubkey, kind};
use crate::store::{Head, Scan, Store, StoreError};

/// Events named at once, so that their removal does not hold up a group for long.
pub const AT_ONCE: usize = 1_000;

/// Events by `author` up to `until` (seconds, inclusive), and gift wraps for him; but no requests to vanish, which stay as
/// the reason why nothing else does. Fewer than `AT_ONCE` are all.
pub fn left(store: &dyn Store, author: &Pubkey, until: u64) -> Result<Vec<EventId>, StoreError> {
    let own = Filter { authors: Some(vec![*author]), until: Some(until), ..Filter::default() };
    let recipient = (b'p', vec![author.to_hex().into_bytes().into()]);
    let kinds = Some(vec![kind::GIFT_WRAP]);
    let wraps = Filter { kinds, tags: [recipient].into(), until: Some(until), ..Filter::default() };
    let mut ids = Vec::new();
    for filter in [own, wraps] {
        let mut found = |head: &Head<'_>| {
            if head.kind != kind::VANISH {
                ids.push(head.position.id);
            }
            match ids.len() < AT_ONCE {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        };
        store.scan_heads(&mut Scan::new(filter), u32::MAX, &mut found)?;
        if ids.len() >= AT_ONCE {
            break;
        }
    }
    Ok(ids)
}
