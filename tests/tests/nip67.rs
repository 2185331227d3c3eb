//! NIP-67: EOSE tells whether that was all.

use anyhow::ensure;
use mercato_tests::client::Client;
use mercato_tests::event::{Event, now_s};
use mercato_tests::relay::{Settings, Shared};
use mercato_tests::{Draft, Keys, Relay};
use serde_json::{Value, json};

static RELAY: Shared = Shared::new();

fn settings() -> Settings {
    Relay::settings().set("limits.max_limit", 10)
}

/// So many notes of one author, the oldest first.
async fn notes(client: &mut Client, count: u64) -> anyhow::Result<(String, Vec<Event>)> {
    let keys = Keys::generate();
    let start = now_s() - 1_000;
    let events: Vec<Event> = (0..count)
        .map(|number| Draft::note(format!("{number}")).at(start + number).tag(["t", "even"]).sign(&keys))
        .collect();
    for event in &events {
        client.store(event).await?;
    }
    Ok((keys.public_key().to_hex(), events))
}

async fn hints(client: &mut Client, filters: &[Value]) -> anyhow::Result<Vec<String>> {
    client.request("s", filters).await?;
    let hints = client.hints("s").await?;
    client.close("s").await?;
    Ok(hints)
}

#[tokio::test]
async fn an_answer_is_finished_exactly_when_nothing_was_left_out() -> anyhow::Result<()> {
    let relay = RELAY.get_with(settings)?;
    let mut client = Client::connect(&relay).await?;
    let (eleven, events) = notes(&mut client, 11).await?;
    let (ten, _) = notes(&mut client, 10).await?;
    let id = &events[3].id;
    let cases = [
        // The relay's own limit is ten: the eleventh is left out.
        (vec![json!({"authors": [eleven]})], "more"),
        (vec![json!({"authors": [eleven], "limit": 500})], "more"),
        (vec![json!({"authors": [ten]})], "finish"),
        (vec![json!({"authors": [eleven], "until": events[0].created_at})], "finish"),
        // As good as the client's own.
        (vec![json!({"authors": [eleven], "limit": 4})], "more"),
        (vec![json!({"authors": [ten], "limit": 10})], "finish"),
        (vec![json!({"ids": [id], "limit": 1})], "finish"),
        (vec![json!({"ids": [id, events[4].id], "limit": 1})], "more"),
        (vec![json!({"ids": ["0".repeat(64)]})], "finish"),
        (vec![json!({"ids": []})], "finish"),
        (vec![json!({"#t": ["even"], "authors": [ten]})], "finish"),
        // One filter that has more is enough, unless another has answered with it.
        (vec![json!({"authors": [ten]}), json!({"ids": [id]})], "finish"),
        (vec![json!({"authors": [ten]}), json!({"authors": [eleven]})], "more"),
        (vec![json!({"authors": [eleven]}), json!({"authors": [ten]})], "more"),
        (vec![json!({"ids": [events[0].id]}), json!({"authors": [eleven]})], "finish"),
    ];
    for (filters, expected) in cases {
        assert_eq!(hints(&mut client, &filters).await?, [expected], "{filters:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_has_not_been_looked_at_is_not_claimed() -> anyhow::Result<()> {
    let relay = RELAY.get_with(settings)?;
    let mut client = Client::connect(&relay).await?;
    let (author, events) = notes(&mut client, 11).await?;
    let none: [&str; 0] = [];
    assert_eq!(hints(&mut client, &[json!({"authors": [author], "limit": 0})]).await?, none);
    // The event left out by the first filter is sent by the second.
    let both = [json!({"authors": [author]}), json!({"ids": [events[0].id]})];
    let said = hints(&mut client, &both).await?;
    ensure!(said != ["more"], "all eleven were sent");
    Ok(())
}

#[tokio::test]
async fn a_client_that_follows_the_hints_gets_everything() -> anyhow::Result<()> {
    let relay = RELAY.get_with(settings)?;
    let mut client = Client::connect(&relay).await?;
    let (author, events) = notes(&mut client, 37).await?;
    let (mut got, mut until, mut pages) = (Vec::new(), now_s(), 0);
    loop {
        client.request("page", &[json!({"authors": [author], "until": until})]).await?;
        let hints = client.hints("page").await?;
        let page: Vec<Event> = client.drain("page");
        until = page.last().map_or(0, |event| event.created_at - 1);
        got.extend(page);
        pages += 1;
        if hints == ["finish"] {
            break;
        }
        assert_eq!(hints, ["more"]);
    }
    got.reverse();
    assert_eq!((got, pages), (events, 4));
    Ok(())
}
