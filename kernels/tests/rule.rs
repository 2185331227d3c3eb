//! Rules by name: each is the function it names, whole or window by window, and says what it misses.

mod common;

use common::*;
use mercato_kernels::*;

const N: usize = 11;
const D: usize = 1_500;

fn decide(name: &str, updates: &dyn Updates, parameters: &Parameters) -> Result<Decision, Error> {
    name.parse::<Rule>().unwrap().decide(updates, parameters, &Plan::default())
}

fn by_name(name: &str, updates: &dyn Updates, parameters: &Parameters) -> Vec<f32> {
    let decision = decide(name, updates, parameters).unwrap();
    let mut whole = vec![0.0; D];
    decision.write(updates, &mut whole, &Plan::default()).unwrap();
    let mut parts = vec![0.0; D];
    for cut in [0..1, 1..700, 700..D] {
        decision.write(&Window::new(updates, cut.clone()), &mut parts[cut], &Plan::default()).unwrap();
    }
    assert_eq!(bits(&whole), bits(&parts), "{name}");
    whole
}

#[test]
fn names_stand_for_rules_and_are_written_as_they_are_read() {
    for aggregator in Aggregator::ALL {
        for nnm in [false, true] {
            let rule = Rule { nnm, aggregator };
            assert_eq!(rule.to_string().parse(), Ok(rule));
        }
    }
    for text in ["", "nnm+", "Mean", "mean ", "nnm+nnm+mean", "diloco"] {
        let error = text.parse::<Rule>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("there is no rule `{text}`")) && error.contains("trimmed-mean"), "{error}");
    }
}

#[test]
fn every_name_is_the_rule_that_it_names() {
    let updates = updates(N, D, 5);
    let rows = borrow(&updates);
    let dense = Dense::new(&rows).unwrap();
    let plan = Plan::default();
    let gram = Gram::of(&dense, &plan).unwrap();
    let counts = weights(N);
    let f = 2;
    let parameters = Parameters { f: Some(f), ..Parameters::default() };
    let weighted = Parameters { weights: Some(counts.clone()), ..parameters.clone() };
    let out = |rule: &dyn Fn(&mut [f32])| {
        let mut out = vec![0.0; D];
        rule(&mut out);
        bits(&out)
    };
    let sum = |combination: Combination| out(&|out| combination.apply(&dense, out, &plan).unwrap());
    let check = |name: &str, parameters: &Parameters, expected: Vec<u32>| {
        assert_eq!(bits(&by_name(name, &dense, parameters)), expected, "{name}");
    };
    check("mean", &weighted, out(&|out| weighted_mean(&dense, &counts, out, &plan).unwrap()));
    check("mean", &parameters, out(&|out| weighted_mean(&dense, &[1.0; N], out, &plan).unwrap()));
    check("median", &parameters, out(&|out| median(&dense, out, &plan).unwrap()));
    check("trimmed-mean", &parameters, out(&|out| trimmed_mean(&dense, f, out, &plan).unwrap()));
    check("krum", &parameters, sum(krum(&gram, f).unwrap()));
    check("multi-krum", &parameters, sum(multi_krum(&gram, f, N - f).unwrap()));
    check("multi-krum", &Parameters { m: Some(3), ..parameters.clone() }, sum(multi_krum(&gram, f, 3).unwrap()));
    check("bulyan", &parameters, out(&|out| drop(bulyan(&dense, &gram, f, out, &plan).unwrap())));
    check("geometric-median", &weighted, sum(geometric_median(&gram, &counts, 0.1, 3).unwrap()));
    check("norm-clip", &weighted, sum(clipping(&gram, &counts, 2.0).unwrap()));
    check("centered-clip", &Parameters { tau: 1.5, l: 2, ..parameters.clone() }, {
        sum(centered_clipping(&gram, 2, 1.5).unwrap())
    });
    check("fltrust", &parameters, sum(fltrust(&gram).unwrap()));
    let mixing = Mixing::new(&gram, f).unwrap();
    let mixed = mixing.of(&dense, plan.isa);
    check("nnm+trimmed-mean", &parameters, out(&|out| trimmed_mean(&mixed, f, out, &plan).unwrap()));
    check("nnm+multi-krum", &parameters, sum(mixing.unmix(&multi_krum(&mixing.gram(&gram), f, N - f).unwrap())));
    check("nnm+bulyan", &parameters, out(&|out| drop(bulyan(&mixed, &mixing.gram(&gram), f, out, &plan).unwrap())));
}

/// Who is mixed with whom does not depend on what the server holds them against.
#[test]
fn the_servers_own_update_is_not_mixed() {
    let updates = updates(N, D, 6);
    let rows = borrow(&updates);
    let clients = Dense::new(&rows[..N - 1]).unwrap();
    let own = Dense::new(&rows[N - 1..]).unwrap();
    let joined = Joined::new(&clients, &own).unwrap();
    let plan = Plan::default();
    let parameters = Parameters { f: Some(3), ..Parameters::default() };
    let mixing = Mixing::new(&Gram::of(&clients, &plan).unwrap(), 3).unwrap();
    let mut mixed = vec![vec![0.0; D]; N - 1];
    for (row, mixed) in mixed.iter_mut().enumerate() {
        assert_eq!(mixing.of(&clients, plan.isa).read(row, 0..D, mixed).unwrap().len(), D);
    }
    mixed.push(updates[N - 1].clone());
    let expected = by_name("fltrust", &Dense::new(&borrow(&mixed)).unwrap(), &Parameters::default());
    let result = by_name("nnm+fltrust", &joined, &parameters);
    for (result, expected) in result.iter().zip(&expected) {
        assert!((result - expected).abs() <= 1e-5, "{result} {expected}");
    }
}

#[test]
fn differences_to_a_model_are_aggregated_like_any_updates() {
    let updates = updates(N, D, 7);
    let rows = borrow(&updates);
    let dense = Dense::new(&rows).unwrap();
    let model = vec![0.5; D];
    let model = [model.as_slice()];
    let base = Dense::new(&model).unwrap();
    let pseudo: Vec<Vec<f32>> = updates.iter().map(|update| update.iter().map(|value| 0.5 - value).collect()).collect();
    let difference = Difference::new(&base, &dense).unwrap();
    let parameters = Parameters { f: Some(2), ..Parameters::default() };
    for name in ["mean", "median", "nnm+bulyan", "krum"] {
        let of = |updates: &dyn Updates| {
            let parameters = if name == "mean" { Parameters::default() } else { parameters.clone() };
            bits(&by_name(name, updates, &parameters))
        };
        assert_eq!(of(&difference), of(&Dense::new(&borrow(&pseudo)).unwrap()), "{name}");
    }
    assert_eq!(Difference::new(&base, &Zeros(3)).err(), Some(Error::UpdateLength { update: 0, len: 3, expected: D }));
    assert_eq!(Joined::new(&dense, &Zeros(3)).err(), Some(Error::UpdateLength { update: N, len: 3, expected: D }));
}

#[test]
fn what_is_missing_or_too_much_is_said() {
    let updates = updates(N, 10, 8);
    let rows = borrow(&updates);
    let dense = Dense::new(&rows).unwrap();
    for name in ["trimmed-mean", "krum", "multi-krum", "bulyan", "nnm+median", "nnm+mean"] {
        let error = decide(name, &dense, &Parameters::default()).unwrap_err();
        assert!(matches!(error, Error::Parameter { name: "f", .. }), "{name}: {error}");
    }
    let weighted = Parameters { f: Some(1), weights: Some(weights(N)), ..Parameters::default() };
    for name in ["median", "trimmed-mean", "krum", "multi-krum", "bulyan", "centered-clip", "fltrust"] {
        let error = decide(name, &dense, &weighted).unwrap_err();
        assert!(matches!(error, Error::Parameter { name: "weights", .. }), "{name}: {error}");
    }
    let few = Parameters { weights: Some(vec![1.0; 3]), ..Parameters::default() };
    assert_eq!(decide("mean", &dense, &few).unwrap_err(), Error::WeightCount { weights: 3, updates: N });
}

#[test]
fn a_decision_tells_whose_updates_are_in_it() {
    let mut updates = updates(9, 50, 9);
    updates[4].iter_mut().for_each(|value| *value += 100.0);
    let rows = borrow(&updates);
    let dense = Dense::new(&rows).unwrap();
    for name in ["krum", "multi-krum", "bulyan", "nnm+bulyan", "nnm+multi-krum"] {
        let decision = decide(name, &dense, &Parameters { f: Some(1), ..Parameters::default() }).unwrap();
        let used: Vec<bool> = (0..9).map(|update| decision.is_used(update)).collect();
        assert!(!used[4] && used.contains(&true), "{name} {used:?}");
        let worst = decision.scores().iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        assert_eq!((worst, decision.scores().len()), (4, 9), "{name}");
    }
    let decision = decide("median", &dense, &Parameters::default()).unwrap();
    assert!((0..9).all(|update| decision.is_used(update)) && decision.scores().is_empty());
}
