//! How long a run and a first word may take when the request does not say: what is observed.

use crate::bench::*;
use mercato_scheduler::*;

fn paced_config() -> Config {
    Config { run_timeout_max_ms: 400, job_timeout_ms: 100_000, job_timeout_max_ms: 100_000, ..config() }
}

/// Provider `by` does job after job, each in so many milliseconds.
fn work(bench: &mut Bench, by: u8, jobs: u8, ms: u64) {
    for n in 0..jobs {
        let n = 100 + n;
        bench.ask(n, Request { providers: vec![provider(by)], ..request() });
        bench.say(n, by, processing()).expect("heard");
        bench.now_ms += ms;
        bench.deliver(n, by).expect("accepted");
        // Forgotten, so that its number is free.
        bench.now_ms += 500;
        bench.tick(bench.now_ms);
    }
}

fn granted_ms(effects: &[Effect]) -> u64 {
    let run = effects.iter().find_map(|effect| match effect {
        Effect::AnnounceLease { run_ms, .. } => Some(*run_ms),
        Effect::AnnounceWithdrawal { .. }
        | Effect::AnnounceVerdict { .. }
        | Effect::AnnounceEnd { .. }
        | Effect::AnnounceState { .. }
        | Effect::AnnouncePayment { .. }
        | Effect::OrderValidation { .. } => None,
    });
    run.expect("a lease")
}

fn ask_of(bench: &mut Bench, by: u8) -> u64 {
    granted_ms(&bench.ask(1, Request { providers: vec![provider(by)], ..request() }))
}

#[test]
fn the_operators_time_counts_while_little_is_known() {
    let mut bench = Bench::with(paced_config());
    bench.online(1, advert(None));
    work(&mut bench, 1, 7, 24);
    assert_eq!(ask_of(&mut bench, 1), 100);
}

#[test]
fn a_run_gets_three_times_what_most_of_the_providers_own_take() {
    let mut bench = Bench::with(paced_config());
    bench.online(1, advert(None));
    work(&mut bench, 1, 8, 24);
    // 24 lies in the bucket from 24 to 27.
    assert_eq!(ask_of(&mut bench, 1), 3 * 27);
    bench.say(1, 1, processing()).expect("heard");
    assert_eq!(withdrawals(&bench.tick(bench.now_ms + 80)), []);
    assert_eq!(withdrawals(&bench.tick(bench.now_ms + 1)), [(provider(1), Reason::RunTimeout)]);
}

#[test]
fn a_newcomer_gets_what_its_kind_takes() {
    let mut bench = Bench::with(paced_config());
    bench.online(1, advert(None));
    bench.online(2, advert(None));
    work(&mut bench, 1, 19, 24);
    assert_eq!(ask_of(&mut bench, 2), 100);
    bench.deliver(1, 2).expect("accepted");
    bench.now_ms += 500;
    bench.tick(bench.now_ms);
    // The twentieth took no time.
    assert_eq!(ask_of(&mut bench, 2), 3 * 27);
}

#[test]
fn the_request_and_the_operators_bounds_come_first() {
    for (ms, least_ms, asked, expected) in [(24, 20, Some(33), 33), (3, 20, None, 20), (200, 20, None, 400)] {
        let mut bench = Bench::with(Config { run_timeout_ms: 300, run_timeout_min_ms: least_ms, ..paced_config() });
        bench.online(1, advert(None));
        work(&mut bench, 1, 8, ms);
        let wish = Request { run_timeout_ms: asked, providers: vec![provider(1)], ..request() };
        assert_eq!(granted_ms(&bench.ask(1, wish)), expected);
    }
    let mut bench = Bench::with(Config { run_timeout_derived: false, ..paced_config() });
    bench.online(1, advert(None));
    work(&mut bench, 1, 8, 24);
    assert_eq!(ask_of(&mut bench, 1), 100);
}

#[test]
fn waiting_for_money_is_no_work_and_failures_are_not_counted() {
    let mut bench = Bench::with(paced_config());
    bench.online(1, advert(None));
    bench.online(2, advert(None));
    for n in 100..108 {
        bench.ask(n, Request { providers: vec![provider(1), provider(2)], attempts: Some(2), ..request() });
        let by = bench.holder(n).expect("leased").0[0];
        bench.say(n, by, processing()).expect("heard");
        bench.now_ms += 90;
        bench.say(n, by, error("no")).expect("heard");
        let by = bench.holder(n).expect("leased").0[0];
        bench.say(n, by, processing()).expect("heard");
        bench.now_ms += 12;
        bench.say(n, by, Feedback::PaymentRequired { amount_msat: None }).expect("heard");
        bench.now_ms += 40;
        bench.say(n, by, processing()).expect("heard");
        bench.now_ms += 12;
        bench.deliver(n, by).expect("accepted");
    }
    let runs: u32 = [1, 2].iter().map(|n| bench.row(*n).paces.get(&KIND).map_or(0, |pace| pace.runs.runs())).sum();
    let longest = [1, 2].iter().filter_map(|n| bench.row(*n).paces.get(&KIND)?.runs.percentile_ms(100)).max();
    assert_eq!((runs, longest), (8, Some(27)));
}

#[test]
fn what_was_granted_outlives_another_configuration() {
    let mut bench = Bench::with(paced_config());
    bench.online(1, advert(None));
    work(&mut bench, 1, 8, 24);
    ask_of(&mut bench, 1);
    let other = Config { run_timeout_derived: false, ..config() };
    for journal in [bench.journal.clone(), bench.scheduler.checkpoint()] {
        let restored = Scheduler::restore(other.clone(), journal.into_iter()).expect("restored");
        assert_eq!(restored.state(), bench.scheduler.state());
    }
}

fn accept_config() -> Config {
    let times =
        Config { accept_timeout_derived: true, accept_timeout_min_ms: 6, accept_timeout_max_ms: 40, ..config() };
    Config { accept_timeout_ms: 20, ..times }
}

/// Provider `by` does job after job, each begun after so many milliseconds.
fn begin_after(bench: &mut Bench, by: u8, jobs: u8, ms: u64) {
    for n in 0..jobs {
        let n = 100 + n;
        bench.ask(n, Request { providers: vec![provider(by)], ..request() });
        bench.now_ms += ms;
        bench.say(n, by, processing()).expect("heard");
        bench.deliver(n, by).expect("accepted");
        bench.now_ms += 500;
        bench.tick(bench.now_ms);
    }
}

/// How long a provider has to accept its next job.
fn to_accept_ms(bench: &mut Bench, by: u8, request: Request) -> u64 {
    bench.ask(1, Request { providers: vec![provider(by)], ..request });
    bench.view(1).leases[0].expires_at_ms - bench.now_ms
}

#[test]
fn a_first_word_gets_three_times_what_most_of_the_providers_own_take() {
    for (runs, ms, expected) in [(7, 4, 20), (8, 4, 3 * 4), (8, 1, 6), (8, 15, 40)] {
        let mut bench = Bench::with(accept_config());
        bench.online(1, advert(None));
        begin_after(&mut bench, 1, runs, ms);
        assert_eq!(to_accept_ms(&mut bench, 1, request()), expected, "{runs} of {ms} ms");
    }
}

#[test]
fn a_newcomer_has_as_long_to_accept_as_its_kind_takes() {
    let mut bench = Bench::with(accept_config());
    bench.online(1, advert(None));
    begin_after(&mut bench, 1, 20, 10);
    bench.online(2, advert(None));
    // 10 lies in the bucket from 10 to 11.
    assert_eq!(to_accept_ms(&mut bench, 2, request()), 3 * 11);
}

#[test]
fn who_says_how_long_others_have_to_accept_is_heard() {
    let mut bench = Bench::with(accept_config());
    bench.online(1, advert(None));
    begin_after(&mut bench, 1, 8, 4);
    assert_eq!(to_accept_ms(&mut bench, 1, Request { accept_timeout_ms: Some(19), ..request() }), 19);
}

#[test]
fn a_result_without_a_word_before_it_is_the_first_word() {
    let mut bench = Bench::with(accept_config());
    bench.online(1, advert(None));
    for n in 0..8 {
        let n = 100 + n;
        bench.ask(n, Request { providers: vec![provider(1)], ..request() });
        bench.now_ms += 9;
        bench.deliver(n, 1).expect("accepted");
        bench.now_ms += 500;
        bench.tick(bench.now_ms);
    }
    assert_eq!(to_accept_ms(&mut bench, 1, request()), 27);
}

#[test]
fn who_lets_leases_lapse_moves_nothing() {
    let mut bench = Bench::with(accept_config());
    bench.online(1, advert(None));
    begin_after(&mut bench, 1, 8, 4);
    for n in 20..28 {
        bench.ask(n, Request { providers: vec![provider(1)], attempts: Some(1), ..request() });
        bench.tick(bench.now_ms + 12);
    }
    assert_eq!(to_accept_ms(&mut bench, 1, request()), 12);
}
