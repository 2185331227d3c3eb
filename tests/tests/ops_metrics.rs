//! What an operator's tools ask: metrics, liveness, readiness.

use anyhow::{Context, ensure};
use mercato_tests::client::Client;
use mercato_tests::http::{Answer, ask};
use mercato_tests::{Draft, Keys, Relay};
use serde_json::json;

/// The value of the line that starts with `name`, labels included.
fn value(metrics: &str, name: &str) -> anyhow::Result<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("{name} is missing in:\n{metrics}"))?.trim().parse()?)
}

async fn metrics(relay: &Relay) -> anyhow::Result<String> {
    let answer = ask(relay, "GET", "/metrics", &[]).await?;
    assert_eq!(answer.status, 200);
    // hyper sends bodies of known length whole.
    Ok(answer.body)
}

/// Asks until a metric has a value: what is counted after an answer may be read before it is counted.
async fn await_value(relay: &Relay, name: &str, expected: f64) -> anyhow::Result<()> {
    let asked = std::time::Instant::now();
    loop {
        let text = metrics(relay).await?;
        let found = value(&text, name)?;
        if found == expected {
            return Ok(());
        }
        ensure!(asked.elapsed() < mercato_tests::client::PATIENCE, "{name} is {found}, not {expected}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_clients_do_is_counted() -> anyhow::Result<()> {
    let relay = Relay::settings().start()?;
    let (mut client, mut other) = (Client::connect(&relay).await?, Client::connect(&relay).await?);
    let keys = Keys::generate();
    let note = Draft::note("counted").sign(&keys);
    client.subscribe("all", [json!({"kinds": [1]})]).await?;
    other.store(&note).await?;
    other.store(&note).await?;
    client.live("all").await?;
    other.refused(&Draft::note("old").at(1).sign(&keys), "invalid").await?;
    other.authenticate(&keys).await?;
    let mut spoilt = other.auth_event(&keys);
    spoilt.sig.replace_range(..2, "00");
    ensure!(!other.send_auth(&spoilt).await?.accepted, "a spoilt AUTH was accepted");
    for (name, expected) in [
        ("nostr_client_messages_total{verb=\"EVENT\"}", 3.0),
        ("nostr_client_messages_total{verb=\"REQ\"}", 1.0),
        ("nostr_relay_messages_total{verb=\"EVENT\"}", 1.0),
        ("nostr_relay_messages_total{verb=\"EOSE\"}", 1.0),
        ("nostr_relay_messages_total{verb=\"OK\"}", 5.0),
        ("nostr_events_total{kind=\"1\"}", 1.0),
        ("mercato_duplicates_total", 1.0),
        ("mercato_refused_total{reason=\"invalid\"}", 2.0),
        ("mercato_auth_total{outcome=\"ok\"}", 1.0),
        ("mercato_auth_total{outcome=\"failed\"}", 1.0),
        ("mercato_connections", 2.0),
        ("mercato_connections_opened_total", 2.0),
        ("mercato_subscriptions", 1.0),
        ("mercato_deliveries_total", 1.0),
        ("mercato_live_lag_seconds_count", 1.0),
        ("mercato_db_events", 1.0),
        ("mercato_ok_seconds_count{outcome=\"stored\"}", 1.0),
        ("mercato_query_seconds_count{verb=\"REQ\"}", 1.0),
        ("mercato_ready", 1.0),
    ] {
        await_value(&relay, name, expected).await?;
    }
    let text = metrics(&relay).await?;
    for name in
        ["process_resident_memory_bytes", "process_open_fds", "mercato_db_bytes", "mercato_received_bytes_total"]
    {
        ensure!(value(&text, name)? > 0.0, "{name} is 0");
    }
    ensure!(text.ends_with("# EOF\n"), "the text is cut short");
    drop(client);
    await_value(&relay, "mercato_connections", 1.0).await
}

#[tokio::test]
async fn the_market_is_counted() -> anyhow::Result<()> {
    let relay = Relay::settings().start()?;
    let mut client = Client::connect(&relay).await?;
    client.store(&Draft::new(5_900).sign(&Keys::generate())).await?;
    await_value(&relay, "mercato_job_requests_total", 1.0).await?;
    await_value(&relay, "mercato_jobs{state=\"queued\"}", 1.0).await
}

#[tokio::test]
async fn metrics_are_for_allowed_networks_only() -> anyhow::Result<()> {
    let status = async |relay: &Relay, headers: &[&str]| -> anyhow::Result<u16> {
        Ok(ask(relay, "GET", "/metrics", headers).await?.status)
    };
    let closed = Relay::settings().set("metrics.allow", "[\"192.0.2.0/24\"]").start()?;
    assert_eq!(status(&closed, &[]).await?, 404);
    let off = Relay::settings().set("metrics.enabled", false).start()?;
    assert_eq!(status(&off, &[]).await?, 404);
    // Behind a proxy that nobody told the relay of, everybody looks like the proxy.
    let open = Relay::settings().start()?;
    assert_eq!(status(&open, &[]).await?, 200);
    assert_eq!(status(&open, &["X-Forwarded-For: 192.0.2.7"]).await?, 404);
    let trusting = Relay::settings().set("relay.trusted_proxies", "[\"127.0.0.1\"]").start()?;
    assert_eq!(status(&trusting, &["X-Forwarded-For: 192.0.2.7"]).await?, 404);
    assert_eq!(status(&trusting, &["X-Forwarded-For: 127.0.0.9"]).await?, 200);
    Ok(())
}

#[tokio::test]
async fn metrics_may_have_a_port_of_their_own() -> anyhow::Result<()> {
    // A port that was free a moment ago; another test may take it, hence the attempts.
    for _ in 0..5 {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let Ok(relay) = Relay::settings().set("metrics.port", port).start() else { continue };
        let aside = async |path: &str| -> anyhow::Result<Answer> {
            mercato_tests::http::ask_port(port, "GET", path, &[]).await
        };
        ensure!(aside("/metrics").await?.body.contains("mercato_connections 0"), "no metrics there");
        assert_eq!(aside("/ready").await?.status, 200);
        assert_eq!(aside("/").await?.status, 404);
        assert_eq!(ask(&relay, "GET", "/metrics", &[]).await?.status, 404);
        return Ok(());
    }
    anyhow::bail!("no port was free")
}

#[tokio::test]
async fn a_relay_that_cannot_store_lives_but_is_not_ready() -> anyhow::Result<()> {
    let relay = Relay::settings().start()?;
    assert_eq!(ask(&relay, "GET", "/health", &[]).await?.status, 200);
    assert_eq!(ask(&relay, "GET", "/ready", &[]).await?.status, 200);
    // No disk has so much room.
    let full = Relay::settings().set("relay.ready_free_mib", 1_u64 << 40).start()?;
    assert_eq!(ask(&full, "GET", "/health", &[]).await?.status, 200);
    let answer = ask(&full, "GET", "/ready", &[]).await?;
    assert_eq!(answer.status, 503);
    ensure!(answer.body.contains("disk is full"), "no reason: {}", answer.body);
    Ok(())
}
