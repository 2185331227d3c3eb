//! The bits of a result depend on the updates alone: not on threads, tiles, instructions, or where ranges are cut.

mod common;

use std::num::NonZeroUsize;

use common::*;
use mercato_kernels::*;

fn plans() -> Vec<Plan> {
    let size = |size| NonZeroUsize::new(size).expect("not zero");
    let cuts = [(1, 4096), (1, 1), (2, 100), (3, 33), (7, 1000), (5, 1 << 20)];
    let plan = |isa, (threads, tile)| Plan { threads: size(threads), tile: size(tile), isa };
    Isa::available().into_iter().flat_map(|isa| cuts.map(|cut| plan(isa, cut))).collect()
}

fn check(n: usize, d: usize) {
    let updates = updates(n, d, n as u64);
    for (name, rule) in RULES {
        let expected = run(rule, &updates, &Plan::default());
        for plan in plans() {
            let result = run(rule, &updates, &plan);
            assert_eq!(result.as_deref().map(bits), expected.as_deref().map(bits), "{name} of {n} x {d} with {plan:?}");
        }
    }
}

#[test]
fn every_rule_has_the_same_bits_however_the_work_is_cut() {
    for n in [1, 2, 3, 4, 7, 16, 17, 31, 32, 33] {
        check(n, 1003);
    }
}

#[test]
fn so_it_has_with_many_updates() {
    for n in [64, 65, 200] {
        check(n, 77);
    }
}

#[test]
fn so_it_has_across_the_segments_of_the_gram_matrix() {
    check(5, 150_001);
}

#[test]
fn so_it_has_with_no_coordinates() {
    check(8, 0);
}

/// Rules over coordinates are independent; the others are once their coefficients are known.
#[test]
fn windows_have_the_bits_of_the_whole() {
    let updates = updates(19, 1000, 3);
    let rows = borrow(&updates);
    let updates = Dense::new(&rows).unwrap();
    let plan = Plan::default();
    let combination = geometric_median(&Gram::of(&updates, &plan).unwrap(), &weights(19), 0.1, 3).unwrap();
    let by_window = |rule: &dyn Fn(&dyn Updates, &mut [f32])| {
        let mut whole = vec![0.0; 1000];
        rule(&updates, &mut whole);
        let mut parts = vec![0.0; 1000];
        for cut in [0..7, 7..500, 500..1000] {
            rule(&Window::new(&updates, cut.clone()), &mut parts[cut]);
        }
        assert_eq!(bits(&whole), bits(&parts));
    };
    by_window(&|updates, out| median(updates, out, &plan).unwrap());
    by_window(&|updates, out| trimmed_mean(updates, 4, out, &plan).unwrap());
    by_window(&|updates, out| combination.apply(updates, out, &plan).unwrap());
}

#[test]
fn what_is_not_finite_is_named_by_every_rule_and_plan() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for (n, update, coordinate) in [(7, 6, 0), (7, 0, 202), (16, 3, 16), (40, 39, 100), (70, 1, 201)] {
            let mut updates = updates(n, 203, 9);
            updates[update][coordinate] = value;
            for (name, rule) in RULES {
                for plan in plans() {
                    let expected = Err(Error::NotFinite { update, coordinate });
                    assert_eq!(run(rule, &updates, &plan), expected, "{name} of {n} with {plan:?}");
                }
            }
        }
    }
}

/// The formula of `gram.rs`, read literally. Aggregates round to `f32`, which would hide most of what goes wrong here.
fn product(a: &[f32], b: &[f32]) -> f64 {
    let segment = |(a, b): (&[f32], &[f32])| {
        let mut lanes = [0.0_f64; 8];
        for (j, (a, b)) in a.iter().zip(b).enumerate() {
            lanes[j % 8] += f64::from(*a) * f64::from(*b);
        }
        let [a, b, c, d, e, f, g, h] = lanes;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    };
    a.chunks(65_536).zip(b.chunks(65_536)).map(segment).fold(0.0, |sum, segment| sum + segment)
}

#[test]
fn the_gram_matrix_has_the_bits_of_its_formula_however_the_work_is_cut() {
    for (n, d) in [(1, 3), (5, 150_001), (9, 70_000), (66, 1003)] {
        let updates = updates(n, d, 17);
        let rows = borrow(&updates);
        let dense = Dense::new(&rows).unwrap();
        let expected: Vec<u64> = rows.iter().flat_map(|a| rows.iter().map(|b| product(a, b).to_bits())).collect();
        for plan in plans().into_iter().filter(|plan| plan.tile.get() > 8 || d < 2000) {
            let gram = Gram::of(&dense, &plan).unwrap();
            let found: Vec<u64> = (0..n * n).map(|at| gram.product(at / n, at % n).to_bits()).collect();
            assert_eq!(found, expected, "{n} x {d} with {plan:?}");
        }
    }
}
