//! The tree against a sorted list.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use mercato::negentropy::{Item, Span, Sum, Tree};
use mercato::nostr::{EventId, Filter};
use proptest::prelude::*;

use crate::support::Random;

/// What a tree says, all of it.
fn check(tree: &Tree, twin: &BTreeSet<Item>, random: &mut Random) {
    let items: Vec<Item> = twin.iter().copied().collect();
    assert_eq!(tree.len(), items.len());
    let mut listed = Vec::new();
    let _ = tree.each(0..items.len(), &mut |item| {
        listed.push(*item);
        ControlFlow::Continue(())
    });
    assert_eq!(listed, items);
    for _ in 0..20 {
        let (a, b) = (random.below(items.len() as u64 + 1) as usize, random.below(items.len() as u64 + 1) as usize);
        let range = a.min(b)..a.max(b);
        let mut sum = Sum::default();
        items[range.clone()].iter().for_each(|item| sum += Sum::of(&item.id));
        assert_eq!(tree.sum(range.clone()), sum);
        assert_eq!(tree.fingerprint(range.clone()), sum.fingerprint());
        let mut part = Vec::new();
        let _ = tree.each(range.clone(), &mut |item| {
            part.push(*item);
            ControlFlow::Continue(())
        });
        assert_eq!(part, items[range]);
        assert_eq!(tree.get(a), items.get(a).copied());
        let place = match items.get(a) {
            Some(item) if random.below(2) == 0 => *item,
            _ => random.item(60),
        };
        assert_eq!(tree.rank(&place), items.iter().filter(|item| **item < place).count());
        assert_eq!(tree.contains(&place), twin.contains(&place));
    }
}

fn churn(seed: u64, rounds: usize, order: u64) {
    let mut random = Random::new(seed);
    let (mut tree, mut twin) = (Tree::default(), BTreeSet::new());
    let mut before = (tree.clone(), twin.clone());
    for round in 0..rounds {
        let remove = random.below(3) == 0 && !twin.is_empty();
        for step in 0..random.below(400) {
            let mut item = random.item(60);
            match order {
                0 => item.created_at = 1_000 + (round as u64 * 400 + step),
                1 => item.created_at = 1_000_000 - (round as u64 * 400 + step),
                _ => {}
            }
            if remove {
                let at = random.below(twin.len().max(1) as u64) as usize;
                let Some(gone) = twin.iter().nth(at).copied() else { break };
                assert!(twin.remove(&gone) && tree.remove(&gone) && !tree.remove(&gone));
                assert!(!tree.remove(&item));
            } else {
                assert!(twin.insert(item) && tree.insert(item) && !tree.insert(item));
            }
        }
        check(&tree, &twin, &mut random);
        // A clone is as it was, whatever happened to the tree since.
        check(&before.0, &before.1, &mut random);
        if random.below(3) == 0 {
            before = (tree.clone(), twin.clone());
        }
    }
    for item in std::mem::take(&mut twin) {
        assert!(tree.remove(&item));
    }
    check(&tree, &twin, &mut random);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_tree_is_a_sorted_list_through_any_insertions_and_removals(seed: u64, order in 0u64..4) {
        churn(seed, 12, order);
    }

    #[test]
    fn a_span_is_what_since_and_until_leave(seed: u64, since: Option<u8>, until: Option<u8>) {
        let mut random = Random::new(seed);
        let items: BTreeSet<Item> = (0..500).map(|_| random.item(256)).collect();
        let (since, until) = (since.map(u64::from), until.map(u64::from));
        let filter = Filter { since, until, ..Filter::default() };
        let span = Span::of(items.iter().copied().collect(), &filter);
        let within = |item: &&Item| since.is_none_or(|s| s <= item.created_at) && until.is_none_or(|u| item.created_at <= u);
        let expected: Vec<Item> = items.iter().filter(within).copied().collect();
        let got: Vec<Item> = (0..span.len() + 1).filter_map(|rank| span.get(rank)).collect();
        prop_assert_eq!(&got, &expected);
        for place in [Item::FIRST, Item::END, random.item(256)] {
            prop_assert_eq!(span.rank(&place), expected.iter().filter(|item| **item < place).count());
        }
    }
}

#[test]
fn items_in_order_fill_their_leaves_and_a_clone_shares_them() {
    // Both ways; a tree of half-empty leaves would take far more walks. Only its speed would tell, so this asks for both
    // ends being right at size.
    for descending in [false, true] {
        let item = |n: u64| Item { created_at: if descending { 1_000_000 - n } else { n }, id: EventId([n as u8; 32]) };
        let tree: Tree = (0..100_000).map(item).collect();
        assert_eq!(tree.len(), 100_000);
        let first = if descending { item(99_999) } else { item(0) };
        assert_eq!(tree.get(0), Some(first));
        let mut copy = tree.clone();
        assert!(copy.remove(&first));
        assert_eq!((tree.len(), copy.len()), (100_000, 99_999));
        assert_eq!(copy.sum(0..99_999), tree.sum(1..100_000));
    }
}
