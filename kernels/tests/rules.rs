//! Every rule against a naive twin in `f64`, and what it promises when some updates lie.

mod common;

use common::*;
use mercato_kernels::*;
use proptest::prelude::*;

fn column(updates: &[Vec<f32>], coordinate: usize) -> Vec<f64> {
    let mut column: Vec<f64> = updates.iter().map(|update| f64::from(update[coordinate])).collect();
    column.sort_by(f64::total_cmp);
    column
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn naive_median(column: &[f64]) -> f64 {
    (column[(column.len() - 1) / 2] + column[column.len() / 2]) / 2.0
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

fn wide(updates: &[Vec<f32>]) -> Vec<Vec<f64>> {
    updates.iter().map(|update| update.iter().map(|&value| f64::from(value)).collect()).collect()
}

fn norm(a: &[f64]) -> f64 {
    a.iter().map(|a| a * a).sum::<f64>().sqrt()
}

/// `Σ c_i x_i`.
fn sum(updates: &[Vec<f64>], coefficients: &[f64]) -> Vec<f64> {
    (0..updates[0].len())
        .map(|coordinate| updates.iter().zip(coefficients).map(|(update, c)| update[coordinate] * c).sum())
        .collect()
}

fn near(name: &str, result: &[f32], expected: &[f64], tolerance: f64) {
    for (coordinate, (&value, &expected)) in result.iter().zip(expected).enumerate() {
        let error = (f64::from(value) - expected).abs();
        assert!(error <= tolerance * expected.abs().max(1.0), "{name}: {value} is not {expected} at {coordinate}");
    }
}

fn rule(name: &str) -> Work {
    RULES.iter().find(|(known, _)| *known == name).expect("a rule of that name").1
}

fn krum_order(updates: &[Vec<f64>], f: usize) -> Vec<usize> {
    let score = |i: usize| {
        let mut distances: Vec<f64> =
            (0..updates.len()).filter(|&k| k != i).map(|k| distance(&updates[i], &updates[k]).powi(2)).collect();
        distances.sort_by(f64::total_cmp);
        distances[..updates.len() - f - 2].iter().sum::<f64>()
    };
    let scores: Vec<f64> = (0..updates.len()).map(score).collect();
    let mut order: Vec<usize> = (0..updates.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    order
}

fn mean_of(updates: &[Vec<f64>], rows: &[usize]) -> Vec<f64> {
    let mut coefficients = vec![0.0; updates.len()];
    rows.iter().for_each(|&row| coefficients[row] = 1.0 / rows.len() as f64);
    sum(updates, &coefficients)
}

fn naive(name: &str, updates: &[Vec<f32>]) -> Option<Vec<f64>> {
    let n = updates.len();
    let columns = |of: &dyn Fn(Vec<f64>) -> f64| (0..updates[0].len()).map(|at| of(column(updates, at))).collect();
    let exact = wide(updates);
    let weights: Vec<f64> = weights(n).into_iter().map(f64::from).collect();
    let shares: Vec<f64> = weights.iter().map(|weight| weight / weights.iter().sum::<f64>()).collect();
    match name {
        "weighted mean" => Some(sum(&exact, &shares)),
        "median" => Some(columns(&|column| naive_median(&column))),
        "trimmed mean" => Some(columns(&|column| mean(&column[(n - 1) / 3..n - (n - 1) / 3]))),
        "krum" if n >= 3 => Some(exact[krum_order(&exact, (n - 3) / 2)[0]].clone()),
        "multi-krum" if n >= 3 => {
            let f = (n - 3) / 2;
            Some(mean_of(&exact, &krum_order(&exact, f)[..n - f]))
        }
        "bulyan" if n >= 3 => {
            let f = (n - 3) / 4;
            let mut chosen = krum_order(&exact, f)[..n - 2 * f].to_vec();
            chosen.sort_unstable();
            let selected: Vec<Vec<f32>> = chosen.iter().map(|&row| updates[row].clone()).collect();
            Some((0..updates[0].len()).map(|at| nearest_mean(column(&selected, at), n - 4 * f)).collect())
        }
        "geometric median" => {
            let mut z = vec![0.0; updates[0].len()];
            for _ in 0..8 {
                let betas: Vec<f64> =
                    exact.iter().zip(&shares).map(|(x, share)| share / distance(x, &z).max(0.1)).collect();
                let total: f64 = betas.iter().sum();
                z = sum(&exact, &betas.iter().map(|beta| beta / total).collect::<Vec<_>>());
            }
            Some(z)
        }
        "clipping" => {
            let clipped = exact.iter().zip(&shares).map(|(x, share)| share * (2.0 / norm(x)).min(1.0));
            Some(sum(&exact, &clipped.collect::<Vec<_>>()))
        }
        "centered clipping" if n >= 2 => {
            let (momentum, exact) = exact.split_last().expect("at least two");
            let mut v = momentum.clone();
            for _ in 0..3 {
                let steps: Vec<f64> =
                    exact.iter().map(|x| (1.5 / distance(x, &v)).min(1.0) / exact.len() as f64).collect();
                let moved = sum(exact, &steps);
                let kept = 1.0 - steps.iter().sum::<f64>();
                v = v.iter().zip(moved).map(|(v, moved)| v * kept + moved).collect();
            }
            Some(v)
        }
        "fltrust" if n >= 2 => {
            let (root, exact) = exact.split_last().expect("at least two");
            let dot = |x: &[f64]| x.iter().zip(root).map(|(x, g)| x * g).sum::<f64>();
            let trust: Vec<f64> = exact.iter().map(|x| (dot(x) / norm(x) / norm(root)).max(0.0)).collect();
            let total: f64 = trust.iter().sum();
            let scaled: Vec<f64> = exact.iter().zip(trust).map(|(x, t)| t / total * norm(root) / norm(x)).collect();
            Some(sum(exact, &scaled))
        }
        "nnm + median" => {
            let nearest = |i: usize| {
                let mut order: Vec<usize> = (0..n).collect();
                order.sort_by(|&a, &b| distance(&exact[i], &exact[a]).total_cmp(&distance(&exact[i], &exact[b])));
                order[..n - n / 4].to_vec()
            };
            let mixed: Vec<Vec<f64>> = (0..n).map(|i| mean_of(&exact, &nearest(i))).collect();
            let median = |at: usize| {
                let mut column: Vec<f64> = mixed.iter().map(|update| update[at]).collect();
                column.sort_by(f64::total_cmp);
                naive_median(&column)
            };
            Some((0..updates[0].len()).map(median).collect())
        }
        "diloco" => {
            let delta = sum(&exact, &shares);
            Some(delta.iter().map(|delta| 0.25 - 0.7 * (delta + 0.9 * (0.9 * 0.5 + delta))).collect())
        }
        "fedavgm" => Some(sum(&exact, &shares).iter().map(|delta| 0.9 * 0.5 + delta).collect()),
        _ => None,
    }
}

/// By distance from the median, one after the other.
fn nearest_mean(column: Vec<f64>, kept: usize) -> f64 {
    let median = naive_median(&column);
    let mut by_distance = column;
    by_distance.sort_by(|a, b| (a - median).abs().total_cmp(&(b - median).abs()));
    mean(&by_distance[..kept])
}

#[test]
fn every_rule_is_near_its_naive_twin() {
    for n in [1, 2, 3, 5, 8, 16, 31, 32, 33, 50, 64, 65, 200] {
        let updates = updates(n, 37, 100 + n as u64);
        for (name, rule) in RULES {
            match (run(rule, &updates, &Plan::default()), naive(name, &updates)) {
                (Ok(result), Some(expected)) => near(&format!("{name} of {n}"), &result, &expected, 2e-5),
                (Ok(_), None) => assert!(["nnm + geometric median", "contra"].contains(&name)),
                (Err(error), expected) => assert!(n < 3 && expected.is_none(), "{name} of {n}: {error}"),
            }
        }
    }
}

/// The mixed updates written out, then the rule: what `M G Mᵀ` saves.
#[test]
fn mixing_in_gram_space_is_mixing_the_updates() {
    let updates = updates(13, 91, 5);
    let plan = Plan::default();
    let rows = borrow(&updates);
    let dense = Dense::new(&rows).unwrap();
    let mixing = Mixing::new(&Gram::of(&dense, &plan).unwrap(), 3).unwrap();
    let mixed = mixing.of(&dense, plan.isa);
    let written: Vec<Vec<f32>> =
        (0..13).map(|update| mixed.read(update, 0..91, &mut [0.0; 91]).unwrap().to_vec()).collect();
    let expected = run(
        |updates, out, plan| {
            geometric_median(&Gram::of(updates, plan)?, &weights(13), 0.1, 3)?.apply(updates, out, plan)
        },
        &written,
        &plan,
    )
    .unwrap();
    let in_gram_space =
        mixing.unmix(&geometric_median(&mixing.gram(&Gram::of(&dense, &plan).unwrap()), &weights(13), 0.1, 3).unwrap());
    let mut result = vec![0.0; 91];
    in_gram_space.apply(&dense, &mut result, &plan).unwrap();
    let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
    near("nnm", &result, &expected, 1e-5);
}

#[test]
fn identical_updates_are_at_distance_zero_and_are_what_comes_out() {
    let one = updates(1, 70_001, 8).remove(0);
    let updates = vec![one.clone(); 9];
    let rows = borrow(&updates);
    let gram = Gram::of(&Dense::new(&rows).unwrap(), &Plan::default()).unwrap();
    assert!((0..9).all(|i| (0..9).all(|k| gram.distance_squared(i, k) == 0.0)));
    let expected: Vec<f32> = one.iter().map(|value| value + 0.0).collect();
    for name in ["median", "trimmed mean", "krum", "bulyan"] {
        assert_eq!(bits(&run(rule(name), &updates, &Plan::default()).unwrap()), bits(&expected), "{name}");
    }
}

#[test]
fn a_promise_that_cannot_be_kept_is_refused() {
    type Call<'a> = &'a dyn Fn(&Dense, &Gram, &mut [f32]) -> Result<(), Error>;
    let check = |n: usize, call: Call, accepted: bool| {
        let updates = updates(n, 5, 1);
        let rows = borrow(&updates);
        let dense = Dense::new(&rows).unwrap();
        let gram = Gram::of(&dense, &Plan::default()).unwrap();
        let result = call(&dense, &gram, &mut [0.0; 5]);
        let refused = matches!(result, Err(Error::TooManyFaulty { n: named, .. }) if named == n);
        assert_eq!(refused, !accepted, "{n}: {result:?}");
        assert_eq!(result.is_ok(), accepted);
    };
    let plan = Plan::default();
    for f in [0, 1, 3, usize::MAX] {
        let bound = |factor: usize, more: usize| f.saturating_mul(factor).saturating_add(more);
        for n in 1..20 {
            check(n, &|updates, _, out| trimmed_mean(updates, f, out, &plan), n > bound(2, 0));
            check(n, &|_, gram, _| krum(gram, f).map(drop), n > bound(2, 2));
            check(n, &|_, gram, _| multi_krum(gram, f, 1).map(drop), n > bound(2, 2));
            check(n, &|updates, gram, out| bulyan(updates, gram, f, out, &plan).map(drop), n >= bound(4, 3));
            check(n, &|_, gram, _| Mixing::new(gram, f).map(drop), n > f);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Exactly, for what does not depend on the order; nearly, for what sums in it.
    #[test]
    fn the_order_of_updates_does_not_matter(n in 3..40_usize, seed in any::<u64>(), turn in 1..40_usize) {
        let updates = updates(n, 21, seed);
        let mut turned = updates.clone();
        turned.rotate_left(turn % n);
        for name in ["median", "trimmed mean", "krum", "multi-krum", "bulyan"] {
            let plan = Plan::default();
            let (result, other) = (run(rule(name), &updates, &plan).unwrap(), run(rule(name), &turned, &plan).unwrap());
            if ["median", "trimmed mean"].contains(&name) {
                prop_assert_eq!(bits(&result), bits(&other));
            } else if n > 4 {
                near(name, &result, &other.into_iter().map(f64::from).collect::<Vec<_>>(), 1e-5);
            }
        }
    }

    #[test]
    fn what_is_moved_comes_out_moved(n in 5..40_usize, seed in any::<u64>(), by in -8_i8..8) {
        let updates = updates(n, 21, seed);
        let by = f32::from(by);
        let moved: Vec<Vec<f32>> =
            updates.iter().map(|update| update.iter().map(|value| value + by).collect()).collect();
        for name in ["weighted mean", "median", "trimmed mean", "krum", "multi-krum"] {
            let plan = Plan::default();
            let expected: Vec<f64> =
                run(rule(name), &updates, &plan).unwrap().iter().map(|&value| f64::from(value + by)).collect();
            near(name, &run(rule(name), &moved, &plan).unwrap(), &expected, 1e-5);
        }
    }

    /// With `f` liars, whatever they say, a coordinate stays among the honest values; with Bulyan as near to them as they
    /// are to each other, as a lie that is nearer to the median than an honest value may stand in its place; for rules
    /// that weigh whole updates, the aggregate stays near the honest ones.
    #[test]
    fn liars_do_not_move_the_result_beyond_its_bound(
        f in 1..5_usize, seed in any::<u64>(), lie in prop_oneof![Just(1e30_f32), Just(-1e6), Just(0.0), -50.0..50.0_f32],
    ) {
        let n = 4 * f + 3;
        let honest = updates(n - f, 15, seed);
        let lies = updates(f, 15, !seed).into_iter().map(|update| update.iter().map(|value| value * lie).collect());
        let all: Vec<Vec<f32>> = lies.chain(honest.iter().cloned()).collect();
        let rows = borrow(&all);
        let dense = Dense::new(&rows).unwrap();
        let plan = Plan::default();
        let gram = Gram::of(&dense, &plan).unwrap();
        let mut out = vec![0.0; 15];
        let within = |out: &[f32], slack: f64| (0..15).all(|at| {
            let column = column(&honest, at);
            let value = f64::from(out[at]);
            column[0] - slack <= value && value <= column[column.len() - 1] + slack
        });
        median(&dense, &mut out, &plan).unwrap();
        prop_assert!(within(&out, 0.0));
        trimmed_mean(&dense, f, &mut out, &plan).unwrap();
        prop_assert!(within(&out, 0.0));
        bulyan(&dense, &gram, f, &mut out, &plan).unwrap();
        let widest = (0..15).map(|at| column(&honest, at)).map(|column| column[column.len() - 1] - column[0]);
        prop_assert!(within(&out, widest.fold(0.0, f64::max)));
        let exact = wide(&honest);
        let spread = exact.iter().flat_map(|a| exact.iter().map(|b| distance(a, b))).fold(0.0, f64::max);
        krum(&gram, f).unwrap().apply(&dense, &mut out, &plan).unwrap();
        prop_assert!(within(&out, spread * (n as f64).sqrt()));
        geometric_median(&gram, &vec![1.0; n], 0.1, 100).unwrap().apply(&dense, &mut out, &plan).unwrap();
        prop_assert!(within(&out, 4.0 * spread));
    }
}
