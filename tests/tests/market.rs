//! The market end to end: what customers and providers are told, and what they may not do. Each test has a job kind
//! of its own, so that all can share one relay; see docs/market.md for the protocol.

use std::slice::from_ref;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mercato_tests::client::Client;
use mercato_tests::event::{Draft, Event, now_s};
use mercato_tests::http::relay_key;
use mercato_tests::market::{Customer, JOB, LEASES, Lease, Provider, advert, request};
use mercato_tests::relay::{Lent, Settings, Shared};
use mercato_tests::said::prefix;
use mercato_tests::{Keys, Relay};
use serde_json::json;

static RELAY: Shared = Shared::new();

const ACCEPT: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_secs(1);

/// The times of production, made short enough to wait for.
fn settings() -> Settings {
    Relay::settings()
        .set("market.accept_timeout_s", ACCEPT.as_secs())
        .set("market.disconnect_grace_s", GRACE.as_secs())
        .set("market.restart_grace_s", 2)
        .set("market.run_timeout_s", 30)
        .set("market.job_timeout_s", 60)
}

fn relay() -> anyhow::Result<Lent> {
    RELAY.get_with(settings)
}

/// Checks what the relay's public state of a job says.
async fn check_state(
    customer: &mut Customer,
    relay: &Relay,
    job: &Event,
    expected: &[(&str, &str)],
) -> anyhow::Result<()> {
    let state = customer.state(&relay_key(relay).await?, job).await?;
    for (name, value) in expected {
        ensure!(state.value(name) == Some(*value), "{name} should be {value}: {:?}", state.tags);
    }
    Ok(())
}

/// Two providers, one of which holds the lease: the holder first.
async fn holder_and_other(
    relay: &Relay,
    customer: &mut Customer,
    kind: u16,
) -> anyhow::Result<(Event, Lease, Provider, Provider)> {
    let (one, two) = (Provider::join(relay, kind).await?, Provider::join(relay, kind).await?);
    let job = customer.ask(request(kind)).await?;
    let lease = customer.told_of_lease().await?;
    let (mut holder, other) = if lease.provider == one.pubkey() { (one, two) } else { (two, one) };
    ensure!(holder.lease(&job).await? == lease, "the provider was told of another lease");
    Ok((job, lease, holder, other))
}

#[tokio::test]
async fn a_job_is_leased_run_and_delivered_with_both_sides_told() -> anyhow::Result<()> {
    let relay = relay()?;
    let own = relay_key(&relay).await?;
    let (mut customer, mut provider) = (Customer::join(&relay).await?, Provider::join(&relay, 5_100).await?);
    let job = customer.ask(request(5_100)).await?;

    let told = customer.told("assigned").await?;
    assert_eq!(told.pubkey, own, "leases are signed by the relay");
    told.check_id()?;
    let lease = Lease::read(&told)?.context("a lease")?;
    assert_eq!(lease.job, job.id);
    assert_eq!(lease.provider, provider.pubkey());
    assert_eq!(lease.customer, job.pubkey);
    assert_eq!(lease.attempt, 1);
    let carried: serde_json::Value = serde_json::from_str(lease.request.as_deref().context("no request")?)?;
    assert_eq!(Event::from_json(&carried)?, job, "the lease carries the whole request");
    for name in ["why", "seed"] {
        ensure!(told.value(name).is_some(), "a lease without {name}: {:?}", told.tags);
    }
    assert_eq!(provider.lease(&job).await?, lease);
    let number = lease.number.to_string();
    check_state(&mut customer, &relay, &job, &[("status", "leased"), ("lease", &number)]).await?;

    provider.accept(&lease).await?;
    let processing = customer.told("processing").await?;
    assert_eq!(processing.pubkey, provider.pubkey());
    check_state(&mut customer, &relay, &job, &[("status", "running"), ("provider", &provider.pubkey())]).await?;

    let result = provider.deliver(&lease).await?;
    assert_eq!(customer.told_of_result(5_100).await?.id, result);
    assert_eq!(customer.told("success").await?.value("result"), Some(&*result));
    check_state(&mut customer, &relay, &job, &[("status", "succeeded"), ("result", &result)]).await
}

#[tokio::test]
async fn a_provider_that_dies_after_accepting_is_replaced_within_its_grace_and_a_second() -> anyhow::Result<()> {
    let relay = relay()?;
    let mut customer = Customer::join(&relay).await?;
    let (job, lease, mut holder, mut other) = holder_and_other(&relay, &mut customer, 5_101).await?;
    holder.accept(&lease).await?;
    customer.told("processing").await?;
    let died = Instant::now();
    drop(holder);
    let next = customer.told_of_lease().await?;
    let took = died.elapsed();
    assert_eq!(next.provider, other.pubkey());
    assert_eq!(next.attempt, 2);
    ensure!(took >= GRACE - Duration::from_millis(50), "its grace was cut short to {took:?}");
    ensure!(took <= GRACE + Duration::from_secs(1), "it took {took:?}");
    assert_eq!(other.lease(&job).await?, next);
    other.accept(&next).await?;
    other.deliver(&next).await?;
    customer.told("success").await?;
    Ok(())
}

#[tokio::test]
async fn a_provider_that_is_back_within_its_grace_keeps_its_lease() -> anyhow::Result<()> {
    let relay = relay()?;
    let mut customer = Customer::join(&relay).await?;
    let (job, lease, mut holder, _other) = holder_and_other(&relay, &mut customer, 5_102).await?;
    holder.accept(&lease).await?;
    let keys = holder.keys.clone();
    drop(holder);
    let mut back = Provider::connect(&relay, 5_102, keys).await?;
    tokio::time::sleep(GRACE + Duration::from_millis(500)).await;
    let number = lease.number.to_string();
    check_state(&mut customer, &relay, &job, &[("status", "running"), ("lease", &number)]).await?;
    back.deliver(&lease).await?;
    customer.told("success").await?;
    Ok(())
}

#[tokio::test]
async fn a_provider_that_says_nothing_loses_its_lease_and_the_next_one_gets_it() -> anyhow::Result<()> {
    let relay = relay()?;
    let mut customer = Customer::join(&relay).await?;
    let asked = Instant::now();
    let (_, lease, _holder, other) = holder_and_other(&relay, &mut customer, 5_103).await?;
    let withdrawn = customer.told("withdrawn").await?;
    assert_eq!(withdrawn.value("lease"), Some(&*lease.number.to_string()));
    assert!(withdrawn.has("p", &lease.provider), "whose lease it was: {:?}", withdrawn.tags);
    assert_eq!(customer.told_of_lease().await?.provider, other.pubkey());
    ensure!(asked.elapsed() >= ACCEPT, "after {:?} already", asked.elapsed());
    Ok(())
}

#[tokio::test]
async fn with_all_providers_gone_a_job_waits_for_the_next_that_advertises() -> anyhow::Result<()> {
    let relay = relay()?;
    let mut customer = Customer::join(&relay).await?;
    let (job, lease, mut holder, other) = holder_and_other(&relay, &mut customer, 5_104).await?;
    holder.accept(&lease).await?;
    drop(other);
    tokio::time::sleep(GRACE + Duration::from_millis(300)).await;
    drop(holder);
    customer.told("withdrawn").await?;
    check_state(&mut customer, &relay, &job, &[("status", "queued")]).await?;
    let mut third = Provider::join(&relay, 5_104).await?;
    let next = customer.told_of_lease().await?;
    assert_eq!(next.provider, third.pubkey());
    assert_eq!(third.lease(&job).await?, next);
    third.deliver(&next).await?;
    customer.told("success").await?;
    Ok(())
}

#[tokio::test]
async fn a_job_that_nobody_can_take_ends_at_its_deadline_with_an_error_that_says_so() -> anyhow::Result<()> {
    let relay = relay()?;
    let mut customer = Customer::join(&relay).await?;
    let deadline = now_s() + 2;
    let job = customer.ask(request(5_105).tag(["deadline", &deadline.to_string()])).await?;
    check_state(&mut customer, &relay, &job, &[("status", "queued"), ("deadline", &deadline.to_string())]).await?;
    let end = customer.told("error").await?;
    assert_eq!(end.pubkey, relay_key(&relay).await?);
    ensure!(end.content.contains("deadline"), "it does not say why: {:?}", end.content);
    ensure!(now_s() >= deadline && now_s() <= deadline + 2, "{} seconds off", now_s().abs_diff(deadline));
    check_state(&mut customer, &relay, &job, &[("status", "expired")]).await
}

#[tokio::test]
async fn a_result_of_somebody_who_never_held_a_lease_is_refused_and_moves_nothing() -> anyhow::Result<()> {
    let relay = relay()?;
    let (mut customer, mut provider) = (Customer::join(&relay).await?, Provider::join(&relay, 5_106).await?);
    let job = customer.ask(request(5_106)).await?;
    let lease = provider.lease(&job).await?;
    provider.accept(&lease).await?;
    let mut stranger = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let own = customer.keys.clone();
    for (forger, draft) in
        [(&keys, lease.result(5_106)), (&keys, lease.feedback("processing")), (&keys, lease.feedback("error"))]
    {
        stranger.refused(&draft.sign(forger), "restricted").await?;
    }
    // Nor may the customer answer its own request.
    customer.client.refused(&lease.result(5_106).sign(&own), "restricted").await?;
    let number = lease.number.to_string();
    check_state(&mut customer, &relay, &job, &[("status", "running"), ("lease", &number)]).await?;
    provider.deliver(&lease).await?;
    customer.told("success").await?;
    Ok(())
}

#[tokio::test]
async fn feedback_and_results_under_another_lease_number_are_refused_and_move_nothing() -> anyhow::Result<()> {
    let relay = relay()?;
    let (mut customer, mut provider) = (Customer::join(&relay).await?, Provider::join(&relay, 5_107).await?);
    let job = customer.ask(request(5_107)).await?;
    let lease = provider.lease(&job).await?;
    provider.accept(&lease).await?;
    let wrong = Lease { number: lease.number + 1_000, ..lease.clone() };
    for draft in [wrong.feedback("error"), wrong.result(5_107)] {
        let verdict = provider.say(draft).await?;
        ensure!(!verdict.accepted && prefix(&verdict.text) == Some("restricted"), "{verdict:?}");
    }
    let number = lease.number.to_string();
    check_state(&mut customer, &relay, &job, &[("status", "running"), ("lease", &number)]).await
}

#[tokio::test]
async fn feedback_under_an_old_lease_is_refused_and_moves_nothing() -> anyhow::Result<()> {
    let relay = relay()?;
    let mut customer = Customer::join(&relay).await?;
    let (job, lease, mut holder, mut other) = holder_and_other(&relay, &mut customer, 5_108).await?;
    let next = other.lease(&job).await?;
    other.accept(&next).await?;
    for status in ["processing", "error", "partial"] {
        let verdict = holder.say(lease.feedback(status)).await?;
        ensure!(!verdict.accepted && prefix(&verdict.text) == Some("restricted"), "{status}: {verdict:?}");
        ensure!(verdict.text.contains(&lease.number.to_string()), "it does not say which lease: {verdict:?}");
        // Nor does it count under the number of the lease that is alive.
        let verdict = holder.say(next.feedback(status)).await?;
        ensure!(!verdict.accepted, "{status} counted under somebody else's lease");
    }
    check_state(&mut customer, &relay, &job, &[("status", "running"), ("lease", &next.number.to_string())]).await
}

#[tokio::test]
async fn a_second_result_is_refused() -> anyhow::Result<()> {
    let relay = relay()?;
    let (mut customer, mut provider) = (Customer::join(&relay).await?, Provider::join(&relay, 5_109).await?);
    let job = customer.ask(request(5_109)).await?;
    let lease = provider.lease(&job).await?;
    let first = provider.deliver(&lease).await?;
    let verdict = provider.say(lease.result(5_109).content("better")).await?;
    ensure!(!verdict.accepted && prefix(&verdict.text) == Some("blocked"), "{verdict:?}");
    check_state(&mut customer, &relay, &job, &[("status", "succeeded"), ("result", &first)]).await
}

#[tokio::test]
async fn a_late_result_wins_while_the_job_is_open_and_the_live_lease_is_withdrawn() -> anyhow::Result<()> {
    let relay = relay()?;
    let mut customer = Customer::join(&relay).await?;
    let (job, lease, mut late, mut other) = holder_and_other(&relay, &mut customer, 5_110).await?;
    let next = other.lease(&job).await?;
    other.accept(&next).await?;
    let result = late.deliver(&lease).await?;
    let withdrawn = other.client.live_until(LEASES, |event| event.value("status") == Some("withdrawn")).await?;
    assert_eq!(withdrawn.value("lease"), Some(&*next.number.to_string()));
    assert_eq!(customer.told("success").await?.value("result"), Some(&*result));
    let verdict = other.say(next.result(5_110)).await?;
    ensure!(!verdict.accepted && prefix(&verdict.text) == Some("blocked"), "{verdict:?}");
    check_state(&mut customer, &relay, &job, &[("status", "succeeded"), ("result", &result)]).await
}

#[tokio::test]
async fn a_customer_cancels_its_job_and_nobody_else_does() -> anyhow::Result<()> {
    let relay = relay()?;
    let (mut customer, mut provider) = (Customer::join(&relay).await?, Provider::join(&relay, 5_111).await?);
    let job = customer.ask(request(5_111)).await?;
    let lease = provider.lease(&job).await?;
    provider.accept(&lease).await?;
    let cancel = Draft::new(5).tag(["e", &job.id]).tag(["k", "5111"]);
    provider.client.publish(&cancel.clone().sign(&provider.keys)).await?;
    check_state(&mut customer, &relay, &job, &[("status", "running"), ("attempt", "1")]).await?;

    let cancelled = cancel.sign(&customer.keys);
    customer.client.store(&cancelled).await?;
    customer.told("cancelled").await?;
    check_state(&mut customer, &relay, &job, &[("status", "cancelled")]).await?;
    provider.client.live_until(LEASES, |event| event.value("status") == Some("withdrawn")).await?;
    let verdict = provider.say(lease.result(5_111)).await?;
    ensure!(!verdict.accepted && prefix(&verdict.text) == Some("blocked"), "{verdict:?}");
    Ok(())
}

#[tokio::test]
async fn a_provider_that_reports_an_error_makes_way_and_is_not_asked_again() -> anyhow::Result<()> {
    let relay = relay()?;
    let mut customer = Customer::join(&relay).await?;
    let (one, two) = (Provider::join(&relay, 5_112).await?, Provider::join(&relay, 5_112).await?);
    let mut providers = [one, two];
    let job = customer.ask(request(5_112).tag(["attempts", "2"])).await?;
    for attempt in 1..=2 {
        let lease = customer.told_of_lease().await?;
        assert_eq!(lease.attempt, attempt);
        let holder = providers.iter_mut().find(|provider| provider.pubkey() == lease.provider).context("no holder")?;
        let verdict = holder.say(lease.feedback("error").content(format!("out of memory {attempt}"))).await?;
        ensure!(verdict.accepted, "{verdict:?}");
    }
    let own = relay_key(&relay).await?;
    let is_end = |event: &Event| event.pubkey == own && event.value("status") == Some("error");
    let end = customer.client.live_until(JOB, is_end).await?;
    for reason in ["out of memory 1", "out of memory 2"] {
        ensure!(end.content.contains(reason), "every reason is told: {:?}", end.content);
    }
    check_state(&mut customer, &relay, &job, &[("status", "failed")]).await
}

#[tokio::test]
async fn a_leased_request_is_hidden_from_strangers_feeds_and_open_to_who_names_it() -> anyhow::Result<()> {
    let relay = relay()?;
    let feed = json!({"kinds": [5113]});
    let (mut stranger, mut customer) = (Client::connect(&relay).await?, Customer::join(&relay).await?);
    stranger.authenticate(&Keys::generate()).await?;
    stranger.subscribe("feed", [feed.clone()]).await?;
    let mut named = Client::connect(&relay).await?;
    let named_keys = Keys::generate();
    named.authenticate(&named_keys).await?;
    named.subscribe("feed", [feed.clone()]).await?;
    let job = customer.ask(request(5_113).tag(["p", &named_keys.public_key().to_hex()])).await?;

    assert_eq!(named.live("feed").await?, job, "who is named sees it live");
    assert_eq!(named.query([feed.clone()]).await?, from_ref(&job), "and stored");
    assert_eq!(customer.client.query([feed.clone()]).await?, from_ref(&job), "as does its author");

    let narrower = [
        json!({"kinds": [5113], "authors": [job.pubkey]}),
        json!({"authors": [job.pubkey]}),
        json!({"#p": [named_keys.public_key().to_hex()], "kinds": [5113]}),
    ];
    for filter in narrower.into_iter().chain([feed.clone()]) {
        assert!(stranger.query([filter.clone()]).await?.is_empty(), "{filter} shows it to a stranger");
    }
    assert_eq!(stranger.query([json!({"ids": [job.id]})]).await?, from_ref(&job));
    let states = stranger.query([json!({"#e": [job.id], "kinds": [30383]})]).await?;
    assert_eq!(states.len(), 1, "what is said about it is public");

    // The first thing that the stranger's feed ever shows is a request that is open to all.
    let open = customer.ask(request(5_113).tag(["dispatch", "open"])).await?;
    assert_eq!(stranger.live("feed").await?, open);
    Ok(())
}

#[tokio::test]
async fn replicas_do_not_see_each_others_results_until_a_quorum_decides() -> anyhow::Result<()> {
    const KIND: u16 = 5_130;
    let relay = relay()?;
    let mut customer = Customer::join(&relay).await?;
    let (mut one, mut two) = (Provider::join(&relay, KIND).await?, Provider::join(&relay, KIND).await?);
    let job = customer.ask(request(KIND).tag(["replicas", "2"])).await?;
    let (lease_one, lease_two) = (one.lease(&job).await?, two.lease(&job).await?);
    let mut stranger = Client::connect(&relay).await?;
    two.client.subscribe("results", [json!({"#e": [job.id], "kinds": [KIND + 1_000]})]).await?;
    stranger.subscribe("results", [json!({"kinds": [KIND + 1_000]})]).await?;

    let first = one.deliver(&lease_one).await?;
    assert_eq!(customer.told_of_result(KIND).await?.id, first, "the customer has it at once");
    let questions = [
        json!({"ids": [first]}),
        json!({"#e": [job.id], "kinds": [KIND + 1_000]}),
        json!({"kinds": [KIND + 1_000]}),
        json!({"authors": [one.pubkey()], "kinds": [KIND + 1_000]}),
    ];
    for question in questions.clone() {
        for client in [&mut stranger, &mut two.client] {
            assert!(client.query([question.clone()]).await?.is_empty(), "{question} shows it");
            assert_eq!(client.count([question.clone()]).await?, 0, "{question} counts it");
        }
        for client in [&mut customer.client, &mut one.client] {
            assert_eq!(client.query_ids([question.clone()]).await?, from_ref(&first));
            assert_eq!(client.count([question.clone()]).await?, 1);
        }
    }
    assert!(two.client.drain("results").is_empty() && stranger.drain("results").is_empty());
    check_state(&mut customer, &relay, &job, &[("status", "leased"), ("results", "1")]).await?;

    let second = two.deliver(&lease_two).await?;
    let end = customer.told("success").await?;
    assert_eq!(end.value("result"), Some(&*first));
    assert_eq!(end.named("verdict").filter(|verdict| verdict.iter().any(|word| word == "pass")).count(), 2);
    for client in [&mut stranger, &mut two.client] {
        let mut live = [client.live("results").await?.id, client.live("results").await?.id];
        live.sort_unstable();
        let mut expected = [first.clone(), second.clone()];
        expected.sort_unstable();
        assert_eq!(live, expected, "both are delivered when the job ends");
        assert_eq!(client.count([json!({"kinds": [KIND + 1_000]})]).await?, 2);
    }
    let verdicts = stranger.query([json!({"kinds": [1985], "#e": [first]})]).await?;
    assert_eq!(verdicts.len(), 1);
    assert_eq!((verdicts[0].value("l"), &verdicts[0].pubkey), (Some("pass"), &relay_key(&relay).await?));
    Ok(())
}

#[tokio::test]
async fn a_job_waits_for_another_and_is_leased_with_its_result() -> anyhow::Result<()> {
    let relay = relay()?;
    let (mut customer, mut provider) = (Customer::join(&relay).await?, Provider::join(&relay, 5_190).await?);
    let first = customer.ask(request(5_190)).await?;
    let lease = customer.told_of_lease().await?;
    let mut follower = Customer::join(&relay).await?;
    let second = follower.ask(request(5_190).tag(["i", &first.id, "job"])).await?;
    check_state(&mut follower, &relay, &second, &[("status", "blocked"), ("input", &first.id)]).await?;

    let result = provider.deliver(&lease).await?;
    let told = follower.told("assigned").await?;
    let input = told.tags.iter().find(|tag| tag[0] == "input").context("a lease without its input")?;
    assert_eq!(input[1..], [first.id.clone(), result]);
    let lease = Lease::read(&told)?.context("a lease")?;
    let result = provider.deliver(&lease).await?;
    assert_eq!(follower.told("success").await?.value("result"), Some(&*result));
    Ok(())
}

#[tokio::test]
async fn offers_are_sealed_and_the_lowest_is_paid_the_second_lowest() -> anyhow::Result<()> {
    let relay = relay()?;
    let mut customer = Customer::join(&relay).await?;
    let (mut one, mut two) = (Provider::join(&relay, 5_191).await?, Provider::join(&relay, 5_191).await?);
    let job = customer.ask(request(5_191).tag(["auction", "8", "second-price"]).tag(["bid", "9000"])).await?;
    check_state(&mut customer, &relay, &job, &[("status", "bidding")]).await?;
    let offer =
        |msat: &'static str| Draft::new(7_000).tag(["status", "offer"]).tag(["e", &job.id]).tag(["amount", msat]);
    let cheap = offer("2000").sign(&two.keys);
    one.client.store(&offer("5000").sign(&one.keys)).await?;
    two.client.store(&cheap).await?;
    let seen = one.client.query([json!({"ids": [cheap.id]})]).await?;
    ensure!(seen.is_empty(), "an offer is not sealed: {seen:?}");

    let told = customer.told("assigned").await?;
    assert_eq!(told.value("amount"), Some("5000"));
    let lease = Lease::read(&told)?.context("a lease")?;
    assert_eq!(lease.provider, two.pubkey());
    assert_eq!(one.client.query([json!({"ids": [cheap.id]})]).await?.len(), 1);
    two.deliver(&lease).await?;
    customer.told("success").await?;
    Ok(())
}

#[tokio::test]
async fn a_validator_is_asked_before_a_result_is_accepted() -> anyhow::Result<()> {
    let relay = relay()?;
    let mut customer = Customer::join(&relay).await?;
    let (mut provider, mut validator) = (Provider::join(&relay, 5_195).await?, Provider::join(&relay, 5_702).await?);
    let job = customer.ask(request(5_195).tag(["validate", "validator"])).await?;
    let lease = provider.lease(&job).await?;
    let result = provider.deliver(&lease).await?;

    let order = validator.next_lease().await?;
    let asked = validator.client.query([json!({"ids": [order.job]})]).await?;
    let asked = asked.first().context("the order is stored")?;
    assert_eq!((asked.kind, asked.value("i")), (5_702, Some(result.as_str())));
    check_state(&mut customer, &relay, &job, &[("status", "validating"), ("validation", &order.job)]).await?;
    let verdict = validator.say(order.result(5_702).content("pass")).await?;
    ensure!(verdict.accepted, "a verdict was refused: {}", verdict.text);

    let end = customer.told("success").await?;
    assert_eq!((end.value("validated"), end.value("result")), (Some("pass"), Some(result.as_str())));
    Ok(())
}

#[tokio::test]
async fn a_hidden_request_does_not_use_up_a_strangers_limit() -> anyhow::Result<()> {
    let relay = relay()?;
    let (mut stranger, mut customer) = (Client::connect(&relay).await?, Customer::join(&relay).await?);
    let open = customer.ask(request(5_114).tag(["dispatch", "open"]).at(now_s() - 10)).await?;
    for _ in 0..5 {
        customer.ask(request(5_114).tag(["nonce", &Keys::generate().public_key().to_hex()])).await?;
    }
    assert_eq!(stranger.query([json!({"kinds": [5114], "limit": 1})]).await?, [open]);
    Ok(())
}

#[tokio::test]
async fn an_open_request_is_raced_for_by_all_who_see_it() -> anyhow::Result<()> {
    let relay = relay()?;
    let (mut racer, mut customer) = (Client::connect(&relay).await?, Customer::join(&relay).await?);
    racer.subscribe("feed", [json!({"kinds": [5115]})]).await?;
    let job = customer.ask(request(5_115).tag(["dispatch", "open"])).await?;
    assert_eq!(racer.live("feed").await?, job);
    assert_eq!(racer.query([json!({"kinds": [5115]})]).await?, from_ref(&job));
    check_state(&mut customer, &relay, &job, &[("status", "open")]).await?;
    let result = Draft::new(6_115).tag(["e", &job.id]).tag(["p", &job.pubkey]).content("42").sign(&Keys::generate());
    racer.store(&result).await?;
    assert_eq!(customer.told_of_result(5_115).await?, result);
    check_state(&mut customer, &relay, &job, &[("status", "succeeded"), ("result", &result.id)]).await
}

#[tokio::test]
async fn authentication_gives_an_open_subscription_the_requests_of_its_leases() -> anyhow::Result<()> {
    let relay = relay()?;
    let (mut customer, mut client) = (Customer::join(&relay).await?, Client::connect(&relay).await?);
    let keys = Keys::generate();
    client.subscribe("feed", [json!({"kinds": [5116]})]).await?;
    client.store(&advert(5_116).sign(&keys)).await?;
    client.authenticate(&keys).await?;
    let job = customer.ask(request(5_116)).await?;
    assert_eq!(client.live("feed").await?, job);
    assert_eq!(client.query([json!({"kinds": [5116]})]).await?, [job]);
    Ok(())
}

#[tokio::test]
async fn a_provider_that_never_authenticates_works_from_its_leases_alone() -> anyhow::Result<()> {
    let relay = relay()?;
    let (mut customer, mut client) = (Customer::join(&relay).await?, Client::connect(&relay).await?);
    let keys = Keys::generate();
    client.subscribe(LEASES, [json!({"kinds": [7000], "#p": [keys.public_key().to_hex()]})]).await?;
    client.store(&advert(5_117).sign(&keys)).await?;
    let job = customer.ask(request(5_117)).await?;
    let lease = Lease::read(&client.live(LEASES).await?)?.context("a lease")?;
    assert_eq!(lease.job, job.id);
    ensure!(lease.request.is_some(), "without the request it could not work");
    // As frameworks for NIP-90 do it, which know nothing of leases.
    let plain = Draft::new(6_117).tag(["e", &job.id]).tag(["p", &job.pubkey]).content("done");
    client.store(&plain.sign(&keys)).await?;
    customer.told("success").await?;
    Ok(())
}

#[tokio::test]
async fn requirements_prices_and_names_decide_who_may_get_a_job() -> anyhow::Result<()> {
    let relay = relay()?;
    let mut customer = Customer::join(&relay).await?;
    let own = relay_key(&relay).await?;
    let mut able = Provider::connect(&relay, 5_118, Keys::generate()).await?;
    let offer = advert(5_118).tag(["cap", "vram_gib", "24"]).tag(["cap", "gpu", "h100"]).tag(["price", "5118", "100"]);
    let keys = able.keys.clone();
    able.client.store(&offer.sign(&keys)).await?;
    let cases = [
        (request(5_118).tag(["require", "vram_gib", ">=", "32"]), false),
        (request(5_118).tag(["require", "gpu", "=", "a100"]), false),
        (request(5_118).tag(["require", "disk", "has"]), false),
        (request(5_118).tag(["bid", "99"]), false),
        (request(5_118).tag(["p", &Keys::generate().public_key().to_hex()]), false),
        (
            request(5_118)
                .tag(["require", "vram_gib", ">=", "24"])
                .tag(["require", "gpu", "in", "h100", "b200"])
                .tag(["bid", "100"]),
            true,
        ),
        (request(5_118).tag(["p", &able.pubkey()]), true),
    ];
    for (draft, is_leased) in cases {
        let shown = format!("{draft:?}");
        let job = customer.ask(draft).await?;
        let state = customer.state(&own, &job).await?;
        let expected = if is_leased { "leased" } else { "queued" };
        ensure!(state.value("status") == Some(expected), "{expected} was expected of {shown}: {:?}", state.tags);
        if is_leased {
            let lease = able.lease(&job).await?;
            able.deliver(&lease).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_provider_gets_no_more_leases_than_it_has_slots() -> anyhow::Result<()> {
    let relay = relay()?;
    let mut provider = Provider::connect(&relay, 5_119, Keys::generate()).await?;
    let keys = provider.keys.clone();
    provider.client.store(&advert(5_119).tag(["slots", "2"]).sign(&keys)).await?;
    let mut customers = Vec::new();
    for _ in 0..3 {
        let mut customer = Customer::join(&relay).await?;
        let job = customer.ask(request(5_119)).await?;
        customers.push((customer, job));
    }
    let (first, second) = (provider.lease(&customers[0].1).await?, provider.lease(&customers[1].1).await?);
    provider.accept(&first).await?;
    provider.accept(&second).await?;
    let (last, job) = &mut customers[2];
    check_state(last, &relay, job, &[("status", "queued")]).await?;
    provider.deliver(&first).await?;
    let third = provider.lease(job).await?;
    provider.deliver(&third).await?;
    last.told("success").await?;
    Ok(())
}

#[tokio::test]
async fn malformed_scheduling_tags_are_refused_at_the_door() -> anyhow::Result<()> {
    let relay = relay()?;
    let mut client = Client::connect(&relay).await?;
    let requests = [
        request(5_120).tag(["require", "gpu"]),
        request(5_120).tag(["require", "gpu", "~", "x"]),
        request(5_120).tag(["require", "vram", ">", "much"]),
        request(5_120).tag(["require", "", "has"]),
        request(5_120).tag(["dispatch", "sideways"]),
        request(5_120).tag(["attempts", "0"]),
        request(5_120).tag(["attempts", "many"]),
        request(5_120).tag(["attempts", "1"]).tag(["attempts", "2"]),
        request(5_120).tag(["timeout", "accept"]),
        request(5_120).tag(["timeout", "accept", "-1"]),
        request(5_120).tag(["timeout", "accept", "0"]),
        request(5_120).tag(["timeout", "coffee", "5"]),
        request(5_120).tag(["deadline", "tomorrow"]),
        request(5_120).tag(["deadline", &(now_s() - 5).to_string()]),
        request(5_120).tag(["bid", "ten"]),
        request(5_120).tag(["p", "nobody"]),
        request(5_120).tag(["rank", "price", "sideways"]),
        request(5_120).tag(["scheduler", "nobody"]),
    ];
    for draft in requests {
        client.refused(&draft.sign(&Keys::generate()), "invalid").await?;
    }
    let adverts = [
        advert(5_120).tag(["slots", "-1"]),
        advert(5_120).tag(["price", "5120", "cheap"]),
        advert(5_120).tag(["price", "5121", "1"]),
        advert(5_120).tag(["cap", ""]),
        advert(5_120).tag(["accept", "bid", "?", "1"]),
    ];
    for draft in adverts {
        client.refused(&draft.sign(&Keys::generate()), "invalid").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_request_for_another_scheduler_is_kept_and_not_leased() -> anyhow::Result<()> {
    let relay = relay()?;
    let mut provider = Provider::join(&relay, 5_121).await?;
    let mut customer = Customer::join(&relay).await?;
    let elsewhere = customer.ask(request(5_121).tag(["scheduler", &Keys::generate().public_key().to_hex()])).await?;
    let here = customer.ask(request(5_121).tag(["scheduler", &relay_key(&relay).await?])).await?;
    // It came second: had the first been leased, the only slot would be taken.
    provider.lease(&here).await?;
    assert_eq!(customer.client.query([json!({"ids": [elsewhere.id]})]).await?, from_ref(&elsewhere));
    assert!(customer.client.query([json!({"kinds": [30383], "#d": [elsewhere.id]})]).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_provider_that_waits_for_payment_is_shown_as_such_and_goes_on_when_paid() -> anyhow::Result<()> {
    let relay = relay()?;
    let (mut customer, mut provider) = (Customer::join(&relay).await?, Provider::join(&relay, 5_122).await?);
    let job = customer.ask(request(5_122)).await?;
    let lease = provider.lease(&job).await?;
    let quote = lease.feedback("payment-required").tag(["amount", "21000", "lnbc..."]);
    ensure!(provider.say(quote).await?.accepted, "a quote was refused");
    customer.told("payment-required").await?;
    check_state(&mut customer, &relay, &job, &[("status", "awaiting-payment"), ("amount", "21000")]).await?;
    provider.accept(&lease).await?;
    check_state(&mut customer, &relay, &job, &[("status", "running"), ("attempt", "1")]).await?;
    provider.deliver(&lease).await?;
    customer.told("success").await?;
    Ok(())
}

#[tokio::test]
async fn nobody_else_can_sign_a_lease() -> anyhow::Result<()> {
    let relay = relay()?;
    let (mut customer, mut provider) = (Customer::join(&relay).await?, Provider::join(&relay, 5_123).await?);
    let job = customer.ask(request(5_123)).await?;
    let lease = provider.lease(&job).await?;
    let rogue = Keys::generate();
    let forged = lease.feedback("assigned").tag(["p", &rogue.public_key().to_hex()]).sign(&rogue);
    let verdict = customer.client.publish(&forged).await?;
    ensure!(!verdict.accepted, "a lease of a stranger was taken: {verdict:?}");
    let own_key = relay_key(&relay).await?;
    let state = Draft::new(30_383).tag(["d", &job.id]).tag(["status", "cancelled"]).sign(&rogue);
    customer.client.publish(&state).await?;
    let number = lease.number.to_string();
    assert_eq!(customer.state(&own_key, &job).await?.value("lease"), Some(&*number));
    check_state(&mut customer, &relay, &job, &[("status", "leased"), ("lease", &number)]).await
}

#[tokio::test]
async fn a_power_cut_keeps_the_job_and_its_lease() -> anyhow::Result<()> {
    let mut relay = settings().start()?;
    let (mut customer, mut provider) = (Customer::join(&relay).await?, Provider::join(&relay, 5_124).await?);
    let job = customer.ask(request(5_124)).await?;
    let lease = provider.lease(&job).await?;
    provider.accept(&lease).await?;
    relay.kill()?;
    relay.restart()?;

    let mut back = Provider::connect(&relay, 5_124, provider.keys.clone()).await?;
    let mut customer = Customer { client: Client::connect(&relay).await?, keys: customer.keys };
    customer.client.subscribe(JOB, [json!({"#e": [job.id]})]).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let number = lease.number.to_string();
    check_state(&mut customer, &relay, &job, &[("status", "running"), ("lease", &number)]).await?;
    back.deliver(&lease).await?;
    customer.told("success").await?;

    // The number of a lease never comes back.
    let job = customer.ask(request(5_124)).await?;
    ensure!(back.lease(&job).await?.number > lease.number, "a lease number was used again");
    Ok(())
}

#[tokio::test]
async fn a_provider_that_does_not_come_back_after_a_power_cut_is_replaced() -> anyhow::Result<()> {
    let mut relay = settings().start()?;
    let mut customer = Customer::join(&relay).await?;
    let (job, lease, mut holder, other) = holder_and_other(&relay, &mut customer, 5_125).await?;
    holder.accept(&lease).await?;
    relay.kill()?;
    relay.restart()?;
    let mut back = Provider::connect(&relay, 5_125, other.keys.clone()).await?;
    let next = back.lease(&job).await?;
    ensure!(next.number > lease.number, "a lease number was used again");
    back.deliver(&next).await?;
    let mut customer = Customer { client: Client::connect(&relay).await?, keys: customer.keys };
    check_state(&mut customer, &relay, &job, &[("status", "succeeded"), ("provider", &back.pubkey())]).await
}

#[tokio::test]
async fn a_relay_without_a_market_takes_jobs_as_ordinary_events() -> anyhow::Result<()> {
    let relay = Relay::settings().set("market.enabled", false).start()?;
    let mut client = Client::connect(&relay).await?;
    client.subscribe("feed", [json!({"kinds": [5126]})]).await?;
    let job = request(5_126).sign(&Keys::generate());
    client.store(&job).await?;
    assert_eq!(client.live("feed").await?, job);
    let result = Draft::new(6_126).tag(["e", &job.id]).sign(&Keys::generate());
    client.store(&result).await?;
    assert!(client.query([json!({"kinds": [30383, 7000]})]).await?.is_empty());
    Ok(())
}
