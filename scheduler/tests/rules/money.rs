//! What is asked, claimed, confirmed and settled.

use crate::bench::*;
use mercato_scheduler::*;

fn bid(msat: u64) -> Request {
    Request { bid_msat: Some(msat), ..request() }
}

fn ask_money(msat: u64) -> Feedback {
    Feedback::PaymentRequired { amount_msat: Some(msat) }
}

/// The payments announced, as (msat, counts).
fn payments(effects: &[Effect]) -> Vec<(u64, bool)> {
    let payment = |effect: &Effect| {
        let Effect::AnnouncePayment { payment, .. } = effect else { return None };
        Some((payment.receipt.msat, payment.receipt.counts))
    };
    effects.iter().filter_map(payment).collect()
}

fn account(bench: &Bench, n: u8) -> (Option<u64>, u64, u64) {
    let account = bench.view(n).accounts[0];
    (account.quoted_msat, account.claimed_msat, account.confirmed_msat)
}

fn rank(bench: &Bench) -> u32 {
    bench.scheduler.state().customer_rank(customer(1))
}

/// A job for 2,000 msat that provider 1 has delivered and named its price for.
fn delivered() -> Bench {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    bench.ask(1, bid(2_000));
    bench.deliver(1, 1).expect("delivered");
    bench.quote(1, 1, 2_000).expect("quoted");
    bench
}

#[test]
fn money_that_covers_the_quote_sets_the_provider_to_work() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    bench.ask(1, bid(2_000));
    bench.say(1, 1, ask_money(2_000)).expect("asked");
    let effects = bench.pay(1, 1, 500, 1).expect("paid");
    assert_eq!(payments(&effects), [(500, true)]);
    assert_eq!((bench.status(1), account(&bench, 1)), (Status::AwaitingPayment, (Some(2_000), 500, 0)));
    bench.pay_as(1, 1, 1, 1_500, marks(2), true).expect("paid");
    assert_eq!((bench.status(1), account(&bench, 1)), (Status::Running, (Some(2_000), 2_000, 1_500)));
    bench.deliver(1, 1).expect("delivered");
    assert_eq!((bench.status(1), bench.view(1).bill), (Status::Settled, Bill::Settled { msat: 2_000 }));
    assert_eq!(bench.row(1).settled_msat, 2_000);
}

#[test]
fn a_result_is_settled_by_the_payment_after_it() {
    let mut bench = delivered();
    assert_eq!((bench.status(1), bench.view(1).bill), (Status::Succeeded, Bill::Due { msat: 2_000, pay_by_ms: 50 }));
    let before = rank(&bench);
    bench.at(49).pay(1, 1, 2_000, 1).expect("paid");
    assert_eq!(bench.status(1), Status::Settled);
    assert!(rank(&bench) > before);
    assert_eq!(bench.scheduler.state().customers()[&customer(1)].paid, 1);
}

#[test]
fn a_deadline_that_passes_leaves_the_job_unpaid_and_the_customer_with_less() {
    let mut bench = delivered();
    let before = rank(&bench);
    bench.tick(50);
    assert_eq!(bench.status(1), Status::Unpaid);
    assert!(rank(&bench) < before, "{} after {before}", rank(&bench));
    bench.at(60).pay(1, 1, 2_000, 1).expect("better late than never");
    assert_eq!(bench.status(1), Status::Settled);
    let row = &bench.scheduler.state().customers()[&customer(1)];
    assert_eq!((row.paid, row.late, row.unpaid, row.settled_msat), (0, 1, 1, 2_000));
    bench.tick(550);
    assert!(bench.scheduler.view(job(1)).is_none(), "forgotten after the time to pay and the retention");
}

#[test]
fn who_asks_for_more_than_was_agreed_is_owed_nothing() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    bench.ask(1, bid(1_999));
    bench.deliver(1, 1).expect("delivered");
    bench.quote(1, 1, 2_000).expect("quoted");
    assert_eq!((bench.status(1), bench.view(1).bill), (Status::Succeeded, Bill::None));
    bench.quote(1, 1, 1_999).expect("thought better of it");
    assert_eq!(bench.view(1).bill, Bill::Due { msat: 1_999, pay_by_ms: 50 });
    bench.quote(1, 1, 1).expect("the bill stands");
    assert_eq!(bench.view(1).bill, Bill::Due { msat: 1_999, pay_by_ms: 50 });
}

#[test]
fn without_a_bid_the_advertised_price_is_what_was_agreed() {
    for (price, agreed) in [(None, false), (Some(1_999), false), (Some(2_000), true)] {
        let mut bench = Bench::new();
        bench.online(1, advert(price));
        bench.ask(1, request());
        bench.deliver(1, 1).expect("delivered");
        bench.say(1, 1, ask_money(2_000)).expect("asked by feedback");
        assert_eq!(bench.view(1).bill != Bill::None, agreed, "{price:?}");
    }
}

#[test]
fn a_payment_is_used_once() {
    let mut bench = delivered();
    bench.pay(1, 1, 500, 1).expect("paid");
    assert_eq!(bench.pay(1, 1, 500, 1), Err(Refusal::DuplicateReceipt));
    for other in
        [Marks { payment_hash: marks(1).payment_hash, ..marks(2) }, Marks { request: marks(1).request, ..marks(2) }]
    {
        assert_eq!(bench.pay_as(1, 1, 1, 500, other, true), Err(Refusal::ReplayedPayment));
    }
    bench.ask(2, bid(2_000));
    bench.deliver(2, 1).expect("delivered");
    assert_eq!(bench.pay(2, 1, 2_000, 1), Err(Refusal::DuplicateReceipt), "nor for another job");
    assert_eq!(account(&bench, 1), (Some(2_000), 500, 0));
}

#[test]
fn after_a_payment_that_covers_all_the_next_is_told_and_counts_for_nothing() {
    let mut bench = delivered();
    bench.pay(1, 1, 2_000, 1).expect("paid");
    let effects = bench.pay(1, 1, 2_000, 2).expect("told");
    assert_eq!(payments(&effects), [(2_000, false)]);
    assert_eq!(account(&bench, 1), (Some(2_000), 2_000, 0));
}

#[test]
fn money_of_strangers_for_strangers_and_of_nothing_is_refused() {
    let mut bench = delivered();
    assert_eq!(bench.pay_as(1, 2, 1, 2_000, marks(1), false), Err(Refusal::NotTheCustomersPayment));
    assert_eq!(bench.pay(1, 2, 2_000, 1), Err(Refusal::PaidAStranger));
    assert_eq!(bench.pay(1, 1, 0, 1), Err(Refusal::NothingPaid));
    assert_eq!(bench.pay(2, 1, 1, 1), Err(Refusal::UnknownJob));
    assert_eq!(bench.quote(1, 2, 1), Err(Refusal::NeverLeased));
}

#[test]
fn a_job_has_a_bounded_number_of_receipts() {
    let mut bench = delivered();
    for n in 0..32 {
        bench.pay(1, 1, 1, n).expect("paid");
    }
    assert_eq!(bench.pay(1, 1, 1, 32), Err(Refusal::TooManyReceipts { max: RECEIPTS_MAX }));
}

#[test]
fn a_payment_is_proven_later_and_once() {
    let mut bench = delivered();
    bench.pay(1, 1, 2_000, 1).expect("paid");
    let hash = marks(1).payment_hash;
    let confirm = |bench: &mut Bench, payment_hash| bench.step(Input::Confirmed { job: job(1), payment_hash });
    assert_eq!(payments(&confirm(&mut bench, hash).expect("proven")), [(2_000, true)]);
    assert_eq!(account(&bench, 1), (Some(2_000), 2_000, 2_000));
    assert_eq!(confirm(&mut bench, hash), Ok(vec![]));
    assert_eq!(confirm(&mut bench, [9; 32]), Err(Refusal::UnknownPayment));
}

#[test]
fn a_provider_that_waits_for_money_leaves_without_blame() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    bench.ask(1, bid(2_000));
    bench.say(1, 1, ask_money(2_000)).expect("asked");
    bench.online(2, advert(None));
    let effects = bench.say(1, 1, error("other work")).expect("freed");
    assert_eq!(withdrawals(&effects), [(provider(1), Reason::GaveUpWaiting("other work".to_owned()))]);
    assert_eq!(leases(&effects), [(job(1), provider(2))], "the next provider's turn, at once");
    assert_eq!((bench.row(1).failed, bench.row(1).free_slots()), (0, 1));
}

#[test]
fn who_was_paid_or_asked_too_much_is_to_blame_for_leaving() {
    for (asked, paid) in [(2_000, 2_000), (2_001, 0)] {
        let mut bench = Bench::new();
        bench.online(1, advert(None));
        bench.ask(1, bid(2_000));
        bench.say(1, 1, ask_money(asked)).expect("asked");
        if paid > 0 {
            bench.pay(1, 1, paid, 1).expect("paid");
        }
        bench.say(1, 1, error("no")).expect("freed");
        assert_eq!(bench.row(1).failed, 1, "{asked} {paid}");
    }
}

#[test]
fn who_took_money_and_brings_nothing_loses_more() {
    let lows = [0, 1_000_000].map(|msat| {
        let mut bench = Bench::new();
        bench.online(1, advert(None));
        bench.ask(1, bid(2_000_000));
        bench.say(1, 1, processing()).expect("begun");
        if msat > 0 {
            bench.pay(1, 1, msat, 1).expect("paid");
        }
        bench.say(1, 1, error("no")).expect("freed");
        bench.scheduler.state().low_permille(bench.row(1), KIND)
    });
    assert!(lows[1] < lows[0], "{lows:?}");
}

#[test]
fn a_customer_that_lets_a_provider_wait_in_vain_for_what_was_agreed_loses_rank() {
    for (asked, blamed) in [(2_000, true), (2_001, false)] {
        let mut bench = Bench::new();
        bench.online(1, advert(None));
        bench.ask(1, bid(2_000));
        bench.say(1, 1, ask_money(asked)).expect("asked");
        bench.tick(50);
        assert_eq!(bench.status(1), Status::Failed);
        assert_eq!(rank(&bench) < 12, blamed, "asked {asked}");
    }
}

#[test]
fn a_customer_that_does_not_pay_may_have_fewer_open_jobs() {
    let mut bench = Bench::with(Config { jobs_per_customer_max: 12, ..config() });
    bench.online(1, advert(None));
    for n in 1..=3 {
        bench.ask(n, bid(2_000));
        bench.say(n, 1, ask_money(2_000)).expect("asked");
        let due_ms = bench.now_ms + 50;
        bench.tick(due_ms);
    }
    bench.offline(1);
    let taken = (10..30).take_while(|n| bench.try_ask(*n, 1, request()).is_ok()).count();
    assert!((1..12).contains(&taken), "{taken}");
    assert_eq!(bench.try_ask(40, 1, request()), Err(Refusal::TooManyJobsOfCustomer { max: taken }));
    bench.try_ask(41, 2, request()).expect("another customer is not affected");
}

#[test]
fn of_replicas_only_the_winner_is_owed_and_only_its_payment_settles() {
    let mut bench = Bench::new();
    for n in 1..=2 {
        bench.online(n, advert(None));
    }
    bench.ask(1, Request { replicas: 2, quorum: 2, bid_msat: Some(100), ..request() });
    for n in 1..=2 {
        bench.answer(1, n, Answer::Digest([7; 32])).expect("delivered");
        if n == 1 {
            bench.quote(1, 1, 100).expect("quoted before the end");
        }
    }
    assert_eq!(bench.view(1).bill, Bill::Due { msat: 100, pay_by_ms: 50 });
    assert!(matches!(bench.quote(1, 2, 100), Err(Refusal::AlreadyEnded { .. })));
    let effects = bench.pay(1, 2, 100, 1).expect("told");
    assert_eq!(payments(&effects), [(100, false)]);
    assert_eq!(bench.status(1), Status::Succeeded);
    bench.pay(1, 1, 100, 2).expect("paid");
    assert_eq!(bench.status(1), Status::Settled);
}

#[test]
fn a_restart_leaves_time_to_pay() {
    let mut bench = delivered();
    bench.at(49).step(Input::Restarted).expect("restarted");
    bench.tick(50);
    assert_eq!(bench.status(1), Status::Succeeded);
    bench.tick(64);
    assert_eq!(bench.status(1), Status::Unpaid);
}

#[test]
fn money_survives_in_journal_and_checkpoint() {
    let mut bench = delivered();
    bench.pay(1, 1, 500, 1).expect("paid");
    for journal in [bench.journal.clone(), bench.scheduler.checkpoint()] {
        let mut restored = Scheduler::restore(config(), journal.into_iter()).expect("restored");
        assert_eq!(restored.state(), bench.scheduler.state());
        let (job, provider, payer) = (job(1), provider(1), customer(1));
        let again = Input::Claimed { job, provider, payer, msat: 1, marks: marks(1), confirmed: false };
        assert_eq!(restored.step(bench.now_ms, again), Err(Refusal::DuplicateReceipt));
    }
}
