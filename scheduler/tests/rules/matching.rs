//! Who may get a job, and who gets it.

use crate::bench::*;
use mercato_scheduler::*;

/// Whether a provider with these capabilities gets a job with this requirement.
fn check(caps: &[(&str, Value)], op: Op, values: &[Value], expected: bool) {
    let mut bench = Bench::new();
    bench.online(1, advert_with(caps, 1));
    let require = vec![requirement("a", op, values)];
    let effects = bench.ask(1, Request { require, ..request() });
    assert_eq!(!leases(&effects).is_empty(), expected, "{caps:?} {op:?} {values:?}");
}

#[test]
fn operators_compare_values_of_one_type() {
    let seven = [("a", Value::Int(7))];
    let int = |n| [Value::Int(n)];
    for (op, below, same, above) in [
        (Op::Equal, false, true, false),
        (Op::NotEqual, true, false, true),
        (Op::Less, false, false, true),
        (Op::LessOrEqual, false, true, true),
        (Op::Greater, true, false, false),
        (Op::GreaterOrEqual, true, true, false),
        (Op::In, false, true, false),
        (Op::Has, false, true, false),
    ] {
        check(&seven, op, &int(6), below);
        check(&seven, op, &int(7), same);
        check(&seven, op, &int(8), above);
    }
}

#[test]
fn an_absent_attribute_fails_every_operator() {
    for op in [Op::Equal, Op::NotEqual, Op::Less, Op::LessOrEqual, Op::Greater, Op::GreaterOrEqual, Op::In, Op::Has] {
        check(&[("b", Value::Int(7))], op, &[Value::Int(7)], false);
    }
    check(&[], Op::Has, &[], false);
}

#[test]
fn another_type_fails_every_operator() {
    for op in [Op::Equal, Op::NotEqual, Op::Less, Op::GreaterOrEqual, Op::In, Op::Has] {
        check(&[("a", text("7"))], op, &[Value::Int(7)], false);
    }
}

#[test]
fn a_repeated_attribute_is_a_set() {
    let caps = [("a", text("llama")), ("a", text("qwen"))];
    check(&caps, Op::Equal, &[text("qwen")], true);
    check(&caps, Op::NotEqual, &[text("qwen")], false);
    check(&caps, Op::NotEqual, &[text("phi")], true);
    check(&caps, Op::In, &[text("phi"), text("llama")], true);
    check(&caps, Op::Has, &[text("qwen"), text("llama")], true);
    check(&caps, Op::Has, &[text("qwen"), text("phi")], false);
    check(&caps, Op::Has, &[], true);
}

#[test]
fn all_requirements_must_hold() {
    let mut bench = Bench::new();
    bench.online(1, advert_with(&[("gpu", Value::Int(1)), ("ram", Value::Int(8))], 1));
    let ram = |n| requirement("ram", Op::GreaterOrEqual, &[Value::Int(n)]);
    let gpu = requirement("gpu", Op::Has, &[]);
    bench.ask(1, Request { require: vec![gpu.clone(), ram(16)], ..request() });
    assert_eq!(bench.status(1), Status::Queued);
    bench.ask(2, Request { require: vec![gpu, ram(8)], ..request() });
    assert_eq!(bench.status(2), Status::Leased);
}

#[test]
fn price_must_not_exceed_the_bid_when_both_are_given() {
    for (price_msat, bid_msat, expected) in [
        (Some(100), Some(100), true),
        (Some(101), Some(100), false),
        (None, Some(0), true),
        (Some(u64::MAX), None, true),
        (None, None, true),
        (Some(0), Some(0), true),
    ] {
        let mut bench = Bench::new();
        bench.online(1, advert(price_msat));
        let effects = bench.ask(1, Request { bid_msat, ..request() });
        assert_eq!(!leases(&effects).is_empty(), expected, "{price_msat:?} {bid_msat:?}");
    }
}

#[test]
fn another_kind_is_not_matched() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    bench.ask(1, Request::new(KIND + 1));
    assert_eq!(bench.status(1), Status::Queued);
}

#[test]
fn a_provider_gets_no_more_jobs_than_slots() {
    let mut bench = Bench::new();
    bench.online(1, advert_with(&[], 2));
    for n in 1..=3 {
        bench.ask(n, request());
    }
    let statuses = [1, 2, 3].map(|n| bench.status(n));
    assert_eq!(statuses, [Status::Leased, Status::Leased, Status::Queued]);
}

#[test]
fn slots_are_cut_to_the_operators_bound() {
    let mut bench = Bench::with(Config { slots_max: 1, ..config() });
    bench.online(1, advert_with(&[], 100));
    bench.ask(1, request());
    bench.ask(2, request());
    assert_eq!(bench.status(2), Status::Queued);
}

#[test]
fn fewer_slots_than_leases_means_none_free() {
    let mut bench = Bench::new();
    bench.online(1, advert_with(&[], 3));
    bench.ask(1, request());
    bench.ask(2, request());
    bench.advertise(1, advert_with(&[], 1));
    bench.deliver(1, 1).expect("accepted");
    bench.ask(3, request());
    assert_eq!(bench.status(3), Status::Queued);
    let effects = bench.deliver(2, 1).expect("accepted");
    assert_eq!(leases(&effects), [(job(3), provider(1))]);
}

#[test]
fn only_named_providers_get_the_job() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    bench.ask(1, Request { providers: vec![provider(2)], ..request() });
    assert_eq!(bench.status(1), Status::Queued);
    let effects = bench.online(2, advert(None));
    assert_eq!(leases(&effects), [(job(1), provider(2))]);
}

#[test]
fn a_provider_is_tried_once_only() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    bench.ask(1, request());
    bench.say(1, 1, error("no")).expect("heard");
    assert_eq!(bench.status(1), Status::Queued);
    bench.advertise(1, advert(Some(1)));
    assert_eq!(bench.status(1), Status::Queued);
}

#[test]
fn the_better_of_two_wins() {
    let dear = advert(Some(1_000));
    let cheap = advert(Some(10));
    for (n, cheap_id) in [(1, 1), (2, 2), (3, 1)] {
        let mut bench = Bench::new();
        bench.online(cheap_id, cheap.clone());
        bench.online(3 - cheap_id, dear.clone());
        let effects = bench.ask(n, request());
        assert_eq!(leases(&effects), [(job(n), provider(cheap_id))]);
    }
}

#[test]
fn an_online_provider_is_preferred_to_one_only_seen() {
    let mut bench = Bench::new();
    bench.advertise(1, advert(None));
    bench.online(2, advert(None));
    let effects = bench.ask(1, request());
    assert_eq!(leases(&effects), [(job(1), provider(2))]);
}

#[test]
fn a_provider_that_failed_is_rated_lower() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    bench.ask(1, request());
    bench.say(1, 1, error("no")).expect("heard");
    bench.online(2, advert(None));
    bench.deliver(1, 2).expect("accepted");
    for n in 2..10 {
        let effects = bench.ask(n, request());
        assert_eq!(leases(&effects), [(job(n), provider(2))]);
        bench.deliver(n, 2).expect("accepted");
    }
}

/// Whether a provider with this condition gets a job.
fn accepts(attribute: &str, op: Op, value: Value, request: Request, expected: bool) {
    let mut bench = Bench::new();
    let accept = vec![requirement(attribute, op, std::slice::from_ref(&value))];
    bench.online(1, Advert { accept, ..advert(None) });
    let effects = bench.ask(1, request);
    assert_eq!(!leases(&effects).is_empty(), expected, "{attribute} {op:?} {value:?}");
}

#[test]
fn a_provider_gets_only_jobs_that_it_accepts() {
    let wish = || Request {
        bid_msat: Some(1_000),
        input_count: 2,
        input_bytes: 300,
        params: vec![("size".to_owned(), Value::Int(512)), ("style".to_owned(), text("ink"))],
        ..request()
    };
    for (attribute, op, fits, fails) in [
        ("bid", Op::GreaterOrEqual, 1_000, 1_001),
        ("kind", Op::Equal, i64::from(KIND), 1),
        ("replicas", Op::LessOrEqual, 1, 0),
        ("customer.rank", Op::Greater, 11, 12),
        ("input.count", Op::Less, 3, 2),
        ("input.bytes", Op::LessOrEqual, 300, 299),
        ("param.size", Op::Equal, 512, 513),
    ] {
        accepts(attribute, op, Value::Int(fits), wish(), true);
        accepts(attribute, op, Value::Int(fails), wish(), false);
    }
    accepts("param.style", Op::In, text("ink"), wish(), true);
    for absent in ["size", "param.", "param.other", "customer", "x"] {
        accepts(absent, Op::NotEqual, Value::Int(0), wish(), false);
    }
    accepts("bid", Op::NotEqual, Value::Int(0), request(), false);
}

#[test]
fn a_job_that_nobody_accepts_waits_for_one_who_does() {
    let mut bench = Bench::new();
    let picky =
        |least| Advert { accept: vec![requirement("bid", Op::GreaterOrEqual, &[Value::Int(least)])], ..advert(None) };
    bench.online(1, picky(10));
    bench.ask(1, Request { bid_msat: Some(9), ..request() });
    assert_eq!(bench.status(1), Status::Queued);
    assert_eq!(leases(&bench.advertise(1, picky(9))), [(job(1), provider(1))]);
}

#[test]
fn the_customers_order_comes_before_the_score() {
    let by = |attribute: &str, order| Rank { attribute: attribute.to_owned(), order };
    let caps = |fast: i64, near: i64| [("fast", Value::Int(fast)), ("fast", Value::Int(0)), ("near", Value::Int(near))];
    for (rank, expected) in [
        (vec![by("fast", Order::Desc)], 3),
        (vec![by("near", Order::Asc)], 1),
        (vec![by("near", Order::Desc), by("price", Order::Desc)], 2),
        (vec![by("price", Order::Desc)], 1),
        (vec![by("price", Order::Asc), by("fast", Order::Desc)], 3),
        (vec![by("unknown", Order::Asc), by("fast", Order::Desc)], 3),
    ] {
        let mut bench = Bench::new();
        for (n, price, fast, near) in [(1, 9, 5, 1), (2, 2, 5, 8), (3, 1, 7, 8)] {
            bench.online(n, Advert { kinds: advert(Some(price)).kinds, ..advert_with(&caps(fast, near), 1) });
        }
        bench.online(4, advert_with(&[], 0));
        let effects = bench.ask(1, Request { rank: rank.clone(), ..request() });
        assert_eq!(leases(&effects), [(job(1), provider(expected))], "{rank:?}");
    }
}

#[test]
fn who_has_no_number_ranks_last() {
    let mut bench = Bench::new();
    bench.online(1, advert_with(&[("fast", text("very"))], 1));
    bench.online(2, advert_with(&[("fast", Value::Int(-5))], 1));
    let rank = vec![Rank { attribute: "fast".to_owned(), order: Order::Desc }];
    let effects = bench.ask(1, Request { rank, ..request() });
    assert_eq!(leases(&effects), [(job(1), provider(2))]);
}

#[test]
fn newcomers_get_an_eighth_and_not_more() {
    let mut bench = Bench::new();
    let proven = 1;
    bench.online(proven, advert_with(&[], 100));
    for n in 1..=6 {
        bench.ask(n, request());
        bench.deliver(n, proven).expect("accepted");
    }
    for n in 2..=60 {
        bench.online(n, advert_with(&[], 100));
    }
    let mut served = [0, 0];
    for n in 0..=239_u8 {
        let id = JobId([n, 7].repeat(16).try_into().expect("32 bytes"));
        let named = Input::Request { job: id, customer: customer(2), request: request() };
        let effects = bench.scheduler.step(bench.now_ms, named).expect("requested").effects;
        let turn = effects.iter().find_map(|effect| {
            let Effect::AnnounceLease { why, .. } = effect else { return None };
            why.iter().find(|(term, _)| *term == "newcomer").map(|(_, turn)| *turn)
        });
        served[usize::from(turn == Some(1))] += 1;
    }
    assert!((15..=45).contains(&served[1]), "{served:?}");
}

#[test]
fn a_lease_says_why() {
    let mut bench = Bench::new();
    bench.online(1, advert_with(&[], 4));
    let effects = bench.ask(1, request());
    let Some(Effect::AnnounceLease { seed: said, why, lease, attempt, expires_at_ms, .. }) = effects.first() else {
        panic!("no lease: {effects:?}");
    };
    assert_eq!(*said, seed(job(1), 1));
    assert_eq!((*lease, *attempt, *expires_at_ms), (0, 1, 10));
    let terms = [("record", 120), ("price", 1_000), ("online", 1_000), ("free", 1_000)];
    assert_eq!(why[..4], terms);
    assert_eq!(why[4..], [("score", 6_480), ("drawn", 1), ("list", 1), ("looks", 1), ("newcomer", 0)]);
}
