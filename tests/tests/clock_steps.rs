//! What a wall clock that somebody sets does to a running relay: events are judged and dated by it, and nothing else
//! changes. Jobs keep their time, forward and back; deliveries go on; nothing is lost.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mercato_tests::client::{Client, PATIENCE};
use mercato_tests::event::{Draft, Event, now_s};
use mercato_tests::http::{ask, relay_key};
use mercato_tests::market::{Customer, Lease, Provider, request};
use mercato_tests::relay::{Settings, run_verb};
use mercato_tests::shifted::ShiftedClock;
use mercato_tests::{Keys, Relay};
use serde_json::json;

const DAY: i64 = 86_400;
const KIND: u16 = 5_310;
/// Nobody advertises it.
const UNWANTED: u16 = 5_311;

fn settings() -> Settings {
    // A lease that nobody has answered must outlive the steps.
    Relay::settings().set("market.accept_timeout_s", 3_600).set("market.slots", 10)
}

/// The relay's wall clock, in seconds.
fn at(ahead_s: i64) -> u64 {
    now_s().saturating_add_signed(ahead_s)
}

async fn status(customer: &mut Customer, own: &str, job: &Event) -> anyhow::Result<String> {
    let state = customer.state(own, job).await?;
    state.value("status").map(str::to_owned).context("a state without a status")
}

/// What a tag says of when, less the relay's clock: seconds from now.
fn from_now(event: &Event, name: &str, ahead_s: i64) -> anyhow::Result<i64> {
    let when: u64 = event.value(name).with_context(|| format!("no {name}"))?.parse()?;
    Ok(when as i64 - at(ahead_s) as i64)
}

/// Dated by the relay's clock.
async fn deliver(provider: &mut Provider, lease: &Lease, ahead_s: i64) -> anyhow::Result<()> {
    let result = lease.result(KIND).at(at(ahead_s)).sign(&provider.keys);
    provider.client.store(&result).await
}

/// Waits until the relay has seen that its clock was set. It looks when it has something to commit.
async fn heeded(relay: &Relay, client: &mut Client, keys: &Keys, ahead_s: i64, times: usize) -> anyhow::Result<()> {
    let begun = Instant::now();
    for number in 0.. {
        client.store(&Draft::note(format!("{number}")).at(at(ahead_s)).sign(keys)).await?;
        if relay.log().matches("the wall clock was set").count() >= times {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "the relay does not notice");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_clock_that_is_set_changes_dates_and_nothing_else() -> anyhow::Result<()> {
    let Some(clock) = ShiftedClock::build()? else { return Ok(()) };
    let mut relay = clock.worn_by(settings()).start()?;
    let own = relay_key(&relay).await?;
    let keys = Keys::generate();
    let (mut client, mut watcher) = (Client::connect(&relay).await?, Client::connect(&relay).await?);
    watcher.subscribe("live", [json!({"authors": [keys.public_key().to_hex()], "kinds": [4_000]})]).await?;

    let mut provider = Provider::join(&relay, KIND).await?;
    let mut customer = Customer::join(&relay).await?;
    let running = customer.ask(request(KIND)).await?;
    let running_lease = provider.lease(&running).await?;
    provider.accept(&running_lease).await?;
    let leased = customer.ask(request(KIND).content("not answered yet")).await?;
    let leased_lease = provider.lease(&leased).await?;
    let queued = customer.ask(request(UNWANTED)).await?;
    let end = (now_s() + 3_600).to_string();
    let ending = Draft::note("for an hour").tag(["expiration", &end]).sign(&keys);
    client.store(&ending).await?;
    let mut acknowledged = vec![ending.id.clone()];

    // A day forward, a day back, to before it was started, and to where it belongs.
    for (number, ahead_s) in [DAY, -DAY, -400 * DAY, 0].into_iter().enumerate() {
        let here = format!("{ahead_s} s ahead");
        clock.set(ahead_s)?;
        heeded(&relay, &mut client, &keys, ahead_s, number + 1).await.context(here.clone())?;
        // Events: NIP-22 and NIP-40 go by the wall clock.
        let note = Draft::new(4_000).at(at(ahead_s)).content(here.clone()).sign(&keys);
        client.store(&note).await.context(here.clone())?;
        ensure!(watcher.live("live").await?.id == note.id, "{here}: live delivery goes on");
        acknowledged.push(note.id);
        let future = Draft::note(here.clone()).at(at(ahead_s) + 2_000).sign(&keys);
        client.refused(&future, "invalid").await.context(here.clone())?;
        let is_served = !client.query_ids([json!({"ids": [ending.id]})]).await?.is_empty();
        ensure!(is_served == (ahead_s <= 0), "{here}: an event that ends in an hour is served: {is_served}");
        // Jobs: time is what has passed.
        tokio::time::sleep(Duration::from_millis(300)).await;
        for (job, expected) in [(&running, "running"), (&leased, "leased"), (&queued, "queued")] {
            let status = status(&mut customer, &own, job).await?;
            ensure!(status == expected, "{here}: a job that was {expected} is {status}");
        }
        let job = customer.ask(request(KIND).at(at(ahead_s)).content(here.clone())).await.context(here.clone())?;
        let told = provider.client.live_until("leases", |event| event.value("e") == Some(&job.id)).await?;
        ensure!(told.created_at.abs_diff(at(ahead_s)) < 60, "{here}: a lease is dated {}", told.created_at);
        let left = from_now(&told, "deadline", ahead_s)?;
        ensure!((3_500..=3_660).contains(&left), "{here}: the lease says that it ends in {left} s");
        let state = customer.state(&own, &job).await?;
        let left = from_now(&state, "deadline", ahead_s)?;
        ensure!((3_500..=3_660).contains(&left), "{here}: the state says that the job ends in {left} s");
        let lease = Lease::read(&told)?.context("a lease")?;
        deliver(&mut provider, &lease, ahead_s).await.context(here.clone())?;
        // Neither does a step back stop the time of what is short.
        let short = request(KIND).at(at(ahead_s)).tag(["timeout", "accept", "1"]).tag(["attempts", "1"]);
        let short = customer.ask(short).await?;
        let begun = Instant::now();
        while status(&mut customer, &own, &short).await? != "failed" {
            ensure!(begun.elapsed() < PATIENCE, "{here}: a lease of a second does not end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        ensure!(ask(&relay, "GET", "/health", &[]).await?.status == 200, "{here}: it lives");
    }
    deliver(&mut provider, &running_lease, 0).await.context("the first lease still holds")?;
    deliver(&mut provider, &leased_lease, 0).await.context("the second lease still holds")?;
    ensure!(client.query_ids([json!({"ids": acknowledged})]).await?.len() == acknowledged.len(), "events are lost");

    relay.stop()?;
    let store = format!("store.path={}", Relay::store_in(relay.folder()).display());
    ensure!(run_verb(&["check", "--set", &store], b"")?.contains("are sound"), "the store is sound");
    Ok(())
}

#[tokio::test]
async fn a_relay_that_comes_back_a_day_earlier_than_it_was_killed_goes_on() -> anyhow::Result<()> {
    let Some(clock) = ShiftedClock::build()? else { return Ok(()) };
    clock.set(DAY)?;
    let mut relay = clock.worn_by(settings().set("market.restart_grace_s", 1)).start()?;
    let own = relay_key(&relay).await?;
    let mut customer = join_at(&relay, DAY).await?;
    let job = request(KIND).tag(["timeout", "accept", "2"]).at(at(DAY)).sign(&customer.keys);
    let provider = Keys::generate();
    customer.client.store(&mercato_tests::market::advert(KIND).at(at(DAY)).sign(&provider)).await?;
    customer.client.store(&job).await?;
    ensure!(status(&mut customer, &own, &job).await? == "leased", "the job is leased");
    relay.kill()?;
    clock.set(0)?;
    relay.restart()?;
    let mut customer = join_at(&relay, 0).await?;
    let begun = Instant::now();
    // Silent providers are asked no more than once: the job goes back into the queue.
    while status(&mut customer, &own, &job).await? != "queued" {
        ensure!(begun.elapsed() < 2 * PATIENCE, "the lease of two seconds does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The newest state is dated after the one before, which was dated tomorrow, but what it says is of today.
    let left = from_now(&customer.state(&own, &job).await?, "deadline", 0)?;
    ensure!((3_000..=3_660).contains(&left), "the state says that the job ends in {left} s");
    Ok(())
}

/// A customer who answers the relay's challenge by the relay's clock.
async fn join_at(relay: &Relay, ahead_s: i64) -> anyhow::Result<Customer> {
    let keys = Keys::generate();
    let mut client = Client::connect(relay).await?;
    let answer = Draft::new(22_242).tag(["relay", client.url()]).tag(["challenge", &client.challenge]);
    let verdict = client.send_auth(&answer.at(at(ahead_s)).sign(&keys)).await?;
    ensure!(verdict.accepted, "AUTH was refused: {}", verdict.text);
    Ok(Customer { keys, client })
}
