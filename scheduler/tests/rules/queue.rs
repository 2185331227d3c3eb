//! Waiting: order, and that nobody is forgotten.

use crate::bench::*;
use mercato_scheduler::*;

#[test]
fn a_queued_job_is_matched_when_a_provider_advertises() {
    let mut bench = Bench::new();
    bench.ask(1, request());
    bench.step(Input::Online { provider: provider(1) }).expect("online");
    assert_eq!(leases(&bench.advertise(1, advert(None))), [(job(1), provider(1))]);
}

#[test]
fn a_queued_job_is_matched_when_a_provider_comes_online() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    bench.offline(1);
    bench.ask(1, request());
    let effects = bench.step(Input::Online { provider: provider(1) }).expect("online");
    assert_eq!(leases(&effects), [(job(1), provider(1))]);
}

#[test]
fn a_queued_job_is_matched_when_a_slot_frees() {
    for free in [
        |bench: &mut Bench| bench.deliver(1, 1),
        |bench: &mut Bench| bench.cancel(1, 1),
        |bench: &mut Bench| bench.say(1, 1, error("no")),
        |bench: &mut Bench| Ok(bench.tick(10)),
    ] {
        let mut bench = Bench::new();
        bench.online(1, advert(None));
        bench.ask(1, request());
        bench.ask(2, request());
        let effects = free(&mut bench).expect("taken");
        assert_eq!(leases(&effects), [(job(2), provider(1))]);
    }
}

#[test]
fn a_kind_is_served_in_order_of_arrival() {
    let mut bench = Bench::new();
    for n in [5, 3, 9, 1] {
        bench.ask(n, request());
    }
    let mut served: Vec<_> = leases(&bench.online(1, advert(None)));
    for n in [5, 3, 9] {
        served.extend(leases(&bench.deliver(n, 1).expect("accepted")));
    }
    let jobs: Vec<_> = served.into_iter().map(|(job, _)| job).collect();
    assert_eq!(jobs, [5, 3, 9, 1].map(job));
}

#[test]
fn a_retried_job_keeps_its_place() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    bench.ask(1, request());
    bench.ask(2, Request { providers: vec![provider(2)], ..request() });
    bench.say(1, 1, error("no")).expect("heard");
    assert_eq!(leases(&bench.online(2, advert(None))), [(job(1), provider(2))]);
}

#[test]
fn a_job_that_nobody_can_take_does_not_block_the_next() {
    let mut bench = Bench::new();
    let require = vec![requirement("gpu", Op::Has, &[])];
    bench.ask(1, Request { require, ..request() });
    bench.ask(2, request());
    assert_eq!(leases(&bench.online(1, advert(None))), [(job(2), provider(1))]);
}

fn numbered(n: u64) -> JobId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.to_be_bytes());
    JobId(id)
}

fn ask_many(bench: &mut Bench, jobs: std::ops::Range<u64>, kind: u16, require: &[Requirement]) {
    for n in jobs {
        let request = Request { require: require.to_vec(), ..Request::new(kind) };
        // Straight to the scheduler: a full check after each of so many would be slow.
        let input = Input::Request { job: numbered(n), customer: customer(1), request };
        bench.scheduler.step(bench.now_ms, input).expect("requested");
    }
}

#[test]
fn a_long_queue_is_walked_over_several_steps_to_its_end() {
    let mut bench = Bench::with(Config { jobs_per_customer_max: 20_000, ..config() });
    ask_many(&mut bench, 0..9_000, KIND, &[requirement("gpu", Op::Has, &[])]);
    ask_many(&mut bench, 9_000..9_001, KIND, &[]);
    let mut effects = bench.online(1, advert(None));
    let mut steps = 0;
    while leases(&effects).is_empty() {
        assert_eq!(bench.scheduler.next_deadline_ms(), Some(0), "it does not go on by itself");
        effects = bench.tick(0);
        steps += 1;
    }
    assert_eq!(leases(&effects), [(numbered(9_000), provider(1))]);
    assert!((2..10).contains(&steps), "{steps} steps");
}

#[test]
fn arriving_providers_do_not_keep_a_walk_from_its_end() {
    let mut bench = Bench::with(Config { jobs_per_customer_max: 20_000, ..config() });
    ask_many(&mut bench, 0..5_000, KIND, &[requirement("gpu", Op::Has, &[])]);
    let last = Request { providers: vec![provider(1)], ..request() };
    let input = Input::Request { job: numbered(5_000), customer: customer(1), request: last };
    bench.scheduler.step(0, input).expect("requested");
    let mut effects = bench.online(1, advert(None));
    for n in 2..40 {
        if !leases(&effects).is_empty() {
            return;
        }
        effects = bench.online(n, advert(None));
    }
    panic!("the tail was never reached");
}

#[test]
fn many_deadlines_at_once_are_spread_over_steps() {
    let mut bench = Bench::new();
    ask_many(&mut bench, 0..200, KIND, &[]);
    let mut ended = 0;
    for _ in 0..4 {
        ended += ends(&bench.tick(1_000)).len();
    }
    assert_eq!(ended, 200);
}

/// Delivers the job under the only lease, as often as said; whose jobs were leased then.
fn serve(bench: &mut Bench, first: JobId, times: u8) -> Vec<CustomerId> {
    let (mut holds, mut served) = (first, Vec::new());
    for n in 0..times {
        let (job, provider, result) = (holds, provider(1), result(n));
        let answer = Answer::Unread;
        let input = Input::Result { job, provider, lease: None, result, kind: KIND + 1_000, answer };
        let effects = bench.step(input).expect("accepted");
        let Some((next, _)) = leases(&effects).first().copied() else { break };
        served.push(bench.scheduler.state().jobs()[&next].customer);
        holds = next;
    }
    served
}

#[test]
fn a_thousand_jobs_of_one_customer_do_not_delay_the_single_job_of_another() {
    let mut bench = Bench::new();
    ask_many(&mut bench, 0..1_000, KIND, &[]);
    let first = leases(&bench.online(1, advert(None)))[0].0;
    serve(&mut bench, first, 3);
    bench.try_ask(250, 2, request()).expect("requested");
    let holds = *bench.row(1).leases.first().expect("it works");
    assert_eq!(serve(&mut bench, holds, 3), [2, 1, 1].map(customer));
}

#[test]
fn customers_of_one_rank_take_turns_and_each_keeps_its_order() {
    let mut bench = Bench::new();
    let first = numbered(0);
    bench.online(1, advert(None));
    ask_many(&mut bench, 0..30, KIND, &[]);
    for n in 100..115 {
        bench.try_ask(n, 2, request()).expect("requested");
    }
    let mut restored = Bench { now_ms: bench.now_ms, ..Bench::new() };
    let rows = bench.scheduler.checkpoint();
    restored.scheduler = Scheduler::restore(config(), rows.into_iter()).expect("restored");
    let served = serve(&mut bench, first, 20);
    assert_eq!(served.iter().filter(|by| **by == customer(2)).count(), 10, "{served:?}");
    assert_eq!(serve(&mut restored, first, 20), served);
    let waits = |bench: &Bench, by: u8| {
        let jobs = bench.scheduler.state().jobs().values();
        jobs.filter(|job| job.customer == customer(by) && job.status() == Status::Queued).map(|job| job.arrival).min()
    };
    let ended = |bench: &Bench, by: u8| {
        let jobs = bench.scheduler.state().jobs().values();
        jobs.filter(|job| job.customer == customer(by) && !job.is_open()).map(|job| job.arrival).max()
    };
    for by in [1, 2] {
        assert!(ended(&bench, by) < waits(&bench, by), "{by} was served out of order");
    }
}

#[test]
fn a_job_that_nobody_can_take_does_not_hold_the_time_of_its_queue() {
    let mut bench = Bench::new();
    ask_many(&mut bench, 0..1, KIND, &[requirement("gpu", Op::Has, &[])]);
    bench.online(1, advert(None));
    bench.try_ask(1, 2, request()).expect("requested");
    bench.try_ask(2, 2, request()).expect("requested");
    bench.try_ask(3, 2, request()).expect("requested");
    serve(&mut bench, job(1), 2);
    // Who comes late does not come before those who have waited for their turn.
    bench.try_ask(4, 3, request()).expect("requested");
    bench.try_ask(5, 2, request()).expect("requested");
    assert_eq!(serve(&mut bench, job(3), 2), [3, 2].map(customer));
}
