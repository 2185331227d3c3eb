//! Bounds, and how their excess is refused.

use crate::bench::*;
use mercato_scheduler::*;

fn refused_request(request: Request, flaw: Flaw) {
    let refusal = Bench::new().try_ask(1, 1, request);
    assert_eq!(refusal, Err(Refusal::InvalidRequest(flaw)));
}

fn refused_advert(advert: Advert, flaw: Flaw) {
    let refusal = Bench::new().step(Input::Advertise { provider: provider(1), advert });
    assert_eq!(refusal, Err(Refusal::InvalidAdvert(flaw)));
}

#[test]
fn flawed_requests_are_refused() {
    let has = requirement("a", Op::Has, &[]);
    let require = |list: Vec<Requirement>| Request { require: list, ..request() };
    let one = |op, values: &[Value]| require(vec![requirement("a", op, values)]);
    let long = "x".repeat(TEXT_MAX + 1);
    let tolerance = |abs, rel_ppm| Request { validate: Validation::Tolerance { abs, rel_ppm }, ..request() };
    for (request, flaw) in [
        (Request::new(65_000), Flaw::KindTooHigh),
        (Request { accept_timeout_ms: Some(0), ..request() }, Flaw::ZeroTimeout),
        (Request { heartbeat_timeout_ms: Some(0), ..request() }, Flaw::ZeroTimeout),
        (Request { attempts: Some(0), ..request() }, Flaw::ZeroAttempts),
        (require(vec![has; REQUIREMENTS_MAX + 1]), Flaw::TooManyRequirements),
        (one(Op::In, &vec![Value::Int(1); VALUES_MAX + 1]), Flaw::TooManyValues),
        (one(Op::In, &[]), Flaw::WrongOperands),
        (one(Op::Equal, &[]), Flaw::WrongOperands),
        (one(Op::NotEqual, &[Value::Int(1), Value::Int(2)]), Flaw::WrongOperands),
        (one(Op::Less, &[text("7")]), Flaw::WrongOperands),
        (one(Op::Has, &[text(&long)]), Flaw::TextTooLong),
        (require(vec![requirement("", Op::Has, &[])]), Flaw::EmptyName),
        (require(vec![requirement(&long, Op::Has, &[])]), Flaw::TextTooLong),
        (Request { providers: vec![provider(1); NAMED_MAX + 1], ..request() }, Flaw::TooManyNamed),
        (Request { quorum: 2, ..request() }, Flaw::WrongQuorum),
        (Request { quorum: 0, ..request() }, Flaw::WrongQuorum),
        (Request { replicas: 0, quorum: 0, ..request() }, Flaw::WrongQuorum),
        (Request { replicas: 2, dispatch: Dispatch::Open, ..request() }, Flaw::OpenReplicas),
        (Request { replicas: 3, attempts: Some(2), ..request() }, Flaw::FewerAttemptsThanReplicas),
        (Request { replicas: 3, quorum: 2, providers: vec![provider(1); 3], ..request() }, Flaw::FewerNamedThanQuorum),
        (Request { rank: vec![rank("a"); RANKS_MAX + 1], ..request() }, Flaw::TooManyRanks),
        (Request { rank: vec![rank("")], ..request() }, Flaw::EmptyName),
        (Request { params: vec![param("a"); PARAMS_MAX + 1], ..request() }, Flaw::TooManyParams),
        (Request { params: vec![param("")], ..request() }, Flaw::EmptyName),
        (tolerance(-1, 0), Flaw::WrongTolerance),
        (tolerance(NUMBER_MAX + 1, 0), Flaw::WrongTolerance),
        (tolerance(0, ONE_PPM + 1), Flaw::WrongTolerance),
    ] {
        refused_request(request, flaw);
    }
}

fn rank(attribute: &str) -> Rank {
    Rank { attribute: attribute.to_owned(), order: Order::Asc }
}

fn param(name: &str) -> (String, Value) {
    (name.to_owned(), Value::Int(1))
}

#[test]
fn flawed_adverts_are_refused() {
    let caps = |n| vec![("a".to_owned(), Value::Int(1)); n];
    let cap = |name: &str, value| Advert { caps: vec![(name.to_owned(), value)], ..advert(None) };
    let long = "x".repeat(TEXT_MAX + 1);
    let offers = vec![Offer { kind: KIND, price_msat: None }; OFFERS_MAX + 1];
    refused_advert(Advert { caps: caps(CAPS_MAX + 1), ..advert(None) }, Flaw::TooManyCaps);
    refused_advert(Advert { kinds: offers, ..Advert::default() }, Flaw::TooManyOffers);
    let accepts = |n| vec![requirement("bid", Op::Has, &[]); n];
    refused_advert(Advert { accept: accepts(ACCEPTS_MAX + 1), ..advert(None) }, Flaw::TooManyAccepts);
    refused_advert(Advert { accept: vec![requirement("bid", Op::In, &[])], ..advert(None) }, Flaw::WrongOperands);
    refused_advert(cap("", Value::Int(1)), Flaw::EmptyName);
    refused_advert(cap("a", text(&long)), Flaw::TextTooLong);
    Bench::new().advertise(1, Advert { caps: caps(CAPS_MAX), ..advert(None) });
}

#[test]
fn a_request_is_taken_once() {
    let mut bench = Bench::new();
    bench.ask(1, request());
    assert_eq!(bench.try_ask(1, 1, request()), Err(Refusal::DuplicateJob));
    bench.cancel(1, 1).expect("cancelled");
    assert_eq!(bench.try_ask(1, 1, request()), Err(Refusal::DuplicateJob));
}

#[test]
fn open_jobs_are_bounded() {
    let mut bench = Bench::with(Config { jobs_max: 2, ..config() });
    bench.ask(1, request());
    bench.ask(2, request());
    assert_eq!(bench.try_ask(3, 2, request()), Err(Refusal::TooManyJobs { max: 2 }));
    bench.cancel(1, 1).expect("cancelled");
    bench.try_ask(3, 2, request()).expect("requested");
}

#[test]
fn open_jobs_of_one_customer_are_bounded() {
    let mut bench = Bench::with(Config { jobs_per_customer_max: 1, ..config() });
    bench.ask(1, request());
    assert_eq!(bench.try_ask(2, 1, request()), Err(Refusal::TooManyJobsOfCustomer { max: 1 }));
    bench.try_ask(2, 2, request()).expect("requested");
}

#[test]
fn the_directory_is_bounded_and_the_one_away_for_longest_makes_room() {
    let mut bench = Bench::with(Config { providers_max: 2, ..config() });
    bench.online(1, advert(None));
    bench.online(2, advert(None));
    let full = Err(Refusal::TooManyProviders { max: 2, provider: provider(3) });
    assert_eq!(bench.step(Input::Online { provider: provider(3) }), full);
    bench.at(1).offline(2);
    bench.at(2).offline(1);
    assert_eq!(bench.step(Input::Online { provider: provider(3) }), full, "in grace");
    bench.at(7).step(Input::Online { provider: provider(3) }).expect("online");
    let known: Vec<_> = bench.scheduler.state().providers().keys().copied().collect();
    assert_eq!(known, [provider(1), provider(3)]);
}

#[test]
fn a_leaseholder_is_never_put_out_of_the_directory() {
    let mut bench = Bench::with(Config { providers_max: 1, disconnect_grace_ms: 50, ..config() });
    bench.online(1, advert(None));
    bench.ask(1, request());
    bench.say(1, 1, processing()).expect("heard");
    bench.offline(1);
    bench.now_ms = 60;
    let full = Err(Refusal::TooManyProviders { max: 1, provider: provider(2) });
    assert_eq!(bench.step(Input::Online { provider: provider(2) }), full);
}

#[test]
fn ended_jobs_are_remembered_for_a_while() {
    let mut bench = Bench::new();
    bench.ask(1, request());
    bench.cancel(1, 1).expect("cancelled");
    bench.tick(499);
    assert_eq!(bench.deliver(1, 1), Err(Refusal::NeverLeased));
    bench.tick(500);
    assert_eq!(bench.deliver(1, 1), Err(Refusal::UnknownJob));
}

#[test]
fn ended_jobs_are_bounded_and_the_oldest_goes() {
    let mut bench = Bench::with(Config { ended_max: 2, ..config() });
    for n in [3, 1, 2] {
        bench.ask(n, request());
        bench.now_ms += 1;
        bench.cancel(n, 1).expect("cancelled");
    }
    let known: Vec<_> = bench.scheduler.state().jobs().keys().copied().collect();
    assert_eq!(known, [job(1), job(2)]);
}
