//! The market's rules, one test for each claim of docs/market.md.

#[macro_use]
mod market_world;

use market_world::{START_S, World, pubkey, someone, tag, value};
use mercato::market::{Delivery, Market};
use mercato::nostr::{Event, EventId, Pubkey};
use mercato::store::memory::MemoryStore;
use mercato::store::{Progress, Record, Scan, Store, StoreError, StoreStats, Transaction};
use mercato_scheduler::{Op, Order, ProviderId, Rank, Value};

const CUSTOMER: u8 = 1;
const ALICE: u8 = 2;
const BOB: u8 = 3;
const MALLORY: u8 = 4;

fn ask(world: &mut World, tags: Vec<Vec<String>>) -> Result<EventId, String> {
    world.say(CUSTOMER, 5050, tags)
}

/// A world in which Alice holds the first lease on a job, with Bob standing by.
fn leased() -> (World, EventId) {
    let mut world = World::new();
    world.provider(ALICE, &[5050]);
    let job = ask(&mut world, vec![]).unwrap();
    world.provider(BOB, &[5050]);
    assert_eq!(world.state(job), ("leased".to_owned(), Some(pubkey(ALICE))));
    (world, job)
}

/// As `leased`, but Alice let her lease lapse and Bob has the second.
fn passed_on() -> (World, EventId) {
    let (mut world, job) = leased();
    world.wait_ms(10_000);
    assert_eq!(world.state(job), ("leased".to_owned(), Some(pubkey(BOB))));
    (world, job)
}

#[test]
fn a_plain_request_needs_no_tag_of_ours() {
    let (world, job) = leased();
    let request = &world.market.scheduler().state().jobs()[&mercato_scheduler::JobId(job.0)].request;
    assert_eq!(**request, mercato_scheduler::Request { may_open: true, ..mercato_scheduler::Request::new(5050) });
}

#[test]
fn every_scheduling_tag_reaches_the_scheduler() {
    let mut world = World::new();
    let deadline_s = START_S + 100;
    let tags = tags![
        "bid", 21000; "p", pubkey(ALICE); "dispatch", "open"; "attempts", 3; "deadline", deadline_s;
        "timeout", "accept", 1; "timeout", "heartbeat", 2; "timeout", "run", 3; "timeout", "pay", 4;
        "require", "model", "in", "llama", "7"; "require", "gpu", "has"; "require", "vram_mb", ">=", "-1";
        "scheduler", world.keys.public(); "rank", "price", "asc"; "replicas", 1, 1; "validate", "hash";
        "i", "text", "text"; "param", "k", "v"; "output", "text/plain"; "relays", "wss://a"; "encrypted";
    ];
    let job = ask(&mut world, tags).unwrap();
    let row = &world.market.scheduler().state().jobs()[&mercato_scheduler::JobId(job.0)];
    let request = &row.request;
    assert_eq!(request.bid_msat, Some(21_000));
    assert_eq!(request.providers, [ProviderId(pubkey(ALICE).0)]);
    assert_eq!(request.dispatch, mercato_scheduler::Dispatch::Open);
    assert_eq!(request.attempts, Some(3));
    assert_eq!(request.deadline_ms, Some(deadline_s * 1_000));
    let timeouts =
        [request.accept_timeout_ms, request.heartbeat_timeout_ms, request.run_timeout_ms, request.pay_timeout_ms];
    assert_eq!(timeouts, [Some(1_000), Some(2_000), Some(3_000), Some(4_000)]);
    let [model, gpu, vram] = &request.require[..] else { panic!("{request:?}") };
    assert_eq!((model.op, &model.values[..]), (Op::In, &[Value::Text("llama".into()), Value::Int(7)][..]));
    assert_eq!((gpu.op, &gpu.values[..]), (Op::Has, &[][..]));
    assert_eq!((vram.op, &vram.values[..]), (Op::GreaterOrEqual, &[Value::Int(-1)][..]));
    assert_eq!(request.rank, [Rank { attribute: "price".to_owned(), order: Order::Asc }]);
    assert_eq!((request.input_count, request.input_bytes), (1, 4));
    assert_eq!(request.params, [("k".to_owned(), Value::Text("v".to_owned()))]);
}

#[test]
fn a_malformed_tag_of_a_request_is_refused_by_name() {
    let cases: &[(&[&str], &str)] = &[
        (&["bid", "1e3"], "invalid: bid: \"1e3\" is not a number of millisatoshi that fits"),
        (&["bid", "-1"], "invalid: bid:"),
        (&["bid", "+1"], "invalid: bid:"),
        (&["bid", "18446744073709551616"], "invalid: bid:"),
        (&["p", "npub1xyz"], "invalid: p: \"npub1xyz\" is not a public key"),
        (&["require"], "invalid: require: needs an attribute and an operator"),
        (&["require", "gpu"], "invalid: require: needs an attribute and an operator"),
        (&["require", "", "has"], "invalid: require: the attribute has no name"),
        (&["require", "gpu", "~", "1"], "invalid: require: \"~\" is not one of = != < <= > >= in has"),
        (&["require", "gpu", "="], "invalid: require: = and != take one value"),
        (&["require", "gpu", "!=", "a", "b"], "invalid: require: = and != take one value"),
        (&["require", "gpu", "<", "a"], "invalid: require: < <= > >= take one whole number"),
        (&["require", "gpu", ">=", "1", "2"], "invalid: require: < <= > >= take one whole number"),
        (&["require", "gpu", "in"], "invalid: require: in takes one value or more"),
        (&["rank", "price"], "invalid: rank: needs an attribute and asc or desc"),
        (&["rank", "price", "up"], "invalid: rank:"),
        (&["rank", "", "asc"], "invalid: rank:"),
        (&["replicas"], "invalid: replicas: needs a number of providers and a quorum"),
        (&["replicas", "1", "1", "1"], "invalid: replicas: needs a number of providers and a quorum"),
        (&["replicas", "two"], "invalid: replicas: \"two\" is not a whole number that fits"),
        (&["replicas", "2", "3"], "invalid: replicas: the quorum must be from 1 to the number of providers"),
        (&["replicas", "2", "0"], "invalid: replicas: the quorum must be"),
        (&["replicas", "0"], "invalid: replicas: the quorum must be"),
        (&["replicas", "9"], "invalid: a job has at most 8 replicas here"),
        (&["timeout"], "invalid: timeout: needs a phase and seconds"),
        (&["timeout", "run"], "invalid: timeout: needs a phase and seconds"),
        (&["timeout", "walk", "1"], "invalid: timeout: \"walk\" is not one of accept heartbeat run pay"),
        (&["timeout", "run", "1s"], "invalid: timeout: \"1s\" is not a whole number that fits"),
        (&["timeout", "run", "0"], "invalid: timeout: must not be zero"),
        (&["attempts", "0"], "invalid: the number of attempts must not be zero"),
        (&["attempts", "4294967296"], "invalid: attempts:"),
        (&["validate"], "invalid: validate: needs a method"),
        (&["validate", ""], "invalid: validate: needs a method"),
        (&["validate", "tolerance"], "invalid: validate: tolerance needs a difference"),
        (&["validate", "tolerance", "1", "0", "0"], "invalid: validate: tolerance needs a difference"),
        (&["validate", "tolerance", "x"], "invalid: validate: \"x\" is not a decimal number"),
        (&["validate", "tolerance", "-1"], "invalid: validate: a tolerance is not negative"),
        (
            &["validate", "tolerance", "0", "1.5"],
            "invalid: validate: a tolerance is not negative, and a share at most 1",
        ),
        (&["dispatch"], "invalid: dispatch: \"\" is neither leased nor open"),
        (&["dispatch", "both"], "invalid: dispatch: \"both\" is neither leased nor open"),
        (&["deadline", "tomorrow"], "invalid: deadline: \"tomorrow\" is not a whole number that fits"),
        (&["deadline", "1800000000"], "invalid: the deadline of this job has passed"),
        (&["expiration", "1800000000"], "invalid: the deadline of this job has passed"),
        (&["scheduler", "me"], "invalid: scheduler: \"me\" is not a public key"),
    ];
    let mut world = World::new();
    for (tag, expected) in cases {
        let tag = tag.iter().map(|element| (*element).to_owned()).collect();
        let answer = ask(&mut world, vec![tag]).unwrap_err();
        assert!(answer.starts_with(expected), "{answer} does not start with {expected}");
    }
    for name in ["bid", "dispatch", "deadline", "attempts", "replicas"] {
        let good = ["1", "open", "1900000000"][usize::from(name == "dispatch") + 2 * usize::from(name == "deadline")];
        let answer = ask(&mut world, tags![name, good; name, good]).unwrap_err();
        assert_eq!(answer, format!("invalid: {name}: stands twice"));
    }
    let twice = ask(&mut world, tags!["timeout", "run", 1; "timeout", "run", 2]).unwrap_err();
    assert_eq!(twice, "invalid: timeout: run stands twice");
    assert!(world.market.scheduler().state().jobs().is_empty());
}

#[test]
fn too_many_of_a_thing_are_refused() {
    let mut world = World::new();
    let many = |count: usize, tag: Vec<String>| vec![tag; count];
    let require = many(33, tags!["require", "gpu", "has"].remove(0));
    assert_eq!(ask(&mut world, require).unwrap_err(), "invalid: a request has at most 32 requirements");
    let values = [tags!["require", "gpu", "in"].remove(0), vec!["1".to_owned(); 33]].concat();
    assert_eq!(ask(&mut world, vec![values]).unwrap_err(), "invalid: a requirement has at most 32 values");
    let named = many(65, tags!["p", pubkey(ALICE)].remove(0));
    assert_eq!(ask(&mut world, named).unwrap_err(), "invalid: a request names at most 64 providers");
}

#[test]
fn expiration_caps_the_deadline() {
    let mut world = World::new();
    let job = ask(&mut world, tags!["deadline", START_S + 90; "expiration", START_S + 60]).unwrap();
    assert_eq!(world.view(job).unwrap().deadline_ms, (START_S + 60) * 1_000);
}

#[test]
fn a_request_for_another_scheduler_is_an_ordinary_event() {
    let mut world = World::new();
    world.provider(ALICE, &[5050]);
    let job = ask(&mut world, tags!["scheduler", pubkey(BOB); "require", "broken"]).unwrap();
    assert!(world.view(job).is_none() && world.events.is_empty());
    assert!(world.may_see(job, MALLORY));
    let own = world.keys.public();
    let both = ask(&mut world, tags!["scheduler", pubkey(BOB); "scheduler", own]).unwrap();
    assert!(world.view(both).is_some());
}

#[test]
fn an_old_request_without_a_deadline_is_an_ordinary_event() {
    let mut world = World::new();
    for (age_s, is_job) in [(3_600, false), (3_599, true)] {
        let event = Event::sign(&someone(CUSTOMER), START_S - age_s, 5050, &[], "");
        world.publish(&event).unwrap();
        assert_eq!(world.view(event.id).is_some(), is_job, "{age_s} s old");
    }
    let tags = tags!["deadline", START_S + 10];
    let event = Event::sign(&someone(CUSTOMER), START_S - 99_999, 5050, &tags, "");
    world.publish(&event).unwrap();
    assert!(world.view(event.id).is_some(), "old, but its deadline is still to come");
}

#[test]
fn the_bounds_on_open_jobs_are_told_as_rate_limits() {
    let mut world = World::with(|config| config.max_open_jobs_per_customer = 1);
    ask(&mut world, vec![]).unwrap();
    let answer = ask(&mut world, tags!["t", "2"]).unwrap_err();
    assert_eq!(answer, "rate-limited: you have 1 open jobs; wait for some to end");
    let mut world = World::with(|config| config.max_open_jobs = 1);
    ask(&mut world, vec![]).unwrap();
    let answer = world.say(BOB, 5050, vec![]).unwrap_err();
    assert_eq!(answer, "rate-limited: there are 1 open jobs; try again later");
}

#[test]
fn a_lease_tells_all_that_a_provider_needs() {
    let mut world = World::new();
    world.provider(ALICE, &[5050]);
    let request = world.sign(CUSTOMER, 5050, tags!["i", "hello", "text"]);
    world.publish(&request).unwrap();
    let lease = world.told("assigned").unwrap();
    let expected = tags![
        "status", "assigned"; "e", request.id; "p", pubkey(ALICE); "p", pubkey(CUSTOMER);
        "attempt", 1; "lease", 0; "deadline", START_S + 10; "timeout", "run", 600;
        "request", std::str::from_utf8(request.body()).unwrap()
    ];
    assert_eq!(lease.tags()[..9], expected);
    assert_eq!(tag(lease, "why").unwrap().len() % 2, 1, "terms and values in turn");
    assert_eq!(value(lease, "seed").unwrap().len(), 16);
    assert_eq!(lease.pubkey, world.keys.public());
    assert_eq!(lease.expiration, None, "an expiration would remove the lease from the store");
    assert_eq!(world.deliveries, [], "who is leased a request as it comes gets it as it comes");
}

#[test]
fn a_request_is_delivered_to_a_later_leaseholder_who_could_not_see_it_before() {
    let mut world = World::new();
    let job = ask(&mut world, vec![]).unwrap();
    world.say(ALICE, 31990, tags!["k", 5050]).unwrap();
    assert_eq!(world.deliveries, [Delivery { job, to: pubkey(ALICE) }]);
    let named = ask(&mut world, tags!["p", pubkey(BOB)]).unwrap();
    world.say(BOB, 31990, tags!["k", 5050]).unwrap();
    assert_eq!(world.state(named).1, Some(pubkey(BOB)));
    assert_eq!(world.deliveries, [], "a provider that the request names has seen it");
}

#[test]
fn a_lease_on_a_request_of_the_same_commit_carries_it() {
    let mut world = World::new();
    let request = world.sign(CUSTOMER, 5050, vec![]);
    let advert = world.sign(ALICE, 31990, tags!["k", 5050]);
    world.market.on_event(world.now_ms, &request).unwrap();
    let output = world.market.on_event(world.now_ms, &advert).unwrap();
    let events = world.market.sign(output.announcements);
    let carried = events.iter().find_map(|event| value(event, "request"));
    assert_eq!(carried.unwrap().as_bytes(), &request.body()[..]);
}

#[test]
fn of_the_states_that_one_commit_gives_a_job_only_the_last_is_told() {
    let mut world = World::new();
    let request = world.sign(CUSTOMER, 5050, vec![]);
    let other = world.sign(CUSTOMER, 5051, vec![]);
    let advert = world.sign(ALICE, 31990, tags!["k", 5050]);
    let said = [&request, &other, &advert].map(|event| world.market.on_event(world.now_ms, event).unwrap());
    let told = world.market.sign(said.into_iter().flat_map(|output| output.announcements).collect());
    let told: Vec<_> = told.iter().map(|event| (value(event, "e").unwrap(), value(event, "status").unwrap())).collect();
    let is_told = |job: &Event, status: &str| (job.id.to_hex(), status.to_owned());
    let expected = [is_told(&other, "queued"), is_told(&request, "assigned"), is_told(&request, "leased")];
    assert_eq!(told, expected);
}

#[test]
fn a_job_goes_from_queue_to_result_and_its_state_says_so() {
    let mut world = World::new();
    let job = ask(&mut world, vec![]).unwrap();
    assert_eq!(world.state(job), ("queued".to_owned(), None));
    world.provider(ALICE, &[5050]);
    assert_eq!(world.state(job), ("leased".to_owned(), Some(pubkey(ALICE))));
    world.feedback(ALICE, job, "processing").unwrap();
    assert_eq!(world.state(job).0, "running");
    world.say(ALICE, 7000, tags!["status", "payment-required"; "amount", 5000, "lnbc"; "e", job]).unwrap();
    assert_eq!(world.state(job).0, "awaiting-payment");
    let expected = tags![
        "d", job; "e", job; "k", 5050; "s", "awaiting-payment"; "P", pubkey(CUSTOMER);
        "p", pubkey(CUSTOMER); "p", pubkey(ALICE); "status", "awaiting-payment";
        "customer", pubkey(CUSTOMER); "provider", pubkey(ALICE); "attempt", 1; "lease", 0;
        "lease_deadline", START_S + 600; "deadline", START_S + 3_600; "amount", 5000
    ];
    let is_money =
        |tag: &Vec<String>| ["quoted", "claimed", "confirmed", "pay_by", "settled"].contains(&tag[0].as_str());
    let but_money = |event: Event| event.tags().into_iter().filter(|tag| !is_money(tag)).collect::<Vec<_>>();
    assert_eq!(but_money(world.stored_state(job).unwrap()), expected);
    world.feedback(ALICE, job, "partial").unwrap();
    assert_eq!(world.state(job).0, "running");
    let result = world.say(ALICE, 6050, tags!["e", job; "p", pubkey(CUSTOMER); "lease", 0]).unwrap();
    let end = world.told("success").unwrap();
    assert_eq!(value(end, "result").unwrap(), result.to_hex());
    let state = world.stored_state(job).unwrap();
    let expected = tags![
        "d", job; "e", job; "k", 5050; "s", "succeeded"; "P", pubkey(CUSTOMER);
        "p", pubkey(CUSTOMER); "p", pubkey(ALICE); "status", "succeeded";
        "customer", pubkey(CUSTOMER); "provider", pubkey(ALICE); "attempt", 1;
        "deadline", START_S + 3_600; "result", result
    ];
    assert_eq!(but_money(state), expected);
}

#[test]
fn states_of_one_second_are_dated_a_second_apart_also_after_a_restart() {
    let mut world = World::new();
    world.provider(ALICE, &[5050]);
    let job = ask(&mut world, vec![]).unwrap();
    let mut times = vec![world.stored_state(job).unwrap().created_at];
    for status in ["processing", "payment-required", "partial"] {
        world.now_ms += 1;
        world.feedback(ALICE, job, status).unwrap();
        times.push(world.stored_state(job).unwrap().created_at);
        world.restart();
        times.push(world.stored_state(job).unwrap().created_at);
    }
    let apart = times.windows(2).all(|pair| pair[0] < pair[1]);
    assert!(apart, "{times:?}");
}

#[test]
fn the_result_of_a_stranger_is_refused() {
    let (mut world, job) = leased();
    let answer = world.say(MALLORY, 6050, tags!["e", job]).unwrap_err();
    assert_eq!(answer, "restricted: you never held a lease on this job");
    let hidden = world.say(MALLORY, 6050, tags!["e", EventId([7; 32]); "e", job]).unwrap_err();
    assert_eq!(hidden, answer, "a job named second counts as well");
    let customer = world.feedback(CUSTOMER, job, "processing").unwrap_err();
    assert_eq!(customer, answer);
    assert_eq!(world.state(job).0, "leased");
}

#[test]
fn feedback_under_an_old_lease_is_refused() {
    let (mut world, job) = passed_on();
    let answer = world.feedback(ALICE, job, "processing").unwrap_err();
    assert_eq!(answer, "restricted: lease 0 does not count: the provider did not accept in time");
    let answer = world.say(BOB, 7000, tags!["status", "processing"; "e", job; "lease", 0]).unwrap_err();
    assert_eq!(answer, "restricted: lease 0 does not count: your lease on this job is 1");
    assert_eq!(world.state(job), ("leased".to_owned(), Some(pubkey(BOB))));
}

#[test]
fn a_late_result_wins_while_the_job_is_open() {
    let (mut world, job) = passed_on();
    let result = world.say(ALICE, 6050, tags!["e", job]).unwrap();
    let withdrawal = world.told("withdrawn").unwrap();
    assert_eq!(tag(withdrawal, "reason").unwrap()[2..4], [pubkey(BOB).to_hex(), "late-result-won".to_owned()]);
    assert_eq!(world.state(job), ("succeeded".to_owned(), Some(pubkey(ALICE))));
    assert_eq!(value(&world.stored_state(job).unwrap(), "result").unwrap(), result.to_hex());
}

#[test]
fn a_second_result_is_refused_by_memory_and_then_by_the_signed_state() {
    let (mut world, job) = passed_on();
    world.say(BOB, 6050, tags!["e", job]).unwrap();
    let answer = world.say(ALICE, 6050, tags!["e", job]).unwrap_err();
    assert_eq!(answer, "blocked: this job has ended: it has its result");
    world.wait_ms(3_600_000);
    assert!(world.view(job).is_none(), "forgotten by the scheduler");
    let answer = world.say(ALICE, 6050, tags!["e", job]).unwrap_err();
    assert_eq!(answer, "blocked: this job has ended: it is succeeded");
    let answer = world.feedback(BOB, job, "processing").unwrap_err();
    assert_eq!(answer, "blocked: this job has ended: it is succeeded");
}

#[test]
fn a_withdrawal_tells_both_sides_why() {
    let (mut world, job) = leased();
    world.say(ALICE, 7000, tags!["status", "error", "out of memory"; "e", job]).unwrap();
    let expected = tags![
        "status", "withdrawn", "the provider gave up: out of memory"; "e", job; "p", pubkey(ALICE);
        "p", pubkey(CUSTOMER); "attempt", 1; "lease", 0;
        "reason", 1, pubkey(ALICE), "error", "the provider gave up: out of memory"
    ];
    assert_eq!(world.told("withdrawn").unwrap().tags(), expected);
    assert_eq!(world.state(job), ("leased".to_owned(), Some(pubkey(BOB))));
}

#[test]
fn the_reason_of_an_error_may_stand_in_the_content() {
    let (mut world, job) = leased();
    let event = Event::sign(&someone(ALICE), START_S, 7000, &tags!["status", "error"; "e", job], "no GPU");
    world.publish(&event).unwrap();
    let withdrawal = world.told("withdrawn").unwrap();
    assert_eq!(tag(withdrawal, "status").unwrap()[2], "the provider gave up: no GPU");
}

#[test]
fn a_failed_job_tells_why_each_attempt_failed() {
    let (mut world, job) = {
        let mut world = World::new();
        world.provider(ALICE, &[5050]);
        world.provider(BOB, &[5050]);
        let job = ask(&mut world, tags!["attempts", 2]).unwrap();
        (world, job)
    };
    world.wait_ms(20_000);
    let end = world.told("error").unwrap();
    assert_eq!(tag(end, "status").unwrap()[2], "the job failed");
    assert_eq!(value(end, "end").unwrap(), "failed");
    let reasons: Vec<_> = end.tags().into_iter().filter(|tag| tag[0] == "reason").collect();
    assert_eq!(reasons.len(), 2);
    assert_eq!((reasons[0][1].as_str(), reasons[1][1].as_str()), ("1", "2"));
    assert!(reasons.iter().all(|tag| tag[3] == "accept-timeout"));
    assert_eq!(end.content().lines().count(), 3, "{}", end.content());
    assert_eq!(world.state(job).0, "failed");
}

#[test]
fn a_queued_job_expires_with_an_error() {
    let mut world = World::new();
    let job = ask(&mut world, tags!["deadline", START_S + 5]).unwrap();
    world.wait_ms(5_000);
    let end = world.told("error").unwrap();
    assert_eq!(value(end, "end").unwrap(), "expired");
    assert_eq!(tag(end, "status").unwrap()[2], "the deadline of the job passed");
    assert_eq!(world.state(job).0, "expired");
}

#[test]
fn a_customer_cancels_by_deleting_and_nobody_else_does() {
    let (mut world, job) = leased();
    world.say(MALLORY, 5, tags!["e", job]).unwrap();
    assert_eq!(world.state(job).0, "leased");
    world.say(CUSTOMER, 5, tags!["e", EventId([9; 32]); "e", job; "e", "junk"]).unwrap();
    assert_eq!(value(world.told("cancelled").unwrap(), "end").unwrap(), "cancelled");
    assert_eq!(world.state(job).0, "cancelled");
    let answer = world.say(ALICE, 6050, tags!["e", job]).unwrap_err();
    assert_eq!(answer, "blocked: this job has ended: it was cancelled");
}

#[test]
fn feedback_and_results_that_are_not_about_a_job_here_are_ordinary_events() {
    let mut world = World::new();
    let id = EventId([7; 32]);
    for (kind, tags) in [
        (7000, tags!["status", "dancing"; "e", id]),
        (7000, tags!["status", "assigned"; "e", id]),
        (7000, vec![]),
        (7000, tags!["e", "junk"]),
        (6050, tags!["e", id; "lease", "x"]),
        (6015, tags!["rating", 5]),
        (30383, tags!["d", id; "status", "succeeded"]),
        (1, vec![]),
    ] {
        world.say(MALLORY, kind, tags).unwrap();
        assert!(world.events.is_empty());
    }
}

#[test]
fn malformed_feedback_on_a_job_here_is_refused() {
    let (mut world, job) = leased();
    let cases = [
        (7000, tags!["status", "assigned"; "e", job], "invalid: status: assigned is not a provider's word on a job"),
        (7000, tags!["status", "processing"; "status", "error"; "e", job], "invalid: status: stands twice"),
        (7000, tags!["status", "processing"; "e", job; "lease", "one"], "invalid: lease: \"one\" is not"),
        (7000, tags!["status", "payment-required"; "amount", "5k"; "e", job], "invalid: amount: \"5k\" is not"),
        (6051, tags!["e", job], "invalid: a result of this job has kind 6050, not 6051"),
    ];
    for (kind, tags, expected) in cases {
        let answer = world.say(ALICE, kind, tags).unwrap_err();
        assert!(answer.starts_with(expected), "{answer} does not start with {expected}");
    }
    let other = ask(&mut world, tags!["t", "other"]).unwrap();
    let answer = world.say(ALICE, 6050, tags!["e", job; "e", other]).unwrap_err();
    assert_eq!(answer, "invalid: e: names more than one job; answer each apart");
}

#[test]
fn a_state_by_somebody_else_is_an_ordinary_event_and_ends_nothing() {
    let (mut world, job) = leased();
    world.say(MALLORY, 30383, tags!["d", job; "status", "succeeded"]).unwrap();
    world.say(ALICE, 6050, tags!["e", job]).unwrap();
    assert_eq!(world.state(job).0, "succeeded");
}

#[test]
fn events_of_the_relay_itself_do_not_come_back_in() {
    let (mut world, job) = leased();
    let own = world.keys.sign(START_S, 6050, &tags!["e", job], "");
    assert_eq!(world.market.on_event(world.now_ms, &own).unwrap(), Default::default());
    assert_eq!(world.state(job).0, "leased");
}

#[test]
fn a_leased_request_is_for_its_parties_until_it_ends() {
    let (mut world, job) = passed_on();
    let seen = |world: &World| [CUSTOMER, ALICE, BOB, MALLORY].map(|who| world.may_see(job, who));
    assert_eq!(seen(&world), [true, true, true, false]);
    assert!(world.audiences.of(&job).is_some());
    world.restart();
    assert_eq!(seen(&world), [true, true, true, false]);
    world.say(BOB, 6050, tags!["e", job]).unwrap();
    assert_eq!(seen(&world), [true; 4]);
    world.restart();
    assert_eq!(seen(&world), [true; 4]);
}

#[test]
fn a_named_provider_sees_the_request_before_it_has_a_lease() {
    let mut world = World::new();
    let job = ask(&mut world, tags!["p", pubkey(BOB)]).unwrap();
    assert_eq!([CUSTOMER, BOB, ALICE].map(|who| world.may_see(job, who)), [true, true, false]);
    world.provider(ALICE, &[5050]);
    assert_eq!(world.state(job).0, "queued", "only who is named may hold a lease");
    world.provider(BOB, &[5050]);
    assert_eq!(world.state(job).1, Some(pubkey(BOB)));
}

#[test]
fn an_open_request_is_for_all_and_anybody_may_answer() {
    let mut world = World::new();
    let job = ask(&mut world, tags!["dispatch", "open"]).unwrap();
    assert!(world.may_see(job, MALLORY));
    assert_eq!(world.state(job).0, "open");
    world.feedback(BOB, job, "processing").unwrap();
    world.say(BOB, 6050, tags!["e", job]).unwrap();
    assert_eq!(world.state(job), ("succeeded".to_owned(), Some(pubkey(BOB))));
    world.say(ALICE, 6050, tags!["e", job]).unwrap();
    assert_eq!(world.state(job), ("succeeded".to_owned(), Some(pubkey(BOB))), "the first result counts");
}

#[test]
fn the_operator_chooses_the_dispatch_of_requests_that_do_not() {
    let mut world = World::with(|config| config.dispatch = mercato::config::Dispatch::Open);
    let job = ask(&mut world, vec![]).unwrap();
    assert_eq!(world.state(job).0, "open");
    let job = ask(&mut world, tags!["dispatch", "leased"]).unwrap();
    assert_eq!(world.state(job).0, "queued");
}

fn offer(world: &World, who: u8) -> Option<mercato_scheduler::Advert> {
    world.market.scheduler().state().providers().get(&ProviderId(pubkey(who).0))?.advert.clone()
}

fn kinds(world: &World, who: u8) -> Vec<u16> {
    offer(world, who).map(|advert| advert.kinds.iter().map(|offer| offer.kind).collect()).unwrap_or_default()
}

#[test]
fn every_tag_of_an_advert_reaches_the_scheduler() {
    let mut world = World::new();
    let tags = tags![
        "d", "x"; "k", 5050; "k", 5100; "k", 1; "k", "junk"; "k", 5050; "price", 5100, 21; "slots", 4;
        "cap", "vram_mb", 24576; "cap", "model", "llama"; "cap", "model", "-0x1"; "accept", "bid", ">=", 1000
    ];
    world.say(ALICE, 31990, tags).unwrap();
    let advert = offer(&world, ALICE).unwrap();
    let offers: Vec<_> = advert.kinds.iter().map(|offer| (offer.kind, offer.price_msat)).collect();
    assert_eq!(offers, [(5050, None), (5100, Some(21))]);
    let text = |word: &str| Value::Text(word.to_owned());
    let caps = [("vram_mb", Value::Int(24_576)), ("model", text("llama")), ("model", text("-0x1"))];
    assert_eq!(advert.caps, caps.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(advert.slots, Some(4));
    let [accept] = &advert.accept[..] else { panic!("{advert:?}") };
    assert_eq!((accept.op, &accept.values[..]), (Op::GreaterOrEqual, &[Value::Int(1_000)][..]));
}

#[test]
fn a_provider_gets_only_jobs_that_meet_its_conditions() {
    let mut world = World::new();
    let tags = tags!["k", 5050; "accept", "bid", ">=", 1000; "accept", "param.size", "in", "s", "m"; "accept", "input.bytes", "<", 5];
    world.say(ALICE, 31990, tags).unwrap();
    let leased = |world: &mut World, tags| {
        let job = ask(world, tags).unwrap();
        !world.market.scheduler().state().jobs()[&mercato_scheduler::JobId(job.0)].leases.is_empty()
    };
    assert!(!leased(&mut world, tags!["bid", 999; "param", "size", "s"; "i", "text"]));
    assert!(!leased(&mut world, tags!["bid", 1000; "param", "size", "l"; "i", "text"]));
    assert!(!leased(&mut world, tags!["bid", 1000; "param", "size", "m"; "i", "texts"]));
    assert!(leased(&mut world, tags!["bid", 1000; "param", "size", "m"; "i", "text"]));
}

#[test]
fn a_malformed_tag_of_an_advert_is_refused_by_name() {
    let long = "x".repeat(257);
    let cases: &[(&[&str], &str)] = &[
        (&["cap", "gpu"], "invalid: cap: needs a name and a value"),
        (&["cap", "", "1"], "invalid: cap: needs a name and a value"),
        (&["cap", "gpu", &long], "invalid: cap: a name or value has at most 256 bytes"),
        (&["price", "5050"], "invalid: price: needs a kind and a price in msat"),
        (&["price", "5100", "1"], "invalid: price: kind \"5100\" is not among the k tags"),
        (&["price", "5050", "cheap"], "invalid: price: \"cheap\" is not a whole number that fits"),
        (&["slots", "many"], "invalid: slots: \"many\" is not a whole number that fits"),
        (&["slots"], "invalid: slots:"),
        (&["accept", "bid"], "invalid: accept: needs an attribute and an operator"),
        (&["accept", "bid", ">", "x"], "invalid: accept: < <= > >= take one whole number"),
    ];
    let mut world = World::new();
    for (tag, expected) in cases {
        let tag: Vec<_> = tag.iter().map(|element| (*element).to_owned()).collect();
        let answer = world.say(ALICE, 31990, [tags!["k", 5050], vec![tag.clone()]].concat()).unwrap_err();
        assert!(answer.starts_with(expected), "{answer} does not start with {expected}");
        world.say(BOB, 31990, [tags!["k", 1; "d", answer], vec![tag]].concat()).unwrap();
    }
    assert!(offer(&world, ALICE).is_none() && offer(&world, BOB).is_none());
    let twice = world.say(ALICE, 31990, tags!["k", 5050; "price", 5050, 1; "price", 5050, 2]).unwrap_err();
    assert_eq!(twice, "invalid: price: kind 5050 stands twice");
}

#[test]
fn a_provider_offers_what_its_adverts_add_up_to() {
    let mut world = World::new();
    world.say(ALICE, 31990, tags!["d", "a"; "k", 5050; "price", 5050, 7; "slots", 3; "cap", "gpu", 1]).unwrap();
    world.now_ms += 1_000;
    world.say(ALICE, 31990, tags!["d", "b"; "k", 5100; "k", 5050; "price", 5050, 9; "cap", "gpu", 2]).unwrap();
    let advert = offer(&world, ALICE).unwrap();
    assert_eq!(kinds(&world, ALICE), [5100, 5050]);
    assert_eq!(advert.offer(5050).unwrap().price_msat, Some(9), "the newer advert's price counts");
    assert_eq!(advert.caps.len(), 2);
    assert_eq!(advert.slots, Some(3));
    let live = offer(&world, ALICE);
    world.restart();
    assert_eq!(offer(&world, ALICE), live);
    world.now_ms += 1_000;
    world.say(ALICE, 31990, tags!["d", "b"; "k", 1]).unwrap();
    assert_eq!(kinds(&world, ALICE), [5050], "an advert without job kinds takes back the one that it replaces");
    world.now_ms += 1_000;
    world.say(ALICE, 31990, tags!["d", "a"]).unwrap();
    assert!(offer(&world, ALICE).is_none());
}

#[test]
fn an_advert_ends_by_deletion() {
    let mut world = World::new();
    let address = |d: &str| format!("31990:{}:{d}", pubkey(ALICE));
    let first = world.say(ALICE, 31990, tags!["d", "a:1"; "k", 5050]).unwrap();
    world.say(ALICE, 31990, tags!["d", "b"; "k", 5100]).unwrap();
    world.say(MALLORY, 5, tags!["e", first; "a", address("b")]).unwrap();
    assert_eq!(kinds(&world, ALICE).len(), 2, "only its author deletes an advert");
    world.say(ALICE, 5, tags!["a", address("a:1")]).unwrap();
    assert_eq!(kinds(&world, ALICE), [5100]);
    world.now_ms += 1_000;
    let again = world.say(ALICE, 31990, tags!["d", "a:1"; "k", 5050]).unwrap();
    let early = Event::sign(&someone(ALICE), START_S, 5, &tags!["a", address("a:1")], "early");
    world.publish(&early).unwrap();
    assert_eq!(kinds(&world, ALICE).len(), 2, "a deletion does not reach what is newer");
    world.say(ALICE, 5, tags!["e", again]).unwrap();
    assert_eq!(kinds(&world, ALICE), [5100]);
    world.say(ALICE, 5, tags!["a", address("b"); "x", ""]).unwrap();
    assert!(kinds(&world, ALICE).is_empty());
}

#[test]
fn an_advert_ends_by_its_expiration() {
    let mut world = World::new();
    world.say(ALICE, 31990, tags!["d", "a"; "k", 5050; "expiration", START_S + 10]).unwrap();
    world.say(ALICE, 31990, tags!["d", "b"; "k", 5100; "expiration", START_S]).unwrap();
    assert_eq!(kinds(&world, ALICE), [5050], "one that has expired does not count");
    world.wait_ms(5_000);
    world.say(ALICE, 31990, tags!["d", "a"; "k", 5050; "expiration", START_S + 20]).unwrap();
    world.wait_ms(14_999);
    assert_eq!(kinds(&world, ALICE), [5050], "the newer version lives longer");
    world.wait_ms(1);
    assert!(kinds(&world, ALICE).is_empty());
}

#[test]
fn of_very_many_adverts_the_newest_count_also_after_a_restart() {
    let mut world = World::new();
    for number in 0..70 {
        world.now_ms += 1_000;
        world.say(ALICE, 31990, tags!["d", number; "k", 5000 + number]).unwrap();
    }
    let live = kinds(&world, ALICE);
    assert_eq!((live.len(), live[0]), (64, 5069));
    world.restart();
    assert_eq!(kinds(&world, ALICE), live);
}

#[test]
fn a_full_directory_keeps_further_adverts_as_ordinary_events() {
    let mut world = World::with(|config| config.max_providers = 1);
    world.provider(ALICE, &[5050]);
    world.provider(BOB, &[5050]);
    assert!(offer(&world, BOB).is_none());
    world.disconnect(ALICE);
    world.wait_ms(5_000);
    world.now_ms += 1;
    world.say(BOB, 31990, tags!["k", 5050; "d", "again"]).unwrap();
    assert_eq!(kinds(&world, BOB), [5050]);
    assert!(offer(&world, ALICE).is_none(), "the one away for longest makes room");
    let job = ask(&mut world, vec![]).unwrap();
    assert_eq!(world.state(job).1, Some(pubkey(BOB)));
}

#[test]
fn imported_adverts_count_and_nothing_else_imported_does() {
    let mut world = World::new();
    let request = world.sign(CUSTOMER, 5050, vec![]);
    world.import(&request);
    assert!(world.view(request.id).is_none());
    let advert = world.sign(ALICE, 31990, tags!["k", 5050]);
    world.import(&advert);
    assert_eq!(kinds(&world, ALICE), [5050]);
    let broken = world.sign(BOB, 31990, tags!["k", 5050; "slots", "x"]);
    world.import(&broken);
    assert!(kinds(&world, BOB).is_empty());
}

fn is_online(world: &World, who: u8) -> bool {
    world.market.scheduler().state().providers()[&ProviderId(pubkey(who).0)].is_online()
}

#[test]
fn only_the_first_and_the_last_connection_count() {
    let mut world = World::new();
    world.connect(ALICE);
    world.connect(ALICE);
    world.say(ALICE, 31990, tags!["k", 5050]).unwrap();
    assert!(is_online(&world, ALICE), "who is connected is online from its first advert");
    world.disconnect(ALICE);
    assert!(is_online(&world, ALICE));
    world.disconnect(ALICE);
    assert!(!is_online(&world, ALICE));
    world.disconnect(ALICE);
    world.connect(ALICE);
    assert!(is_online(&world, ALICE));
    world.disconnect(BOB);
    world.connect(BOB);
    assert_eq!(world.market.scheduler().state().providers().len(), 1, "a client that offers nothing is not a provider");
}

#[test]
fn a_leaseholder_that_disconnects_has_its_grace() {
    let (mut world, job) = leased();
    world.feedback(ALICE, job, "processing").unwrap();
    world.disconnect(ALICE);
    world.wait_ms(4_999);
    world.connect(ALICE);
    world.wait_ms(60_000);
    assert_eq!(world.state(job), ("running".to_owned(), Some(pubkey(ALICE))));
    world.disconnect(ALICE);
    world.wait_ms(5_000);
    assert_eq!(tag(world.told("withdrawn").unwrap(), "reason").unwrap()[3], "disconnected");
    assert_eq!(world.state(job), ("leased".to_owned(), Some(pubkey(BOB))));
}

#[test]
fn connections_outlive_a_market_that_is_thrown_away() {
    let mut world = World::new();
    world.provider(ALICE, &[5050]);
    let market = std::mem::replace(&mut world.market, World::new().market);
    let presence = market.into_presence();
    let output = world.rebuild();
    world.commit(None, output);
    assert!(!is_online(&world, ALICE));
    let output = world.market.resume(world.now_ms, presence);
    world.commit(None, output);
    assert!(is_online(&world, ALICE));
}

#[test]
fn what_a_provider_signs_lately_keeps_it_alive() {
    let mut world = World::new();
    world.say(ALICE, 31990, tags!["k", 5050]).unwrap();
    let alive = |world: &World| world.market.scheduler().state().providers()[&ProviderId(pubkey(ALICE).0)].is_alive();
    world.wait_ms(899_000);
    assert!(alive(&world));
    world.say(ALICE, 11998, vec![]).unwrap();
    world.wait_ms(899_000);
    assert!(alive(&world));
    let old = Event::sign(&someone(ALICE), START_S, 1, &[], "");
    world.publish(&old).unwrap();
    world.wait_ms(1_000);
    assert!(!alive(&world), "an event of long ago is no sign of life");
    world.say(ALICE, 1, vec![]).unwrap();
    assert!(alive(&world));
}

#[test]
fn chatter_of_a_provider_does_not_fill_the_journal() {
    let mut world = World::new();
    world.say(ALICE, 31990, tags!["k", 5050]).unwrap();
    let before = world.store.journal().unwrap().len();
    for number in 0..100 {
        world.now_ms += 10;
        world.say(ALICE, 1, tags!["t", number]).unwrap();
    }
    assert_eq!(world.store.journal().unwrap().len(), before);
}

#[test]
fn a_repeated_advert_renews_life_only() {
    let mut world = World::new();
    world.provider(ALICE, &[5050]);
    let before = world.store.journal().unwrap().len();
    for _ in 0..10 {
        world.now_ms += 1_000;
        world.say(ALICE, 31990, tags!["k", 5050]).unwrap();
    }
    assert_eq!(world.store.journal().unwrap().len(), before);
}

#[test]
fn settings_that_contradict_each_other_make_no_market() {
    use mercato::market::{Audiences, MarketError, MarketKeys};
    let mut config = mercato::config::MarketConfig::default();
    config.attempts = config.max_attempts + 1;
    let store = std::sync::Arc::new(MemoryStore::new());
    let keys = MarketKeys::ephemeral().unwrap();
    let audiences = std::sync::Arc::new(Audiences::default());
    let error = Market::restore(&config, keys, audiences, std::iter::empty(), 0, store).unwrap_err();
    assert!(matches!(error, MarketError::Config(_)), "{error}");
}

/// A store whose reads fail while `broken`.
#[derive(Debug)]
struct Fragile {
    inner: std::sync::Arc<MemoryStore>,
    broken: std::sync::atomic::AtomicBool,
}

impl Fragile {
    fn check(&self) -> Result<(), StoreError> {
        match self.broken.load(std::sync::atomic::Ordering::SeqCst) {
            true => Err(StoreError::Damaged("test")),
            false => Ok(()),
        }
    }
}

impl Store for Fragile {
    fn get(&self, id: &EventId) -> Result<Option<Record>, StoreError> {
        self.check().and_then(|()| self.inner.get(id))
    }

    fn is_deleted(&self, id: &EventId, author: &Pubkey) -> Result<bool, StoreError> {
        self.check().and_then(|()| self.inner.is_deleted(id, author))
    }

    fn scan(
        &self,
        scan: &mut Scan,
        budget: u32,
        found: &mut dyn FnMut(Record) -> std::ops::ControlFlow<()>,
    ) -> Result<Progress, StoreError> {
        self.check().and_then(|()| self.inner.scan(scan, budget, found))
    }

    fn vanishing(&self) -> Result<Option<(Pubkey, u64)>, StoreError> {
        self.inner.vanishing()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        self.inner.begin()
    }

    fn journal(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        self.inner.journal()
    }

    fn expired(&self, now: u64, max: usize) -> Result<Vec<EventId>, StoreError> {
        self.inner.expired(now, max)
    }

    fn last_sequence(&self) -> u64 {
        self.inner.last_sequence()
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.inner.stats()
    }
}

#[test]
fn a_store_at_fault_is_told_and_changes_nothing() {
    let (mut world, job) = leased();
    let store = std::sync::Arc::new(Fragile { inner: world.store.clone(), broken: false.into() });
    let journal = world.store.journal().unwrap().into_iter();
    let (keys, audiences) = (world.keys.clone(), world.audiences.clone());
    let restored = Market::restore(&world.config, keys, audiences, journal, world.now_ms, store.clone());
    let (market, output) = restored.unwrap();
    world.market = market;
    world.commit(None, output);
    store.broken.store(true, std::sync::atomic::Ordering::SeqCst);
    let before = world.market.scheduler().state().clone();
    let told = "error: the store cannot be read now; try again later";
    let stranger = tags!["e", EventId([7; 32])];
    assert_eq!(world.say(MALLORY, 6050, stranger.clone()).unwrap_err(), told);
    assert_eq!(world.say(MALLORY, 31990, tags!["k", 5050]).unwrap_err(), told);
    assert_eq!(world.market.scheduler().state(), &before);
    // What only the wording of an announcement needs does not hold up a job.
    world.connect(BOB);
    world.say(ALICE, 7000, tags!["status", "error"; "e", job]).unwrap();
    let lease = world.told("assigned").unwrap();
    assert_eq!((value(lease, "p"), value(lease, "request")), (Some(pubkey(BOB).to_hex()), None));
    store.broken.store(false, std::sync::atomic::Ordering::SeqCst);
    world.say(MALLORY, 6050, stranger).unwrap();
    world.say(MALLORY, 31990, tags!["k", 5050]).unwrap();
    assert_eq!(kinds(&world, MALLORY), [5050], "the adverts were read after all");
}
