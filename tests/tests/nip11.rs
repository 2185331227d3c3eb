//! NIP-11: the relay's description of itself.

use anyhow::ensure;
use mercato_tests::client::Client;
use mercato_tests::event::now_s;
use mercato_tests::http::{ask, document};
use mercato_tests::relay::Shared;
use mercato_tests::{Draft, Keys, Relay};
use serde_json::json;

static RELAY: Shared = Shared::new();

#[tokio::test]
async fn the_document_names_the_relay_and_its_limits() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let document = document(&relay).await?;
    for text in ["name", "description", "software", "version"] {
        ensure!(document[text].is_string(), "{text} is missing: {document}");
    }
    for nip in [1, 9, 11, 40, 42, 70] {
        let supported = document["supported_nips"].as_array().is_some_and(|nips| nips.contains(&json!(nip)));
        ensure!(supported, "NIP-{nip} is tested but not claimed");
    }
    for limit in ["max_message_length", "max_subscriptions", "max_limit", "max_subid_length", "max_event_tags"] {
        ensure!(document["limitation"][limit].is_u64(), "limitation.{limit} is missing: {document}");
    }
    Ok(())
}

#[tokio::test]
async fn the_document_has_its_type_and_is_readable_from_any_page() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    for accept in ["Accept: application/nostr+json", "accept: text/html, application/nostr+json;q=0.9"] {
        let answer = ask(&relay, "GET", "/", &[accept]).await?;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/nostr+json"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    let preflight = ask(&relay, "OPTIONS", "/", &["Origin: https://example.com"]).await?;
    ensure!((200..300).contains(&preflight.status), "OPTIONS: {}", preflight.status);
    for name in ["access-control-allow-origin", "access-control-allow-headers", "access-control-allow-methods"] {
        ensure!(preflight.header(name).is_some(), "{name} is missing");
    }
    Ok(())
}

#[tokio::test]
async fn a_browser_gets_a_page_and_other_methods_are_refused() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    assert_eq!(ask(&relay, "GET", "/", &["Accept: text/html"]).await?.status, 200);
    let posted = ask(&relay, "POST", "/", &["Content-Length: 0"]).await?;
    ensure!((400..500).contains(&posted.status), "POST: {}", posted.status);
    Ok(())
}

#[tokio::test]
async fn self_is_the_key_that_signs_for_the_relay_and_outlives_a_restart() -> anyhow::Result<()> {
    let mut relay = Relay::settings().start()?;
    let own = document(&relay).await?["self"].clone();
    let text = own.as_str().unwrap_or_default().to_owned();
    ensure!(text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()), "self is no key: {own}");
    let mut client = Client::connect(&relay).await?;
    let job = Draft::new(5_900).sign(&Keys::generate());
    client.store(&job).await?;
    let states = client.query([json!({"kinds": [30383], "#d": [job.id]})]).await?;
    ensure!(states.len() == 1 && states[0].pubkey == text, "signed by another key: {states:?}");
    relay.stop()?;
    relay.restart()?;
    assert_eq!(document(&relay).await?["self"], own);
    Ok(())
}

#[tokio::test]
async fn what_the_operator_wrote_is_told() -> anyhow::Result<()> {
    let relay = Relay::settings()
        .set("relay.name", "\"A name\"")
        .set("relay.contact", "mailto:op@example.com")
        .set("limits.max_subscriptions", 7)
        .set("market.enabled", false)
        .start()?;
    let document = document(&relay).await?;
    assert_eq!(document["name"], "A name");
    assert_eq!(document["contact"], "mailto:op@example.com");
    assert_eq!(document["limitation"]["max_subscriptions"], 7);
    ensure!(document["self"].is_null(), "a relay without a market signs nothing");
    Ok(())
}

#[tokio::test]
async fn every_limitation_that_is_claimed_holds() -> anyhow::Result<()> {
    let relay = Relay::settings()
        .set("limits.max_message_bytes", 4_096)
        .set("limits.max_event_bytes", 2_048)
        .set("limits.max_subscriptions", 3)
        .set("limits.max_limit", 4)
        .set("limits.max_tags", 5)
        .set("limits.created_at_future_s", 60)
        .set("limits.created_at_past_s", 3_600)
        .start()?;
    let limitation = document(&relay).await?["limitation"].clone();
    let claimed = |name: &str| limitation[name].as_u64().unwrap_or_else(|| panic!("{name} is not claimed"));
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();

    let tags = |count: u64| Draft::note("").tags((0..count).map(|_| vec!["t".to_owned()]));
    client.store(&tags(claimed("max_event_tags")).sign(&keys)).await?;
    client.refused(&tags(claimed("max_event_tags") + 1).sign(&keys), "invalid").await?;

    let now = now_s();
    let (past, future) = (claimed("created_at_lower_limit"), claimed("created_at_upper_limit"));
    for good in [now - past + 30, now + future - 30] {
        client.store(&Draft::note("in time").at(good).sign(&keys)).await?;
    }
    for bad in [now - past - 30, now + future + 30] {
        client.refused(&Draft::note("out of time").at(bad).sign(&keys), "invalid").await?;
    }

    for number in 0..10 {
        client.store(&Draft::note(format!("{number}")).sign(&keys)).await?;
    }
    let own = json!({"authors": [keys.public_key().to_hex()]});
    let mut more = own.clone();
    more["limit"] = json!(claimed("max_limit") + 1);
    assert_eq!(client.query([own]).await?.len() as u64, claimed("default_limit"));
    assert_eq!(client.query([more]).await?.len() as u64, claimed("max_limit"));

    for number in 0..claimed("max_subscriptions") {
        client.subscribe(&format!("s{number}"), [json!({"ids": []})]).await?;
    }
    client.request("one more", &[json!({"ids": []})]).await?;
    ensure!(client.closed("one more").await?.starts_with("blocked: "), "one more than claimed was opened");
    client.close("s0").await?;

    let name = "x".repeat(claimed("max_subid_length") as usize);
    client.subscribe(&name, [json!({"ids": []})]).await?;
    client.close(&name).await?;
    client.request(&format!("{name}x"), &[json!({"ids": []})]).await?;
    client.notice().await?;

    let length = claimed("max_message_length") as usize;
    let padded = |length: usize| format!("{:length$}", "[\"CLOSE\",\"nothing\"]");
    client.send_text(padded(length)).await?;
    client.subscribe("s0", [json!({"ids": []})]).await?;
    client.send_text(padded(length + 1)).await?;
    ensure!(client.is_closed().await?, "a message longer than claimed was read");
    Ok(())
}
