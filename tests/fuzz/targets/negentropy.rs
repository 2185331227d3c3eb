//! Any negentropy message is answered within its frame or refused. `cargo +nightly fuzz run negentropy --fuzz-dir tests/fuzz`
#![no_main]

use libfuzzer_sys::fuzz_target;
use mercato::negentropy::reconcile::{self, Difference};
use mercato::negentropy::{Item, Span, Tree};
use mercato::nostr::EventId;

const FRAME_BYTES: usize = 4_096;

/// A set with many items in few seconds.
fn span() -> Span {
    let item = |n: u64| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        Item { created_at: n / 50, id: EventId(id) }
    };
    (0..2_000).map(item).collect::<Tree>().into()
}

fuzz_target!(|message: &[u8]| {
    let span = span();
    if let Ok(answer) = reconcile::answer(&span, message, FRAME_BYTES) {
        assert!(answer.len() <= FRAME_BYTES);
        reconcile::answer(&span, &answer, FRAME_BYTES).expect("our own answer is a message");
    }
    let mut found = Difference::default();
    let _ = reconcile::proceed(&span, message, FRAME_BYTES, &mut found);
});
