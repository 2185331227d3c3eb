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
