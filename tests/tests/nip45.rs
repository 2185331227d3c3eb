//! NIP-45: COUNT.

use anyhow::ensure;
use mercato_tests::client::Client;
use mercato_tests::event::{Event, now_s};
use mercato_tests::relay::Shared;
use mercato_tests::said::prefix;
use mercato_tests::{Draft, Keys, Relay};
use serde_json::{Value, json};

static RELAY: Shared = Shared::new();

/// Notes of these authors, one each, that refer to one another's event.
async fn reactions(client: &mut Client, target: &str, authors: &[Keys]) -> anyhow::Result<Vec<Event>> {
    let events: Vec<Event> =
        authors.iter().map(|keys| Draft::new(7).tag(["e", target]).content("+").sign(keys)).collect();
    for event in &events {
        client.store(event).await?;
    }
    Ok(events)
}

#[tokio::test]
async fn a_count_is_the_number_of_events_that_match() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let author = keys.public_key().to_hex();
    let now = now_s();
    let mut ids = Vec::new();
    for number in 0..5_u64 {
        let event = Draft::new(number as u16 % 2 + 1).at(now - 10 + number).tag(["t", "c"]).sign(&keys);
        client.store(&event).await?;
        ids.push(event.id);
    }
    let cases = [
        (json!({"authors": [author]}), 5),
        (json!({"authors": [author], "kinds": [1]}), 3),
        (json!({"authors": [author], "#t": ["c"], "since": now - 8}), 3),
        (json!({"ids": ids}), 5),
        (json!({"ids": [ids[0], "0".repeat(64)]}), 1),
        (json!({"authors": [author], "kinds": []}), 0),
        (json!({"authors": [author], "since": now, "until": now - 1}), 0),
        // A limit holds for a count as for a REQ.
        (json!({"authors": [author], "limit": 2}), 2),
        (json!({"authors": [author], "limit": 0}), 0),
    ];
    for (filter, expected) in cases {
        assert_eq!(client.tally([filter.clone()]).await?["count"], expected, "{filter}");
    }
    Ok(())
}

#[tokio::test]
async fn a_count_goes_beyond_what_a_req_is_answered() -> anyhow::Result<()> {
    let relay = Relay::settings().set("limits.max_limit", 10).start()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    for number in 0..25 {
        client.store(&Draft::note(format!("{number}")).sign(&keys)).await?;
    }
    let filter = json!({"authors": [keys.public_key().to_hex()]});
    assert_eq!(client.query([filter.clone()]).await?.len(), 10);
    assert_eq!(client.tally([filter]).await?, json!({"count": 25}));
    Ok(())
}

#[tokio::test]
async fn no_event_is_counted_twice_over_several_filters() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let author = keys.public_key().to_hex();
    let mut ids = Vec::new();
    for number in 0..6_u64 {
        let event = Draft::note(format!("{number}")).at(now_s() - 10 + number).sign(&keys);
        client.store(&event).await?;
        ids.push(event.id);
    }
    let all = json!({"authors": [author]});
    let newest = json!({"authors": [author], "limit": 2});
    let none = json!({"authors": [author], "limit": 0});
    assert_eq!(client.count([all.clone(), all.clone(), json!({"ids": ids})]).await?, 6);
    assert_eq!(client.count([json!({"ids": [ids[0], ids[1]]}), json!({"ids": [ids[1], ids[2]]})]).await?, 3);
    // What a limit left out of one filter may be let in by the next.
    assert_eq!(client.count([newest.clone(), json!({"ids": [ids[0], ids[5]]})]).await?, 3);
    assert_eq!(client.count([none.clone(), newest.clone()]).await?, 2);
    assert_eq!(client.count([newest, none, all]).await?, 6);
    Ok(())
}

#[tokio::test]
async fn what_has_expired_or_was_deleted_or_replaced_is_not_counted() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let filter = json!({"authors": [keys.public_key().to_hex()], "kinds": [0, 1]});
    let brief = Draft::note("brief").tag(["expiration", &(now_s() + 2).to_string()]).sign(&keys);
    let regretted = Draft::note("regretted").sign(&keys);
    for event in [&brief, &regretted, &Draft::new(0).at(now_s() - 9).sign(&keys), &Draft::new(0).sign(&keys)] {
        client.store(event).await?;
    }
    assert_eq!(client.count([filter.clone()]).await?, 3);
    client.store(&Draft::new(5).tag(["e", &regretted.id]).sign(&keys)).await?;
    assert_eq!(client.count([filter.clone()]).await?, 2);
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    assert_eq!(client.count([filter]).await?, 1);
    Ok(())
}

#[tokio::test]
async fn an_open_leased_request_is_counted_for_those_who_may_see_it() -> anyhow::Result<()> {
    let relay = Relay::settings().start()?;
    let (customer, stranger) = (Keys::generate(), Keys::generate());
    let mut client = Client::connect(&relay).await?;
    let request = Draft::new(5_050).tag(["i", "what", "text"]).sign(&customer);
    client.store(&request).await?;
    let feed = json!({"kinds": [5_050]});
    let named = json!({"ids": [request.id]});
    client.authenticate(&stranger).await?;
    assert_eq!((client.count([feed.clone()]).await?, client.count([named.clone()]).await?), (0, 1));
    // It counts once it is let in, whichever filter does so.
    assert_eq!(client.count([feed.clone(), named]).await?, 1);
    client.authenticate(&customer).await?;
    assert_eq!(client.count([feed]).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_count_stops_at_the_relays_limit_and_says_so() -> anyhow::Result<()> {
    let relay = Relay::settings().set("limits.max_count", 5).start()?;
    let mut client = Client::connect(&relay).await?;
    let target = "a".repeat(64);
    let authors: Vec<Keys> = (0..6).map(|_| Keys::generate()).collect();
    reactions(&mut client, &target, &authors[..5]).await?;
    let filter = json!({"kinds": [7], "#e": [target]});
    let exact = client.tally([filter.clone()]).await?;
    ensure!(exact["count"] == 5 && exact.get("approximate").is_none() && exact["hll"].is_string(), "{exact}");
    reactions(&mut client, &target, &authors[5..]).await?;
    // Half a HyperLogLog would be a wrong one.
    assert_eq!(client.tally([filter]).await?, json!({"count": 5, "approximate": true}));
    Ok(())
}

/// NIP-45's registers, worked out from its text.
fn registers(target: &str, authors: &[Keys]) -> String {
    let offset = usize::from_str_radix(&target[32..33], 16).expect("a hex digit") + 8;
    let mut registers = [0_u8; 256];
    for keys in authors {
        let key = keys.public_key().to_bytes();
        let bits: String = key[offset + 1..].iter().map(|byte| format!("{byte:08b}")).collect();
        let zeros = bits.chars().take_while(|bit| *bit == '0').count() as u8;
        let register = &mut registers[usize::from(key[offset])];
        *register = (*register).max(zeros + 1);
    }
    registers.iter().map(|register| format!("{register:02x}")).collect()
}

/// Linear counting, which is what HyperLogLog comes down to where most registers are empty.
fn estimate(hll: &str) -> f64 {
    let empty = (0..256).filter(|at| &hll[2 * at..2 * at + 2] == "00").count();
    256.0 * (256.0 / empty as f64).ln()
}

#[tokio::test]
async fn counts_of_one_tag_value_come_with_a_hyperloglog_of_their_authors() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let authors: Vec<Keys> = (0..40).map(|_| Keys::generate()).collect();
    let target = Draft::note("liked").sign(&authors[0]).id;
    reactions(&mut client, &target, &authors).await?;
    // Who likes twice is one author.
    client.store(&Draft::new(7).tag(["e", &target]).content("!").sign(&authors[0])).await?;
    let tally = client.tally([json!({"kinds": [7], "#e": [target]})]).await?;
    assert_eq!(tally["count"], 41);
    let hll = tally["hll"].as_str().unwrap_or_default();
    assert_eq!(hll, registers(&target, &authors));
    let estimate = estimate(hll);
    ensure!((30.0..50.0).contains(&estimate), "{estimate} authors estimated instead of 40");
    for plain in [json!({"kinds": [7]}), json!({"#e": [target], "#p": [target]}), json!({"#e": [target, "x"]})] {
        let tally = client.tally([plain.clone()]).await?;
        ensure!(tally.get("hll").is_none(), "{plain}: {tally}");
    }
    Ok(())
}

#[tokio::test]
async fn a_count_that_cannot_be_answered_is_closed_with_a_reason() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let cases: [(Value, &str); 4] = [
        (json!({"kinds": [1059]}), "auth-required"),
        (json!({"nonsense": 1}), "invalid"),
        (json!({"ids": ["x"]}), "invalid"),
        (json!({"search": "words"}), "unsupported"),
    ];
    for (filter, word) in cases {
        client.ask_count("c", std::slice::from_ref(&filter)).await?;
        let text = client.closed("c").await?;
        ensure!(prefix(&text) == Some(word), "{filter}: {text}");
    }
    client.ask_count("c", &[]).await?;
    ensure!(prefix(&client.closed("c").await?) == Some("invalid"), "a COUNT needs a filter");
    Ok(())
}

#[tokio::test]
async fn counts_share_the_rate_of_reqs_and_open_no_subscription() -> anyhow::Result<()> {
    let relay = Relay::settings()
        .set("limits.exempt", "[]")
        .set("limits.req_rate_ip", 1)
        .set("limits.req_burst_ip", 3)
        .set("limits.max_subscriptions", 1)
        .start()?;
    let mut client = Client::connect(&relay).await?;
    let nothing = json!({"ids": []});
    client.subscribe("s", [nothing.clone()]).await?;
    assert_eq!(client.count([nothing.clone()]).await?, 0, "one subscription is open already");
    assert_eq!(client.count([nothing.clone()]).await?, 0);
    let mut refused = None;
    for _ in 0..20 {
        client.ask_count("c", std::slice::from_ref(&nothing)).await?;
    }
    while refused.is_none() {
        refused = match client.next().await? {
            mercato_tests::said::Said::Closed { text, .. } => Some(text),
            _ => None,
        };
    }
    ensure!(refused.as_deref().and_then(prefix) == Some("rate-limited"), "{refused:?}");
    Ok(())
}
