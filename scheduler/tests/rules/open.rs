//! Open dispatch: no leases, providers race.

use crate::bench::*;
use mercato_scheduler::*;

fn open() -> Bench {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    let effects = bench.ask(1, Request { dispatch: Dispatch::Open, ..request() });
    assert_eq!((leases(&effects), bench.status(1)), (vec![], Status::Open));
    bench
}

#[test]
fn anybodys_feedback_is_taken_and_moves_nothing() {
    let mut bench = open();
    assert_eq!(bench.say(1, 9, processing()), Ok(vec![]));
    assert_eq!(bench.say(1, 9, error("no")), Ok(vec![]));
    assert_eq!(bench.status(1), Status::Open);
}

#[test]
fn the_first_result_wins_and_later_ones_are_harmless() {
    let mut bench = open();
    let effects = bench.deliver(1, 9).expect("accepted");
    assert_eq!(ends(&effects), [(End::Succeeded { result: result(9) }, Some(provider(9)))]);
    assert_eq!(bench.deliver(1, 1), Ok(vec![]));
    assert_eq!(bench.deliver(1, 9), Err(Refusal::DuplicateResult));
    assert_eq!(bench.say(1, 1, processing()), Ok(vec![]));
    assert_eq!(bench.view(1).provider, Some(provider(9)));
}

#[test]
fn the_result_kind_is_checked() {
    let mut bench = open();
    let wrong = bench.deliver_as(1, 9, None, 1, 9);
    assert_eq!(wrong, Err(Refusal::WrongResultKind { expected: KIND + 1_000, got: 1 }));
}

#[test]
fn a_known_provider_is_credited() {
    let mut bench = open();
    bench.deliver(1, 1).expect("accepted");
    assert_eq!(bench.row(1).succeeded, 1);
}

#[test]
fn the_deadline_applies() {
    let mut bench = open();
    assert_eq!(ends(&bench.tick(1_000)), [(End::Expired, None)]);
}

#[test]
fn the_customer_may_cancel() {
    let mut bench = open();
    assert_eq!(ends(&bench.cancel(1, 1).expect("cancelled")), [(End::Cancelled, None)]);
}
