//! How many jobs one customer and one address may have the relay schedule, and at what work; each refusal says what to do.

use anyhow::ensure;
use mercato_tests::client::Client;
use mercato_tests::event::Event;
use mercato_tests::market::request;
use mercato_tests::relay::Shared;
use mercato_tests::{Keys, Relay};
use serde_json::json;

/// Has small quotas; without the exemption of loopback, so that tests have them.
static SMALL: Shared = Shared::new();
/// Wants work.
static WORK: Shared = Shared::new();
const BITS: u32 = 8;

/// A request whose id has at least so many zero bits and, unless `exact`, perhaps more.
fn mined(target: &str, wanted: impl Fn(u32) -> bool) -> Event {
    let keys = Keys::generate();
    let nonces = (0_u32..).map(|nonce| request(5_300).tag(["nonce", &nonce.to_string(), target]).sign(&keys));
    let bits = |event: &Event| u32::from_str_radix(&event.id[..8], 16).map_or(0, u32::leading_zeros);
    nonces.into_iter().find(|event| wanted(bits(event))).expect("there are nonces enough")
}

#[tokio::test]
async fn a_customer_asks_for_so_many_jobs_a_minute_and_others_for_theirs() -> anyhow::Result<()> {
    let relay = SMALL.get_with(|| {
        let settings = Relay::settings().set("limits.exempt", "[]").set("limits.job_rate_pubkey", 1);
        settings.set("limits.job_burst_pubkey", 2).set("limits.job_rate_ip", 1).set("limits.job_burst_ip", 5)
    })?;
    let mut client = Client::connect(&relay).await?;
    let customers: Vec<Keys> = (0..3).map(|_| Keys::generate()).collect();
    let ask = |at: usize, nth: u32| request(5_301).tag(["param", "nth", &nth.to_string()]).sign(&customers[at]);
    for at in 0..2 {
        client.store(&ask(at, 0)).await?;
        client.store(&ask(at, 1)).await?;
        let text = client.refused(&ask(at, 2), "rate-limited").await?;
        assert_eq!(text, "rate-limited: too many job requests from you, slow down");
    }
    client.store(&ask(2, 0)).await?;
    let text = client.refused(&ask(2, 1), "rate-limited").await?;
    assert_eq!(text, "rate-limited: too many job requests from your address, slow down");
    let note = mercato_tests::Draft::note("not a job").sign(&customers[0]);
    client.store(&note).await
}

#[tokio::test]
async fn a_request_needs_the_work_that_the_operator_asks_and_other_events_do_not() -> anyhow::Result<()> {
    let relay = WORK.get_with(|| Relay::settings().set("limits.job_min_pow", BITS))?;
    let mut client = Client::connect(&relay).await?;
    client.store(&mined("8", |bits| bits >= BITS)).await?;
    let text = client.refused(&mined("8", |bits| bits == 3), "pow").await?;
    assert_eq!(text, "pow: difficulty 3 is less than 8");
    let text = client.refused(&mined("4", |bits| bits >= BITS), "pow").await?;
    assert_eq!(text, "pow: the nonce tag commits to difficulty 4, less than 8");
    client.store(&mercato_tests::Draft::note("not a job").sign(&Keys::generate())).await
}

#[tokio::test]
async fn the_bounds_on_open_jobs_are_told_and_an_end_makes_room() -> anyhow::Result<()> {
    let settings = Relay::settings().set("market.max_open_jobs", 3).set("market.max_open_jobs_per_customer", 2);
    let relay = settings.set("market.open_after_s", 0).start()?;
    let mut client = Client::connect(&relay).await?;
    let (one, two) = (Keys::generate(), Keys::generate());
    let ask = |keys: &Keys, nth: u32| request(5_302).tag(["param", "nth", &nth.to_string()]).sign(keys);
    let first = ask(&one, 0);
    client.store(&first).await?;
    client.store(&ask(&one, 1)).await?;
    let text = client.refused(&ask(&one, 2), "rate-limited").await?;
    assert_eq!(text, "rate-limited: you have 2 open jobs; wait for some to end");
    client.store(&ask(&two, 0)).await?;
    let refused = ask(&two, 1);
    let text = client.refused(&refused, "rate-limited").await?;
    assert_eq!(text, "rate-limited: there are 3 open jobs; try again later");
    ensure!(client.query([json!({"ids": [refused.id]})]).await?.is_empty(), "a refused request was stored");
    let cancellation = mercato_tests::Draft::new(5).tag(["e", &first.id]).sign(&one);
    client.store(&cancellation).await?;
    client.store(&refused).await
}
