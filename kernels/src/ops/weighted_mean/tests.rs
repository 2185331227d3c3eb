use std::ops::Range;

use proptest::prelude::*;

use super::{shares, weighted_mean};
use crate::ops::weighted_sum::cpu;
use crate::{Dense, Error, Isa, Plan};

fn mean(updates: &[Vec<f32>], weights: &[f32]) -> Result<Vec<f32>, Error> {
    let mut out = vec![f32::NAN; updates.first().map_or(0, Vec::len)];
    weighted_mean(&Dense::new(&borrow(updates))?, weights, &mut out, &Plan::default())?;
    Ok(out)
}

fn borrow(updates: &[Vec<f32>]) -> Vec<&[f32]> {
    updates.iter().map(Vec::as_slice).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The exact mean of a coordinate, near enough, and the bound on the distance from it that the module documents.
fn exact(updates: &[Vec<f32>], weights: &[f32], coordinate: usize) -> (f64, f64) {
    let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    let terms =
        updates.iter().zip(weights).map(|(update, &weight)| f64::from(weight) / total * f64::from(update[coordinate]));
    let magnitude: f64 = terms.clone().map(f64::abs).sum();
    let unit = f64::from(f32::EPSILON) / 2.0;
    (terms.sum(), (updates.len() + 2) as f64 * unit * magnitude + f64::from(f32::MIN_POSITIVE))
}

/// Updates of one length around the sizes of lanes and tiles, and their weights, at least one of them positive.
fn round() -> impl Strategy<Value = (Vec<Vec<f32>>, Vec<f32>)> {
    let length = prop_oneof![0..70_usize, 2040..2060_usize, 4090..4100_usize];
    (1..9_usize, length).prop_flat_map(|(clients, length)| {
        let update = prop::collection::vec(-1e3_f32..1e3, length);
        let weights = prop::collection::vec(prop_oneof![1 => Just(0.0_f32), 9 => 1e-3_f32..1e4], clients);
        (prop::collection::vec(update, clients), weights)
            .prop_filter("a positive weight", |(_, weights)| weights.iter().any(|&weight| weight > 0.0))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn is_within_the_documented_bound_of_the_exact_mean((updates, weights) in round()) {
        for (coordinate, &value) in mean(&updates, &weights).unwrap().iter().enumerate() {
            let (expected, bound) = exact(&updates, &weights, coordinate);
            prop_assert!((f64::from(value) - expected).abs() <= bound, "{value} is not {expected}");
        }
    }

    #[test]
    fn another_order_of_updates_stays_within_the_bound((updates, weights) in round(), turn in 0..8_usize) {
        let (mut turned, mut turned_weights) = (updates.clone(), weights.clone());
        turned.rotate_left(turn % updates.len());
        turned_weights.rotate_left(turn % updates.len());
        for (coordinate, &value) in mean(&turned, &turned_weights).unwrap().iter().enumerate() {
            let (expected, bound) = exact(&updates, &weights, coordinate);
            prop_assert!((f64::from(value) - expected).abs() <= bound);
        }
    }

    #[test]
    fn the_bits_are_those_of_the_formula_on_every_path((updates, weights) in round()) {
        let shares = shares(updates.len(), &weights).unwrap();
        let expected: Vec<u32> = (0..updates[0].len())
            .map(|coordinate| chain(updates.iter().map(|update| update[coordinate]), &shares).to_bits())
            .collect();
        for isa in Isa::available() {
            let mut out = vec![f32::NAN; expected.len()];
            prop_assert!(cpu::weighted_sum(isa, &borrow(&updates), &shares, &mut out));
            prop_assert_eq!(&bits(&out), &expected);
        }
    }

    #[test]
    fn ranges_of_coordinates_have_the_bits_of_the_whole((updates, weights) in round(), at in 0.0..1.0) {
        let whole = mean(&updates, &weights).unwrap();
        let cut = (whole.len() as f64 * at) as usize;
        let part = |range: Range<usize>| {
            let updates: Vec<Vec<f32>> = updates.iter().map(|update| update[range.clone()].to_vec()).collect();
            mean(&updates, &weights).unwrap()
        };
        let joined = [part(0..cut), part(cut..whole.len())].concat();
        prop_assert_eq!(bits(&joined), bits(&whole));
    }
}

/// The formula of the module's documentation, read literally.
fn chain(values: impl Iterator<Item = f32>, shares: &[f32]) -> f32 {
    values.zip(shares).fold(0.0, |sum, (value, share)| share.mul_add(value, sum))
}

/// Computed with exact rational arithmetic; the last three differ in a build that rounds the product by itself.
#[test]
fn golden_bits() {
    let weights = [3.0, 1.0, 7.0, 0.5];
    let golden = [
        ([1.0, 0.1, -2.5, 1e10], 0x4dcf_520d_u32),
        ([1e-40, 2e-40, -1e-41, 0.0], 0x0000_683b),
        ([-0.0, -0.0, -0.0, -0.0], 0x0000_0000),
        ([-0.35, -0.7, 0.3, -0.86], 0xbbe3_f37d),
        ([-0.64, 0.16, 0.28, -0.26], 0x3bc7_752a),
        ([-0.92, 0.34, 0.53, 0.15], 0x3df3_16b1),
    ];
    let updates: Vec<Vec<f32>> =
        (0..4).map(|update| golden.iter().map(|(column, _)| column[update]).collect()).collect();
    let expected: Vec<u32> = golden.iter().map(|&(_, bits)| bits).collect();
    assert_eq!(bits(&mean(&updates, &weights).unwrap()), expected);
}

#[test]
fn the_mean_of_one_update_is_that_update() {
    for weight in [f32::from_bits(1), 1e-30, 3.0, f32::MAX] {
        let update = vec![1.5, -0.1, f32::MIN_POSITIVE / 4.0, f32::MAX, 0.0];
        assert_eq!(bits(&mean(std::slice::from_ref(&update), &[weight]).unwrap()), bits(&update));
    }
}

#[test]
fn a_weight_of_zero_has_no_influence() {
    assert_eq!(mean(&[vec![7.0], vec![f32::MAX], vec![9.0]], &[2.0, 0.0, 2.0]), Ok(vec![8.0]));
}

#[test]
fn the_total_of_the_largest_weights_does_not_overflow() {
    assert_eq!(mean(&[vec![1.0], vec![3.0]], &[f32::MAX, f32::MAX]), Ok(vec![2.0]));
}

#[test]
fn no_coordinates_is_a_mean_of_no_coordinates() {
    assert_eq!(mean(&[vec![], vec![]], &[1.0, 1.0]), Ok(vec![]));
}

#[test]
fn each_refusal_names_its_cause() {
    let check = |updates: &[Vec<f32>], weights: &[f32], expected: Error| {
        assert_eq!(mean(updates, weights), Err(expected));
    };
    let three = [vec![1.0, 2.0], vec![3.0, 4.0], vec![5.0, 6.0]];
    check(&[], &[], Error::NoUpdates);
    check(&three, &[1.0, 1.0], Error::WeightCount { weights: 2, updates: 3 });
    check(&[vec![1.0], vec![1.0, 2.0]], &[1.0; 2], Error::UpdateLength { update: 1, len: 2, expected: 1 });
    check(&three, &[1.0, f32::NAN, 1.0], Error::WeightNotFinite { update: 1 });
    check(&three, &[1.0, 1.0, f32::INFINITY], Error::WeightNotFinite { update: 2 });
    check(&three, &[-1e-30, 1.0, 1.0], Error::WeightNegative { update: 0 });
    check(&three, &[0.0, -0.0, 0.0], Error::ZeroTotalWeight);
    check(&vec![vec![1.0, f32::MAX]; 6], &[1.0; 6], Error::Overflow { coordinate: 1 });
}

#[test]
fn the_first_update_that_is_not_finite_is_named_wherever_it_hides() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for weight in [0.0, 1.0] {
            for coordinate in [0, 1, 2047, 2048, 4999] {
                let mut updates = vec![vec![1.0; 5000]; 4];
                updates[2][coordinate] = value;
                updates[3][0] = -value;
                let expected = Error::NotFinite { update: 2, coordinate };
                assert_eq!(mean(&updates, &[1.0, 1.0, weight, 1.0]), Err(expected));
            }
        }
    }
}
