//! Kinds that other NIPs define and ask of a relay only to be kept as their range says, and found by their tags:
//! NIP-28 (channels), NIP-66 (relay monitors), NIP-89 (recommended handlers), NIP-90 (data vending machines).

use mercato_tests::client::Client;
use mercato_tests::event::{Event, now_s};
use mercato_tests::relay::Shared;
use mercato_tests::{Draft, Keys, Relay};
use serde_json::{Value, json};

static RELAY: Shared = Shared::new();

/// A relay that keeps its hands off job kinds.
fn settings() -> mercato_tests::relay::Settings {
    Relay::settings().set("market.enabled", false)
}

async fn check(client: &mut Client, author: &Keys, cases: Vec<(Value, Vec<&Event>)>) -> anyhow::Result<()> {
    for (mut filter, expected) in cases {
        filter["authors"] = json!([author.public_key().to_hex()]);
        let served = client.query([filter.clone()]).await?;
        assert_eq!(served.iter().collect::<Vec<_>>(), expected, "{filter}");
    }
    Ok(())
}

#[tokio::test]
async fn nip_28_channels_keep_every_message_and_are_found_by_their_channel() -> anyhow::Result<()> {
    let relay = RELAY.get_with(settings)?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let now = now_s();
    let channel = Draft::new(40).at(now - 9).content("{\"name\":\"Demo\"}").sign(&keys);
    let of = |kind: u16, age: u64| Draft::new(kind).at(now - age).tag(["e", &channel.id, "", "root"]);
    let renamed = [of(41, 8).content("1").sign(&keys), of(41, 7).content("2").tag(["t", "chat"]).sign(&keys)];
    let message = of(42, 6).content("hello").sign(&keys);
    let answer = of(42, 5).tag(["e", &message.id, "", "reply"]).tag(["p", &message.pubkey]).sign(&keys);
    let hidden = Draft::new(43).at(now - 4).tag(["e", &message.id]).sign(&keys);
    let muted = Draft::new(44).at(now - 3).tag(["p", &message.pubkey]).sign(&keys);
    for event in [&channel, &renamed[0], &renamed[1], &message, &answer, &hidden, &muted] {
        client.store(event).await?;
    }
    let cases = vec![
        (json!({"kinds": [40]}), vec![&channel]),
        (json!({"kinds": [41], "#e": [channel.id]}), vec![&renamed[1], &renamed[0]]),
        (json!({"kinds": [41], "#t": ["chat"]}), vec![&renamed[1]]),
        (json!({"kinds": [42], "#e": [channel.id]}), vec![&answer, &message]),
        (json!({"kinds": [42], "#e": [message.id]}), vec![&answer]),
        (json!({"kinds": [43], "#e": [message.id]}), vec![&hidden]),
        (json!({"kinds": [44], "#p": [message.pubkey]}), vec![&muted]),
    ];
    check(&mut client, &keys, cases).await
}

#[tokio::test]
async fn nip_66_reports_are_addressable_by_relay_and_announcements_replaceable() -> anyhow::Result<()> {
    let relay = RELAY.get_with(settings)?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let now = now_s();
    let report = |url: &str, age: u64| {
        let draft = Draft::new(30_166).at(now - age).tag(["d", url]).tag(["n", "clearnet"]);
        draft.tag(["N", "40"]).tag(["R", "!payment"]).tag(["rtt-open", "234"]).sign(&keys)
    };
    let (old, new, other) =
        (report("wss://a.example/", 9), report("wss://a.example/", 8), report("wss://b.example/", 7));
    let announced = |age: u64| Draft::new(10_166).at(now - age).tag(["frequency", "3600"]).sign(&keys);
    let (before, after) = (announced(9), announced(8));
    for event in [&old, &new, &other, &before, &after] {
        client.store(event).await?;
    }
    let cases = vec![
        (json!({"kinds": [30_166]}), vec![&other, &new]),
        (json!({"kinds": [30_166], "#d": ["wss://a.example/"]}), vec![&new]),
        (json!({"kinds": [30_166], "#N": ["40"], "#R": ["!payment"]}), vec![&other, &new]),
        (json!({"kinds": [30_166], "#R": ["payment"]}), vec![]),
        (json!({"kinds": [10_166]}), vec![&after]),
    ];
    check(&mut client, &keys, cases).await
}

#[tokio::test]
async fn nip_89_recommendations_and_handlers_are_addressable() -> anyhow::Result<()> {
    let relay = RELAY.get_with(settings)?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let now = now_s();
    let handler = |age: u64| {
        let draft = Draft::new(31_990).at(now - age).tag(["d", "app"]).tag(["k", "1"]);
        draft.tag(["k", "30023"]).tag(["web", "https://app.example/<bech32>", "nevent"]).sign(&keys)
    };
    let (old, new) = (handler(9), handler(8));
    let address = format!("31990:{}:app", new.pubkey);
    let recommended = Draft::new(31_989).at(now - 7).tag(["d", "1"]).tag(["a", &address, "", "web"]).sign(&keys);
    for event in [&old, &new, &recommended] {
        client.store(event).await?;
    }
    let cases = vec![
        (json!({"kinds": [31_990], "#k": ["30023"]}), vec![&new]),
        (json!({"kinds": [31_990], "#d": ["app"]}), vec![&new]),
        (json!({"kinds": [31_989], "#a": [address]}), vec![&recommended]),
        (json!({"kinds": [31_989], "#d": ["1"]}), vec![&recommended]),
    ];
    check(&mut client, &keys, cases).await
}

#[tokio::test]
async fn nip_90_requests_results_and_feedback_are_kept_and_found_by_request() -> anyhow::Result<()> {
    let relay = RELAY.get_with(settings)?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let now = now_s();
    let request = Draft::new(5_001).at(now - 9).tag(["i", "x", "text"]).tag(["t", "bitcoin"]).sign(&keys);
    // A result carries its whole request, whatever the bound on a tag's length.
    let long = format!("{{\"content\":\"{}\"}}", "x".repeat(5_000));
    let about =
        |kind: u16, age: u64| Draft::new(kind).at(now - age).tag(["e", &request.id]).tag(["p", &request.pubkey]);
    let feedback = [about(7_000, 8).tag(["status", "processing"]).sign(&keys), about(7_000, 7).sign(&keys)];
    let result = about(6_001, 6).tag(["request", &long]).content("done").sign(&keys);
    for event in [&request, &feedback[0], &feedback[1], &result] {
        client.store(event).await?;
    }
    let cases = vec![
        (json!({"kinds": [5_001], "#t": ["bitcoin"]}), vec![&request]),
        (json!({"kinds": [6_001], "#e": [request.id]}), vec![&result]),
        (json!({"kinds": [7_000], "#e": [request.id], "#p": [request.pubkey]}), vec![&feedback[1], &feedback[0]]),
        (json!({"#e": [request.id]}), vec![&result, &feedback[1], &feedback[0]]),
    ];
    check(&mut client, &keys, cases).await
}
