//! Every rule against `reference/vectors.json`, which NumPy and ByzFL have written (`reference/generate.py`).

use std::collections::BTreeMap;

use mercato_kernels::*;

/// Relative to the value, or to one; our results are `f32`.
const TOLERANCE: f64 = 4e-6;

type Case = BTreeMap<String, serde_json::Value>;

#[test]
fn every_rule_agrees_with_the_references() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("reference/vectors.json")).unwrap();
    let mut compared = 0;
    for case in &cases {
        let bits: Vec<Vec<u32>> = serde_json::from_value(case["updates"].clone()).unwrap();
        let updates: Vec<Vec<f32>> =
            bits.into_iter().map(|row| row.into_iter().map(f32::from_bits).collect()).collect();
        let expected: BTreeMap<String, Vec<f64>> = serde_json::from_value(case["expected"].clone()).unwrap();
        for (rule, expected) in expected {
            let result = apply(&rule, &updates).unwrap_or_else(|error| panic!("{rule} of {}: {error}", updates.len()));
            for (value, expected) in result.into_iter().zip(expected) {
                let error = (f64::from(value) - expected).abs();
                assert!(
                    error <= TOLERANCE * expected.abs().max(1.0),
                    "{rule} of {}: {value} {expected}",
                    updates.len()
                );
                compared += 1;
            }
        }
    }
    assert!(cases.len() == 8 && compared > 400);
}

fn apply(rule: &str, updates: &[Vec<f32>]) -> Result<Vec<f32>, Error> {
    let plan = Plan::default();
    let n = updates.len();
    let rows: Vec<&[f32]> = updates.iter().map(Vec::as_slice).collect();
    let updates = Dense::new(&rows)?;
    let gram = Gram::of(&updates, &plan)?;
    let equal = vec![1.0; n];
    let mut out = vec![0.0; rows[0].len()];
    let combination = match rule {
        "median" => return median(&updates, &mut out, &plan).map(|()| out),
        "trimmed mean" => return trimmed_mean(&updates, (n - 1) / 3, &mut out, &plan).map(|()| out),
        "bulyan" => return bulyan(&updates, &gram, (n - 3) / 4, &mut out, &plan).map(|_| out),
        "nnm + trimmed mean" => {
            let mixing = Mixing::new(&gram, n / 4)?;
            return trimmed_mean(&mixing.of(&updates, plan.isa), n / 4, &mut out, &plan).map(|()| out);
        }
        "mean" => return weighted_mean(&updates, &equal, &mut out, &plan).map(|()| out),
        "centered clipping" => {
            let zeros = vec![0.0; out.len()];
            let with_momentum: Vec<&[f32]> = rows.iter().copied().chain([zeros.as_slice()]).collect();
            let updates = Dense::new(&with_momentum)?;
            let combination = centered_clipping(&Gram::of(&updates, &plan)?, 3, 1.5)?;
            return combination.apply(&updates, &mut out, &plan).map(|()| out);
        }
        "krum" => krum(&gram, (n - 3) / 2)?,
        "multi-krum" => multi_krum(&gram, (n - 3) / 2, n - (n - 3) / 2)?,
        "geometric median" => geometric_median(&gram, &equal, 0.1, 3)?,
        "clipping" => clipping(&gram, &equal, 2.0)?,
        unknown => panic!("no rule {unknown}"),
    };
    combination.apply(&updates, &mut out, &plan).map(|()| out)
}
