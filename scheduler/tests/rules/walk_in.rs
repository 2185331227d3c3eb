//! Providers that never advertise, and jobs that nobody known could take.

use crate::bench::*;
use mercato_scheduler::*;

fn listen(bench: &mut Bench, n: u8, kinds: &[u16]) -> Vec<Effect> {
    bench.step(Input::Listen { provider: provider(n), kinds: kinds.to_vec() }).expect("taken")
}

fn plain() -> Request {
    Request { may_open: true, ..request() }
}

#[test]
fn who_listens_for_a_kind_gets_its_waiting_jobs() {
    let mut bench = Bench::new();
    bench.ask(1, request());
    assert_eq!(leases(&listen(&mut bench, 7, &[KIND + 1])), []);
    assert_eq!(leases(&listen(&mut bench, 7, &[KIND, KIND + 1])), [(job(1), provider(7))]);
    bench.say(1, 7, processing()).expect("a lease like any other");
    bench.deliver(1, 7).expect("accepted");
    assert_eq!((bench.status(1), bench.row(7).succeeded), (Status::Succeeded, 1));
}

#[test]
fn walk_ins_come_after_everybody_who_advertises() {
    let mut bench = Bench::new();
    for n in 2..6 {
        listen(&mut bench, n, &[KIND]);
    }
    bench.online(7, advert(Some(1_000_000)));
    assert_eq!(leases(&bench.ask(1, request())), [(job(1), provider(7))]);
    let next = leases(&bench.ask(2, request()));
    assert!(matches!(next[..], [(_, holder)] if holder != provider(7)), "the only slot is taken: {next:?}");
}

#[test]
fn an_advert_counts_for_more_than_what_its_author_listens_for() {
    let mut bench = Bench::new();
    listen(&mut bench, 7, &[KIND]);
    bench.advertise(7, Advert { kinds: vec![Offer { kind: KIND + 1, price_msat: None }], ..Advert::default() });
    assert_eq!(leases(&listen(&mut bench, 7, &[KIND])), []);
    assert_eq!(leases(&bench.ask(1, request())), []);
    bench.step(Input::Unadvertise { provider: provider(7) }).expect("taken back");
    assert_eq!(leases(&listen(&mut bench, 7, &[KIND])), [(job(1), provider(7))]);
}

#[test]
fn who_stops_to_listen_or_goes_gets_no_more_and_keeps_its_lease() {
    let mut bench = Bench::new();
    listen(&mut bench, 7, &[KIND]);
    bench.ask(1, request());
    listen(&mut bench, 7, &[]);
    assert_eq!((bench.holder(1), leases(&bench.ask(2, request()))), (Some(provider(7)), vec![]));
    bench.offline(7);
    bench.at(3).step(Input::Online { provider: provider(7) }).expect("back within its grace");
    assert_eq!((bench.holder(1), bench.holder(2)), (Some(provider(7)), None));
    bench.offline(7);
    assert!(!bench.row(7).walk_in && bench.row(7).advert.is_none());
}

#[test]
fn who_listens_for_very_many_kinds_watches() {
    let mut bench = Bench::new();
    let kinds: Vec<u16> = (KIND..KIND + 65).collect();
    listen(&mut bench, 7, &kinds);
    assert_eq!(leases(&bench.ask(1, request())), []);
    assert_eq!(leases(&listen(&mut bench, 7, &kinds[..64])), [(job(1), provider(7))]);
}

#[test]
fn who_listens_and_lets_its_leases_lapse_is_not_asked_a_fourth_time() {
    let mut bench = Bench::new();
    listen(&mut bench, 7, &[KIND]);
    for n in 1..=3 {
        assert_eq!(leases(&bench.ask(n, request())).len(), 1);
        bench.tick(u64::from(n) * 10);
    }
    assert_eq!(leases(&bench.ask(4, request())), []);
    assert_eq!(leases(&bench.advertise(7, advert(None))).len(), 1, "an advert is a promise");
}

#[test]
fn nobody_is_a_walk_in_for_his_own_job() {
    let mut bench = Bench::new();
    listen(&mut bench, 7, &[KIND]);
    let own = Input::Request { job: job(1), customer: CustomerId(provider(7).0), request: request() };
    assert_eq!(leases(&bench.step(own).expect("taken")), []);
    assert_eq!(leases(&bench.try_ask(2, 9, request()).expect("taken")), [(job(2), provider(7))]);
}

#[test]
fn a_job_that_nobody_known_serves_is_for_everybody_after_a_while() {
    let mut bench = Bench::new();
    bench.ask(1, plain());
    bench.ask(2, request());
    bench.tick(19);
    assert_eq!(bench.status(1), Status::Queued);
    let effects = bench.tick(20);
    assert!(matches!(&effects[..], [Effect::AnnounceState { view }] if view.status == Status::Open), "{effects:?}");
    assert_eq!(bench.status(2), Status::Queued, "its customer said who may answer");
    bench.deliver(1, 9).expect("anybody's");
    assert_eq!(bench.status(1), Status::Succeeded);
}

#[test]
fn a_job_waits_while_somebody_who_serves_its_kind_is_busy() {
    let mut bench = Bench::new();
    bench.online(7, advert(None));
    bench.ask(1, Request { run_timeout_ms: Some(500), ..plain() });
    bench.say(1, 7, processing()).expect("accepted");
    bench.ask(2, plain());
    for (now_ms, looks_ms) in [(20, 40), (40, 80), (80, 160)] {
        bench.tick(now_ms);
        let due = bench.scheduler.state().jobs()[&job(2)].next_deadline().expect("open");
        assert_eq!((bench.status(2), due.at_ms), (Status::Queued, looks_ms));
    }
    bench.offline(7);
    bench.tick(85);
    assert_eq!(bench.status(1), Status::Queued, "it had a lease: it stays with those who can be held to one");
    bench.tick(160);
    assert_eq!((bench.status(1), bench.status(2)), (Status::Queued, Status::Open));
}

#[test]
fn a_job_for_named_providers_waits_for_those_and_is_ended_by_those_only() {
    let mut bench = Bench::new();
    bench.online(7, advert(None));
    bench.ask(1, Request { providers: vec![provider(2)], ..plain() });
    bench.tick(20);
    assert_eq!(bench.status(1), Status::Open, "who is named is not known");
    assert_eq!(bench.deliver(1, 3), Ok(vec![]));
    assert_eq!(bench.status(1), Status::Open);
    bench.deliver(1, 2).expect("the named one's");
    assert_eq!(bench.status(1), Status::Succeeded);
}

#[test]
fn replicas_are_never_for_everybody() {
    let mut bench = Bench::new();
    bench.ask(1, Request { replicas: 2, quorum: 2, ..plain() });
    bench.tick(500);
    assert_eq!(bench.status(1), Status::Queued);
}

#[test]
fn who_is_named_may_answer_at_once_while_nobody_has_a_lease() {
    let mut bench = Bench::new();
    let named = || Request { providers: vec![provider(7)], ..plain() };
    bench.ask(1, named());
    assert_eq!(bench.deliver(1, 8), Err(Refusal::NeverLeased), "it is not named");
    assert_eq!(
        bench.deliver_as(1, 7, None, KIND, 7),
        Err(Refusal::WrongResultKind { expected: KIND + 1_000, got: KIND })
    );
    bench.say(1, 7, processing()).expect("it got the request, and knows of no lease");
    assert_eq!(bench.status(1), Status::Open);
    bench.deliver(1, 7).expect("its result");
    assert_eq!(bench.status(1), Status::Succeeded);
    bench.ask(2, named());
    bench.deliver_as(2, 7, None, KIND + 1_000, 20).expect("its result, without a word before");
    assert_eq!(bench.status(2), Status::Succeeded);
    bench.ask(3, Request { may_open: false, ..named() });
    assert_eq!(bench.say(3, 7, processing()), Err(Refusal::NeverLeased), "this customer wants a lease");
}

#[test]
fn a_job_with_inputs_from_others_stays_with_leaseholders() {
    let mut bench = Bench::new();
    bench.ask(1, request());
    bench.ask(
        2,
        Request { inputs: vec![Upstream { job: job(1), result: None }], providers: vec![provider(7)], ..plain() },
    );
    assert_eq!(bench.status(2), Status::Blocked);
    bench.tick(20);
    assert_eq!(bench.status(2), Status::Blocked);
    assert_eq!(bench.deliver(2, 7), Err(Refusal::NeverLeased));
    bench.online(3, advert(None));
    bench.deliver_as(1, 3, None, KIND + 1_000, 30).expect("its input");
    assert_eq!(bench.status(2), Status::Queued);
    bench.tick(40);
    assert_eq!(bench.status(2), Status::Queued, "its input is handed on in a lease");
}
