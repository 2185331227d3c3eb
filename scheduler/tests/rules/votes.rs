//! The quorum's decision against a count that anybody can do by hand.

use crate::bench::*;
use mercato_scheduler::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// For each answer, whether it is in the quorum; `None`: there is none. Straight from the page.
fn by_hand(validate: Validation, quorum: usize, answers: &[Answer]) -> Option<Vec<bool>> {
    let same = |one: &Answer, other: &Answer| match (validate, one, other) {
        (Validation::Exact, one, other) => one == other,
        (Validation::Tolerance { abs, rel_ppm }, Answer::Numbers(one), Answer::Numbers(other)) => {
            let near = |(a, b): (&i128, &i128)| {
                let (difference, larger) = ((a - b).abs(), a.abs().max(b.abs()));
                difference <= abs || difference * 1_000_000 <= larger * i128::from(rel_ppm)
            };
            one.len() == other.len() && one.iter().zip(other).all(near)
        }
        (Validation::Tolerance { .. } | Validation::Verdict, _, _) => false,
    };
    let counts = answers.iter().map(|centre| answers.iter().filter(|answer| same(centre, answer)).count());
    let counts: Vec<usize> = counts.collect();
    // All are newcomers here, so worth is number.
    let outvoted = |centre: &Answer| {
        let others: Vec<&Answer> = answers.iter().filter(|answer| !same(centre, answer)).collect();
        let around = others.iter().map(|one| others.iter().filter(|other| same(one, other)).count());
        around.max().unwrap_or(0)
    };
    let wins = |at: &usize| counts[*at] >= quorum && counts[*at] > outvoted(&answers[*at]);
    let best = (0..answers.len()).filter(wins).max_by_key(|at| (counts[*at], std::cmp::Reverse(*at)))?;
    Some(answers.iter().map(|answer| same(&answers[best], answer)).collect())
}

fn any_vote() -> impl Strategy<Value = (Validation, Vec<Answer>)> {
    let exact = vec((0..4u8).prop_map(|n| Answer::Digest([n; 32])), 1..8);
    let numbers = vec(vec(-6..12i128, 1..3).prop_map(Answer::Numbers), 1..8);
    let near = (0..3i128, 0..3u32).prop_map(|(abs, share)| {
        let rel_ppm = share * 200_000;
        Validation::Tolerance { abs, rel_ppm }
    });
    prop_oneof![exact.prop_map(|answers| (Validation::Exact, answers)), (near, numbers)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_job_is_decided_as_by_hand((validate, answers) in any_vote(), replicas in 2..5u32, less in 0..3u32) {
        let quorum = (replicas - less.min(replicas - 2)).max(2);
        let mut bench = Bench::new();
        for n in 1..=8 {
            bench.online(n, advert(None));
        }
        bench.ask(1, Request { replicas, quorum, validate, attempts: Some(8), ..request() });
        let mut given: BTreeMap<ResultId, Answer> = BTreeMap::new();
        let mut order = Vec::new();
        for answer in answers {
            let Some(holder) = bench.holder(1).map(|holder| holder.0[0]) else { break };
            order.push(answer.clone());
            given.insert(result(holder), answer.clone());
            let effects = bench.answer(1, holder, answer).expect("taken");
            let expected = by_hand(validate, usize::try_from(quorum).expect("small"), &order);
            let told = ends(&effects);
            match (expected, told.first()) {
                (Some(members), Some((End::Succeeded { result }, _))) => {
                    let is_in = |(_, verdict): (ProviderId, Verdict)| verdict == Verdict::Pass;
                    let passed: Vec<bool> = verdicts(&effects).into_iter().map(is_in).collect();
                    prop_assert_eq!(&passed, &members);
                    let first = members.iter().position(|member| *member).expect("one");
                    prop_assert_eq!(&given[result], &order[first]);
                    break;
                }
                (None, None | Some((End::Failed, _))) => {}
                (expected, told) => prop_assert!(false, "by hand {expected:?}, told {told:?}"),
            }
        }
    }
}
