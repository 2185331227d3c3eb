//! What a quorum is worth: many who are unknown do not outvote few who are known.

use crate::bench::*;
use mercato_scheduler::credibility::{NEWCOMER_LOW, can_win, quorum};
use mercato_scheduler::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn digest(n: u8) -> Answer {
    Answer::Digest([n; 32])
}

/// Results `(what it says, the bound of its provider)`, of one provider each.
fn said(results: &[(u8, u32)]) -> Vec<Submission> {
    let submission = |(by, (says, low)): (u8, &(u8, u32))| Submission {
        provider: provider(by),
        result: result(by),
        lease: Some(by.into()),
        attempt: by.into(),
        late: false,
        at_ms: 0,
        ran_ms: 0,
        low: *low,
        answer: digest(*says),
        verdict: None,
        accepted_ms: None,
    };
    (0..).zip(results).map(submission).collect()
}

/// The group that wins, as the places of its members.
fn winners(results: &[(u8, u32)], of: u32) -> Vec<usize> {
    let group = quorum(Validation::Exact, &said(results), of);
    let members = group.into_iter().flat_map(|group| group.members).enumerate();
    members.filter(|(_, member)| *member).map(|(at, _)| at).collect()
}

#[test]
fn a_quorum_needs_enough_results_enough_worth_and_more_of_it_than_any_other_group() {
    const NEW: u32 = NEWCOMER_LOW;
    type Case<'a> = (&'a str, &'a [(u8, u32)], u32, &'a [usize]);
    let cases: &[Case] = &[
        ("newcomers count alike", &[(1, NEW), (2, NEW), (1, NEW)], 2, &[0, 2]),
        ("a lie each is no group", &[(1, NEW), (2, NEW), (3, NEW), (1, NEW)], 2, &[0, 3]),
        ("three unknown against one known", &[(1, NEW), (1, NEW), (1, NEW), (2, 957)], 2, &[]),
        ("one known alone is not enough", &[(2, 957), (1, NEW)], 2, &[]),
        ("with a second it is", &[(1, NEW), (1, NEW), (2, 957), (2, NEW)], 2, &[2, 3]),
        ("63 unknown do not outvote it", &[[(1, NEW); 63].as_slice(), &[(2, 957)]].concat(), 2, &[]),
        ("64 do", &[[(1, NEW); 64].as_slice(), &[(2, 957)]].concat(), 64, &(0..64).collect::<Vec<_>>()),
        ("two who are known well do not outvote one known better", &[(1, 652), (1, 652), (2, 957)], 2, &[]),
        ("three do", &[(1, 652), (1, 652), (2, 957), (1, 652)], 2, &[0, 1, 3]),
        ("equal worth decides nothing", &[(1, NEW), (1, NEW), (2, NEW), (2, NEW)], 2, &[]),
        ("who were caught do not confirm each other", &[(1, 58), (1, 58)], 2, &[]),
        ("a third does", &[(1, 58), (1, 58), (1, 58)], 2, &[0, 1, 2]),
        ("or a newcomer", &[(1, 58), (1, NEW)], 2, &[0, 1]),
        ("a bound of nothing still counts", &[(1, 0), (1, 0), (1, NEW)], 2, &[0, 1, 2]),
        ("where nothing is compared the first counts", &[(1, 0)], 1, &[0]),
    ];
    for (claim, results, of, expected) in cases {
        assert_eq!(winners(results, *of), *expected, "{claim}");
    }
}

#[test]
fn of_groups_around_different_centres_the_worthiest_counts() {
    let near = Validation::Tolerance { abs: 2, rel_ppm: 0 };
    let mut results = said(&[(0, NEWCOMER_LOW), (0, 500), (0, 500), (0, 500)]);
    for (submission, number) in results.iter_mut().zip([100, 102, 104, 104]) {
        submission.answer = Answer::Numbers(vec![number]);
    }
    let group = quorum(near, &results, 2).expect("a quorum");
    assert_eq!((group.first, group.members), (0, vec![true; 4]), "around the second");
    results[1].answer = Answer::Numbers(vec![101]);
    let group = quorum(near, &results, 2).expect("a quorum");
    assert_eq!(group.members, [false, false, true, true]);
}

/// Provider `n` has a good record: it did this many jobs for customers who are newcomers.
fn make_known(bench: &mut Bench, n: u8, first: u8, jobs: u8) {
    for job in first..first + jobs {
        bench.ask(job, Request { providers: vec![provider(n)], ..request() });
        bench.deliver_as(job, n, None, KIND + 1_000, job).expect("taken");
    }
}

#[test]
fn a_crowd_of_newcomers_does_not_outvote_who_is_known_and_others_are_asked() {
    let mut bench = Bench::with(Config { ended_retention_ms: 100_000, ..config() });
    (1..=4).for_each(|n| drop(bench.online(n, advert(None))));
    make_known(&mut bench, 1, 100, 6);
    bench.ask(1, Request { replicas: 4, quorum: 2, attempts: Some(8), ..request() });
    // Who is known is quicker than the second of the newcomers.
    for (by, says) in [(2, 7), (1, 9), (3, 7), (4, 7)] {
        assert_eq!(ends(&bench.answer(1, by, digest(says)).expect("taken")), []);
    }
    assert_eq!(bench.status(1), Status::Validating);
    assert_eq!(leases(&bench.online(5, advert(None))), [(job(1), provider(5))]);
    for records in [bench.journal.clone(), bench.scheduler.checkpoint()] {
        let restored = Scheduler::restore(bench.scheduler.config().clone(), records.into_iter()).expect("restored");
        assert_eq!(restored.state(), bench.scheduler.state());
    }
    let effects = bench.answer(1, 5, digest(9)).expect("taken");
    assert_eq!(ends(&effects), [(End::Succeeded { result: result(1) }, Some(provider(1)))]);
    let Some(Effect::AnnounceEnd { judged, .. }) =
        effects.iter().find(|effect| matches!(effect, Effect::AnnounceEnd { .. }))
    else {
        panic!("no end")
    };
    let told: Vec<_> = judged.iter().map(|judged| (judged.provider, judged.verdict, judged.low)).collect();
    let (pass, outlier) = (Some(Verdict::Pass), Some(Verdict::Outlier));
    assert_eq!(
        told,
        [
            (provider(2), outlier, NEWCOMER_LOW),
            (provider(1), pass, 497),
            (provider(3), outlier, NEWCOMER_LOW),
            (provider(4), outlier, NEWCOMER_LOW),
            (provider(5), pass, NEWCOMER_LOW)
        ]
    );
}

#[test]
fn without_a_quorum_that_is_believed_the_job_fails_when_its_attempts_are_used_up() {
    let mut bench = Bench::with(Config { ended_retention_ms: 100_000, ..config() });
    (1..=3).for_each(|n| drop(bench.online(n, advert(None))));
    make_known(&mut bench, 1, 100, 6);
    bench.ask(1, Request { replicas: 3, quorum: 2, attempts: Some(3), ..request() });
    bench.answer(1, 1, digest(9)).expect("taken");
    bench.answer(1, 2, digest(7)).expect("taken");
    let effects = bench.answer(1, 3, digest(7)).expect("taken");
    let told: Vec<_> = ends(&effects).into_iter().map(|(end, _)| end).collect();
    assert_eq!(told, [End::Failed]);
    assert_eq!((1..=3).map(|n| bench.row(n).failed).sum::<u32>(), 0, "nobody knows who was wrong");
}

/// Straight from the page, with everything counted anew for each result.
fn by_hand(results: &[(u8, u32)], of: u32) -> Option<Vec<usize>> {
    let worth = |group: &[usize]| group.iter().map(|at| i128::from(results[*at].1.max(1)).pow(2)).sum::<i128>();
    let group = |says: u8| (0..results.len()).filter(|at| results[*at].0 == says).collect::<Vec<_>>();
    let wins = |says: &u8| {
        let own = group(*says);
        let others = (0..=u8::MAX).filter(|other| other != says).map(|other| worth(&group(other)));
        let believed = others.max().unwrap_or(0) < worth(&own) && worth(&own) >= i128::from(of) * 3_600;
        own.len() >= of as usize && (of == 1 || believed)
    };
    let winner = results.iter().map(|(says, _)| *says).filter(wins).max_by_key(|says| {
        let own = group(*says);
        (worth(&own), std::cmp::Reverse(own[0]))
    })?;
    Some(group(winner))
}

fn any_results() -> impl Strategy<Value = Vec<(u8, u32)>> {
    vec((0..4_u8, prop_oneof![Just(NEWCOMER_LOW), 0..1_000_u32]), 0..10)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_quorum_is_what_anybody_can_count_by_hand(results in any_results(), of in 1..5_u32) {
        prop_assert_eq!(winners(&results, of), by_hand(&results, of).unwrap_or_default());
    }

    /// Of all that could still be said, and by whomever, the best for one side is tried.
    #[test]
    fn while_there_is_hope_somebody_can_bring_a_quorum_and_else_nobody(
        results in any_results(),
        more in 0..4_u32,
        of in 1..5_u32,
    ) {
        let comes = (0..5_u8).any(|says| {
            let mut all = results.clone();
            all.extend((0..more).map(|_| (says, 1_000)));
            by_hand(&all, of).is_some()
        });
        // Where nothing is compared the first result would have decided.
        prop_assert_eq!(can_win(Validation::Exact, &said(&results), more, of), comes);
    }
}
