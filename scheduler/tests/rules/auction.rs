//! Offers: sealed, judged when their time is over.

use crate::bench::*;
use mercato_scheduler::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn auction(rule: Rule) -> Request {
    Request { auction: Some(Auction { window_ms: 50, rule }), bid_msat: Some(1_000), ..request() }
}

fn crowd(request: Request) -> Bench {
    let mut bench = Bench::new();
    for n in 1..=6 {
        bench.online(n, advert(None));
    }
    assert_eq!(leases(&bench.ask(1, request)), []);
    bench
}

fn bid(bench: &mut Bench, by: u8, amount_msat: u64, id: u8) -> Result<Vec<Effect>, Refusal> {
    bench.say(1, by, Feedback::Offer { offer: result(id), amount_msat })
}

/// Leases announced, with what is agreed.
fn agreed(effects: &[Effect]) -> Vec<(u8, Option<u64>)> {
    let of = |effect: &Effect| {
        let Effect::AnnounceLease { provider, agreed_msat, .. } = effect else { return None };
        Some((provider.0[0], *agreed_msat))
    };
    effects.iter().filter_map(of).collect()
}

#[test]
fn the_lowest_offer_wins_and_is_paid_the_second_lowest() {
    let mut bench = crowd(auction(Rule::SecondPrice));
    assert_eq!((bench.status(1), bench.view(1).bids_until_ms), (Status::Bidding, Some(50)));
    for (by, amount) in [(1, 700), (2, 300), (3, 500)] {
        bid(&mut bench, by, amount, by).expect("taken");
    }
    assert_eq!(leases(&bench.tick(49)), []);
    assert_eq!(agreed(&bench.tick(50)), [(2, Some(500))]);
    assert_eq!(bench.status(1), Status::Leased);
    // Who fails makes way for the next, at the price of the one after.
    assert_eq!(agreed(&bench.say(1, 2, error("no")).expect("heard")), [(3, Some(700))]);
    // Nobody missed out then: the customer's bid.
    assert_eq!(agreed(&bench.say(1, 3, error("no")).expect("heard")), [(1, Some(1_000))]);
}

#[test]
fn who_is_alone_is_paid_the_bid_and_without_one_its_offer() {
    for (bid_msat, expected) in [(Some(1_000), 1_000), (None, 300)] {
        let mut bench = crowd(Request { bid_msat, ..auction(Rule::SecondPrice) });
        bid(&mut bench, 4, 300, 4).expect("taken");
        assert_eq!(agreed(&bench.tick(50)), [(4, Some(expected))]);
    }
}

#[test]
fn replicas_are_all_paid_what_the_first_who_missed_out_offers() {
    let mut bench = crowd(Request { replicas: 2, quorum: 2, ..auction(Rule::SecondPrice) });
    for (by, amount) in [(1, 700), (2, 300), (3, 500)] {
        bid(&mut bench, by, amount, by).expect("taken");
    }
    assert_eq!(agreed(&bench.tick(50)), [(2, Some(700)), (3, Some(700))]);
}

#[test]
fn the_best_value_weighs_price_against_reputation() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    bench.online(2, advert(None));
    for n in 100..115 {
        bench.try_ask(n, n, Request { providers: vec![provider(1)], ..request() }).expect("taken");
        bench.deliver(n, 1).expect("accepted");
    }
    for (dear, expected) in [(150, 1), (100_000, 2)] {
        let mut bench = Bench { scheduler: bench.scheduler.clone(), ..Bench::new() };
        bench.now_ms = 0;
        bench.ask(1, Request { bid_msat: None, ..auction(Rule::BestValue) });
        bid(&mut bench, 1, dear, 1).expect("taken");
        bid(&mut bench, 2, 100, 2).expect("taken");
        let paid = if expected == 1 { dear } else { 100 };
        assert_eq!(agreed(&bench.tick(50)), [(expected, Some(paid))]);
    }
}

#[test]
fn an_offer_is_changed_while_the_time_lasts_and_a_changed_one_is_a_later_one() {
    let mut bench = crowd(auction(Rule::SecondPrice));
    for (by, amount, id) in [(1, 300, 1), (2, 300, 2), (1, 900, 3), (1, 300, 4)] {
        bid(&mut bench, by, amount, id).expect("taken");
    }
    assert_eq!(agreed(&bench.tick(50)), [(2, Some(300))]);
    let said: Vec<_> = bench.scheduler.state().jobs()[&job(1)].bidding.bids.iter().map(|bid| bid.said.len()).collect();
    assert_eq!(said, [1, 3]);
}

#[test]
fn offers_that_cannot_be_are_refused() {
    let mut bench = crowd(auction(Rule::SecondPrice));
    assert_eq!(bid(&mut bench, 1, 1_001, 1), Err(Refusal::OfferTooHigh { max_msat: 1_000 }));
    assert_eq!(bid(&mut bench, 99, 5, 1), Err(Refusal::NotEligible));
    for n in 0..8 {
        bid(&mut bench, 1, 5, n).expect("taken");
    }
    assert_eq!(bid(&mut bench, 1, 5, 9), Err(Refusal::TooManyRevisions { max: 8 }));
    bench.tick(50);
    assert_eq!(bid(&mut bench, 2, 5, 2), Err(Refusal::NoBidding));
    bench.ask(2, request());
    let offer = Feedback::Offer { offer: result(3), amount_msat: 1 };
    assert_eq!(bench.say(2, 3, offer.clone()), Err(Refusal::NoBidding));
    bench.cancel(2, 1).expect("cancelled");
    assert!(matches!(bench.say(2, 3, offer), Err(Refusal::AlreadyEnded { .. })));
    let open = Request { dispatch: Dispatch::Open, ..auction(Rule::BestValue) };
    assert_eq!(bench.try_ask(3, 1, open), Err(Refusal::InvalidRequest(Flaw::OpenAuction)));
}

#[test]
fn without_offers_and_after_the_last_a_job_is_matched_as_any_other() {
    let mut bench = crowd(auction(Rule::SecondPrice));
    let [(_, None)] = agreed(&bench.tick(50))[..] else { panic!("no ordinary lease") };
    let mut bench = crowd(auction(Rule::SecondPrice));
    bid(&mut bench, 1, 5, 1).expect("taken");
    bench.offline(1);
    let [(by, None)] = agreed(&bench.tick(50))[..] else { panic!("no ordinary lease") };
    assert_ne!(by, 1);
}

#[test]
fn the_time_for_offers_is_half_of_the_job_at_most_and_comes_after_its_inputs() {
    let mut bench = crowd(Request { deadline_ms: Some(60), ..auction(Rule::SecondPrice) });
    assert_eq!(bench.view(1).bids_until_ms, Some(30));
    bench.ask(3, Request { providers: vec![provider(1)], ..request() });
    let inputs = vec![Upstream { job: job(3), result: None }];
    bench.ask(2, Request { inputs, ..auction(Rule::SecondPrice) });
    assert_eq!((bench.status(2), bench.view(2).bids_until_ms), (Status::Blocked, None));
    bench.at(10).deliver(3, 1).expect("accepted");
    assert_eq!((bench.status(2), bench.view(2).bids_until_ms), (Status::Bidding, Some(60)));
}

#[test]
fn an_auction_survives_a_restart() {
    let mut bench = crowd(auction(Rule::SecondPrice));
    bid(&mut bench, 1, 5, 1).expect("taken");
    bid(&mut bench, 2, 7, 2).expect("taken");
    for journal in [bench.journal.clone(), bench.scheduler.checkpoint()] {
        let mut restored = Bench { now_ms: 10, ..Bench::new() };
        restored.scheduler = Scheduler::restore(config(), journal.into_iter()).expect("restored");
        assert_eq!(restored.scheduler.state(), bench.scheduler.state());
        restored.step(Input::Restarted).expect("restarted");
        restored.step(Input::Online { provider: provider(1) }).expect("online");
        assert_eq!(agreed(&restored.tick(50)), [(1, Some(7))]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    /// The twin sorts amounts by hand: no winner gains by having said something else than its cost.
    #[test]
    fn the_second_price_pays_nobody_less_than_it_offers_and_all_the_same(
        amounts in vec(0..1_001_u64, 1..6),
        replicas in 1..4_u32,
    ) {
        let mut bench = crowd(Request { replicas, ..auction(Rule::SecondPrice) });
        for (by, amount) in (1..).zip(&amounts) {
            bid(&mut bench, by, *amount, by).expect("taken");
        }
        let mut sorted: Vec<(u64, u8)> = amounts.iter().copied().zip(1..).collect();
        sorted.sort_unstable();
        let k = replicas as usize;
        let price = sorted.get(k).map_or(1_000, |(amount, _)| *amount);
        let winners: Vec<(u8, Option<u64>)> = sorted.iter().take(k).map(|(_, by)| (*by, Some(price))).collect();
        let mut told = agreed(&bench.tick(50));
        told.truncate(winners.len());
        prop_assert_eq!(told, winners);
    }
}
