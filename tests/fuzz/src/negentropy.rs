//! Any negentropy message is answered within its frame or refused.

use std::sync::LazyLock;

use mercato::negentropy::reconcile::{self, Difference};
use mercato::negentropy::{Item, Span, Tree};
use mercato::nostr::EventId;

const FRAME_BYTES: usize = 4_096;

/// A set with many items in few seconds.
static SPAN: LazyLock<Span> = LazyLock::new(|| {
    let item = |n: u64| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        Item { created_at: n / 50, id: EventId(id) }
    };
    (0..2_000).map(item).collect::<Tree>().into()
});

pub fn check(message: &[u8]) {
    if let Ok(answer) = reconcile::answer(&SPAN, message, FRAME_BYTES) {
        assert!(answer.len() <= FRAME_BYTES);
        reconcile::answer(&SPAN, &answer, FRAME_BYTES).expect("our own answer is a message");
    }
    let mut found = Difference::default();
    let _ = reconcile::proceed(&SPAN, message, FRAME_BYTES, &mut found);
}
