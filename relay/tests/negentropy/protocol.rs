//! Both sides of the protocol, against the crate and against each other.

use std::time::Instant;

use mercato::negentropy::{FrameError, Item, reconcile};
use proptest::prelude::*;

use crate::support::{Outcome, Random, among_ourselves, crate_answers, crate_asks, minus, span};

/// Two sets that share most of what they have.
fn pair(seed: u64) -> (Vec<Item>, Vec<Item>) {
    let mut random = Random::new(seed);
    let common = [0, 10, 500, 3_000][random.below(4) as usize];
    let (ours, theirs) = ([0, 1, 40, 2_500][random.below(4) as usize], [0, 1, 40, 2_500][random.below(4) as usize]);
    let seconds = [1, 50, 1_000_000][random.below(3) as usize];
    let mut items = |count: u64| -> Vec<Item> { (0..count).map(|_| random.item(seconds)).collect() };
    let common = items(common);
    let with = |own: Vec<Item>| common.iter().copied().chain(own).collect();
    (with(items(ours)), with(items(theirs)))
}

fn check(how: &str, outcome: &Outcome, asks: &[Item], answers: &[Item], frame_bytes: usize) {
    assert!(outcome.have == minus(asks, answers), "{how}: {} of ours", outcome.have.len());
    assert!(outcome.need == minus(answers, asks), "{how}: {} of theirs", outcome.need.len());
    assert!(outcome.largest <= frame_bytes, "{how}: {} bytes", outcome.largest);
}

/// A way for two sides to find what they lack.
type Way = fn(&[Item], &[Item], usize) -> Outcome;

#[test]
fn the_difference_is_found_exactly_by_and_with_the_other_implementation() {
    for seed in 0..60 {
        let (asks, answers) = pair(seed);
        for frame_bytes in [4_096, 5_000, 60_000] {
            let ways: [(&str, Way); 3] =
                [("the crate asks", crate_asks), ("the crate answers", crate_answers), ("ourselves", among_ourselves)];
            for (way, run) in ways {
                let how = format!("{way}, seed {seed}, {frame_bytes} bytes");
                check(&how, &run(&asks, &answers, frame_bytes), &asks, &answers, frame_bytes);
            }
        }
    }
}

#[test]
fn without_a_limit_in_the_way_we_say_what_the_other_implementation_says() {
    let mut random = Random::new(7);
    let items: Vec<Item> = (0..10_000).map(|_| random.item(5_000)).collect();
    let first = reconcile::begin(&span(&items[..9_990]));
    let storage = crate::support::theirs(&items[..9_990]);
    let mut other = negentropy::Negentropy::borrowed(&storage, 0).unwrap();
    assert_eq!(first, other.initiate().unwrap());
    let outcome = among_ourselves(&items[10..], &items[..9_990], 60_000);
    let known = crate_asks(&items[10..], &items[..9_990], 60_000);
    assert_eq!((outcome.have, outcome.need), (known.have, known.need));
    assert!(outcome.rounds <= known.rounds);
}

#[test]
fn a_newer_version_is_answered_with_ours_and_a_spoilt_message_with_its_fault() {
    let set = span(&[]);
    assert_eq!(reconcile::answer(&set, &[0x62, 1, 2, 3], 60_000), Ok(vec![0x61]));
    assert_eq!(reconcile::answer(&set, b"", 60_000), Err(FrameError::Empty));
    assert_eq!(reconcile::answer(&set, b"\x7b", 60_000), Err(FrameError::NoVersion));
    let mut found = reconcile::Difference::default();
    assert_eq!(reconcile::proceed(&set, &[0x62], 60_000, &mut found), Err(FrameError::Version));
}

/// A message of as many ranges as fit, all of which differ.
fn crowded(mode: &[u8], ranges: usize) -> Vec<u8> {
    let mut message = vec![0x61];
    for _ in 0..ranges {
        message.extend_from_slice(&[2, 0]);
        message.extend_from_slice(mode);
    }
    message
}

#[test]
fn ten_thousand_ranges_cost_little_and_the_answer_stays_within_its_frame() {
    let mut random = Random::new(3);
    let items: Vec<Item> = (0..200_000).map(|_| random.item(20_000)).collect();
    let set = span(&items);
    let fingerprint = [&[1][..], &[9; 16]].concat();
    let begun = Instant::now();
    for mode in [&[0][..], &fingerprint, &[2, 0]] {
        let answer = reconcile::answer(&set, &crowded(mode, 10_000), 60_000).unwrap();
        assert!(answer.len() <= 60_000, "{}", answer.len());
    }
    // A walk over the set for each range would take minutes.
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_are_answered_within_the_frame_or_refused(bytes: Vec<u8>, seed in 0u64..40) {
        let (items, _) = pair(seed % 8);
        let set = span(&items);
        let message = [&[0x61][..], &bytes].concat();
        if let Ok(answer) = reconcile::answer(&set, &message, 4_096) {
            prop_assert!(answer.len() <= 4_096);
        }
        let mut found = reconcile::Difference::default();
        let _ = reconcile::proceed(&set, &message, 4_096, &mut found);
    }

    #[test]
    fn a_message_with_some_bytes_changed_is_answered_or_refused(seed: u64, at: prop::sample::Index, byte: u8) {
        let (asks, answers) = pair(seed);
        let (asks, answers) = (span(&asks), span(&answers));
        let mut message = reconcile::begin(&asks);
        let at = at.index(message.len());
        message[at] = byte;
        if let Ok(mut answer) = reconcile::answer(&answers, &message, 4_096) {
            prop_assert!(answer.len() <= 4_096);
            let at = at % answer.len();
            answer[at] ^= byte;
            let mut found = reconcile::Difference::default();
            let _ = reconcile::proceed(&asks, &answer, 4_096, &mut found);
        }
    }
}
