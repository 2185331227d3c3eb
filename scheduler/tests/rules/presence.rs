//! Who is there, and what a disconnect does.

use crate::bench::*;
use mercato_scheduler::*;

fn running() -> Bench {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    bench.ask(1, request());
    bench.say(1, 1, processing()).expect("heard");
    bench
}

fn seen(bench: &mut Bench, n: u8) -> Vec<Effect> {
    bench.step(Input::Seen { provider: provider(n) }).expect("seen")
}

#[test]
fn a_disconnected_leaseholder_loses_the_lease_after_the_grace() {
    let mut bench = running();
    bench.online(2, advert(None));
    bench.at(20).offline(1);
    assert_eq!(bench.view(1).leases[0].expires_at_ms, 25);
    assert_eq!(bench.tick(24), []);
    let effects = bench.tick(25);
    assert_eq!(withdrawals(&effects), [(provider(1), Reason::Disconnected)]);
    assert_eq!(leases(&effects), [(job(1), provider(2))]);
    assert_eq!(bench.row(1).failed, 1);
}

#[test]
fn a_leaseholder_back_within_the_grace_goes_on() {
    let mut bench = running();
    bench.at(20).offline(1);
    bench.at(24).step(Input::Online { provider: provider(1) }).expect("online");
    assert_eq!(bench.tick(90), []);
    assert_eq!(bench.status(1), Status::Running);
    bench.deliver(1, 1).expect("accepted");
}

#[test]
fn a_message_during_the_grace_does_not_lift_it() {
    let mut bench = running();
    bench.at(20).offline(1);
    seen(bench.at(22), 1);
    assert_eq!(withdrawals(&bench.tick(25)), [(provider(1), Reason::Disconnected)]);
}

#[test]
fn a_provider_in_grace_gets_no_lease() {
    let mut bench = Bench::new();
    bench.online(1, advert_with(&[], 2));
    bench.offline(1);
    bench.at(1).ask(1, request());
    assert_eq!(bench.status(1), Status::Queued);
    seen(&mut bench, 1);
    assert_eq!(bench.status(1), Status::Queued);
}

#[test]
fn a_provider_that_left_is_alive_again_when_it_signs_something() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    bench.offline(1);
    bench.at(5).ask(1, request());
    assert_eq!(bench.status(1), Status::Queued);
    assert_eq!(leases(&seen(&mut bench, 1)), [(job(1), provider(1))]);
}

#[test]
fn liveness_without_a_connection_lasts_for_the_window() {
    for (asked_ms, expected) in [(899, Status::Leased), (900, Status::Queued)] {
        let mut bench = Bench::new();
        bench.advertise(1, advert(None));
        bench.tick(asked_ms);
        bench.ask(1, request());
        assert_eq!(bench.status(1), expected, "{asked_ms}");
    }
}

#[test]
fn an_advert_alone_is_no_sign_of_life() {
    let mut bench = Bench::new();
    bench.step(Input::Advertise { provider: provider(1), advert: advert(None) }).expect("advertised");
    bench.ask(1, request());
    assert_eq!(bench.status(1), Status::Queued);
    assert_eq!(leases(&seen(&mut bench, 1)), [(job(1), provider(1))]);
}

#[test]
fn being_seen_renews_the_window_in_coarse_steps() {
    let mut bench = Bench::new();
    bench.advertise(1, advert(None));
    seen(bench.at(29), 1);
    assert_eq!(bench.row(1).presence, Presence::Seen { until_ms: 900 });
    seen(bench.at(30), 1);
    assert_eq!(bench.row(1).presence, Presence::Seen { until_ms: 930 });
}

#[test]
fn an_unauthenticated_provider_knows_no_grace() {
    let mut bench = Bench::new();
    bench.advertise(1, advert(None));
    bench.ask(1, request());
    bench.at(1).offline(1);
    bench.step(Input::Restarted).expect("restarted");
    let lease = bench.scheduler.state().jobs()[&job(1)].leases.first().expect("it still holds its lease");
    assert_eq!(lease.grace_until_ms, None);
}

#[test]
fn after_a_restart_leaseholders_have_the_restart_grace() {
    let mut bench = running();
    bench.at(90).step(Input::Restarted).expect("restarted");
    assert_eq!(bench.tick(104), []);
    assert_eq!(withdrawals(&bench.tick(105)), [(provider(1), Reason::Disconnected)]);
}

#[test]
fn a_leaseholder_back_after_a_restart_goes_on() {
    let mut bench = running();
    bench.at(99).step(Input::Restarted).expect("restarted");
    bench.at(110).step(Input::Online { provider: provider(1) }).expect("online");
    assert_eq!(bench.tick(113), []);
    bench.deliver(1, 1).expect("accepted");
}

#[test]
fn nobody_is_blamed_for_the_relays_absence() {
    let mut bench = running();
    bench.at(400).step(Input::Restarted).expect("restarted");
    bench.at(401).step(Input::Online { provider: provider(1) }).expect("online");
    assert_eq!(bench.tick(414), []);
    assert_eq!(withdrawals(&bench.tick(415)), [(provider(1), Reason::RunTimeout)]);
}

#[test]
fn an_absence_does_not_move_the_jobs_deadline() {
    let mut bench = running();
    bench.at(995).step(Input::Restarted).expect("restarted");
    assert_eq!(ends(&bench.tick(1_000)), [(End::Expired, Some(provider(1)))]);
}

#[test]
fn an_unadvertised_provider_keeps_its_lease_and_gets_no_other() {
    let mut bench = Bench::new();
    bench.online(1, advert_with(&[], 2));
    bench.ask(1, request());
    bench.step(Input::Unadvertise { provider: provider(1) }).expect("unadvertised");
    bench.ask(2, request());
    assert_eq!((bench.status(1), bench.status(2)), (Status::Leased, Status::Queued));
    bench.deliver(1, 1).expect("accepted");
}

#[test]
fn a_visitor_leaves_nothing_behind() {
    let mut bench = Bench::new();
    bench.step(Input::Online { provider: provider(1) }).expect("online");
    bench.offline(1);
    assert!(bench.scheduler.state().providers().is_empty());
}

#[test]
fn a_repeated_advert_is_no_news() {
    let mut bench = Bench::new();
    bench.online(1, advert(None));
    let length = bench.journal.len();
    bench.online(1, advert(None));
    assert_eq!(bench.journal.len(), length);
}
