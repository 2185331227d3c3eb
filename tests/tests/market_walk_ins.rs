//! Providers as existing frameworks are, over the wire: no advert, no word of ours, some of them without AUTH.

use anyhow::ensure;
use mercato_tests::client::Client;
use mercato_tests::event::{Draft, Event};
use mercato_tests::market::{Customer, request};
use mercato_tests::relay::{Lent, Shared};
use mercato_tests::{Keys, Relay};
use serde_json::json;

static RELAY: Shared = Shared::new();
const WORK: &str = "work";

fn relay() -> anyhow::Result<Lent> {
    RELAY.get_with(|| Relay::settings().set("market.open_after_s", 1))
}

/// Waits for the request, answers it as NIP-90 has it, and sees the customer get the answer.
async fn serve(client: &mut Client, keys: &Keys, customer: &mut Customer, job: &Event) -> anyhow::Result<()> {
    let got = client.live_until(WORK, |event| event.id == job.id).await?;
    ensure!(got == *job, "another event came: {got:?}");
    let answer = |kind| Draft::new(kind).tag(["e", &job.id]).tag(["p", &job.pubkey]);
    client.store(&answer(7_000).tag(["status", "processing"]).sign(keys)).await?;
    let result = answer(job.kind + 1_000).content("done").sign(keys);
    client.store(&result).await?;
    ensure!(customer.told_of_result(job.kind).await? == result, "another result");
    ensure!(customer.told("success").await?.value("result") == Some(&*result.id), "the relay means another");
    Ok(())
}

#[tokio::test]
async fn an_authenticated_client_that_subscribes_to_a_kind_is_leased_its_jobs() -> anyhow::Result<()> {
    let (relay, keys) = (relay()?, Keys::generate());
    let mut client = Client::connect(&relay).await?;
    client.subscribe(WORK, [json!({"kinds": [5_200], "limit": 0})]).await?;
    client.authenticate(&keys).await?;
    let mut customer = Customer::join(&relay).await?;
    let job = customer.ask(request(5_200).tag(["dispatch", "leased"])).await?;
    ensure!(customer.told_of_lease().await?.provider == keys.public_key().to_hex(), "leased to somebody else");
    serve(&mut client, &keys, &mut customer, &job).await
}

#[tokio::test]
async fn who_closes_its_subscription_is_leased_no_more() -> anyhow::Result<()> {
    let (relay, keys) = (relay()?, Keys::generate());
    let mut client = Client::connect(&relay).await?;
    client.authenticate(&keys).await?;
    client.subscribe(WORK, [json!({"kinds": [5_201], "limit": 0})]).await?;
    let mut customer = Customer::join(&relay).await?;
    let leased = || request(5_201).tag(["dispatch", "leased"]);
    let job = customer.ask(leased()).await?;
    customer.told_of_lease().await?;
    serve(&mut client, &keys, &mut customer, &job).await?;
    client.close(WORK).await?;
    // A question and its answer: the relay has read the CLOSE.
    client.query([json!({"ids": [job.id]})]).await?;
    let job = customer.ask(leased()).await?;
    let own = mercato_tests::http::relay_key(&relay).await?;
    ensure!(customer.state(&own, &job).await?.value("status") == Some("queued"), "leased to who does not listen");
    Ok(())
}

#[tokio::test]
async fn a_client_without_authentication_gets_what_nobody_else_serves() -> anyhow::Result<()> {
    let (relay, keys) = (relay()?, Keys::generate());
    let mut client = Client::connect(&relay).await?;
    client.subscribe(WORK, [json!({"kinds": [5_202], "limit": 0})]).await?;
    let mut customer = Customer::join(&relay).await?;
    let job = customer.ask(request(5_202)).await?;
    serve(&mut client, &keys, &mut customer, &job).await
}
