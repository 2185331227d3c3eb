//! NIP-86 and NIP-98: managing the relay over HTTP.

use anyhow::ensure;
use mercato_tests::client::Client;
use mercato_tests::http::document;
use mercato_tests::manage::{authorization, call, must, post};
use mercato_tests::{Draft, Keys, Relay};
use serde_json::{Value, json};

fn start(operator: &Keys) -> anyhow::Result<Relay> {
    Relay::settings().set("relay.pubkey", operator.public_key().to_hex()).start()
}

fn hex(keys: &Keys) -> String {
    keys.public_key().to_hex()
}

#[tokio::test]
async fn only_who_may_manage_the_relay_is_heard() -> anyhow::Result<()> {
    let (operator, stranger) = (Keys::generate(), Keys::generate());
    let relay = start(&operator)?;
    let body = r#"{"method":"supportedmethods","params":[]}"#;
    assert_eq!(post(&relay, None, body).await?.status, 401);
    assert_eq!(post(&relay, Some(&authorization(&relay, &operator, "another body")), body).await?.status, 401);
    assert_eq!(post(&relay, Some(&authorization(&relay, &stranger, body)), body).await?.status, 403);
    let good = authorization(&relay, &operator, body);
    let answer = post(&relay, Some(&good), body).await?;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let nonsense = "not JSON";
    assert_eq!(post(&relay, Some(&authorization(&relay, &operator, nonsense)), nonsense).await?.status, 400);
    let huge = " ".repeat(100_000);
    assert_eq!(post(&relay, Some(&authorization(&relay, &operator, &huge)), &huge).await?.status, 413);
    Ok(())
}

#[tokio::test]
async fn every_method_that_is_said_to_be_supported_is_known_and_bad_parameters_are_named() -> anyhow::Result<()> {
    let operator = Keys::generate();
    let relay = start(&operator)?;
    let methods = must(&relay, &operator, "supportedmethods", json!([])).await?;
    for method in methods.as_array().into_iter().flatten().filter_map(Value::as_str) {
        let said = call(&relay, &operator, method, json!([{}, {}])).await?;
        let known = said.as_ref().err().is_none_or(|error| !error.contains("unknown method"));
        ensure!(known, "{method} is not known: {said:?}");
    }
    let refused = call(&relay, &operator, "banpubkey", json!(["xyz"])).await?;
    ensure!(refused.as_ref().is_err_and(|error| error.contains("64 lower-case hex digits")), "{refused:?}");
    let refused = call(&relay, &operator, "makecoffee", json!([])).await?;
    ensure!(refused.as_ref().is_err_and(|error| error.contains("unknown method")), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn a_banned_author_loses_what_is_stored_and_stays_out_over_a_restart() -> anyhow::Result<()> {
    let (operator, spammer, other) = (Keys::generate(), Keys::generate(), Keys::generate());
    let mut relay = start(&operator)?;
    let mut client = Client::connect(&relay).await?;
    client.store(&Draft::note("spam").sign(&spammer)).await?;
    client.store(&Draft::note("not spam").sign(&other)).await?;
    must(&relay, &operator, "banpubkey", json!([hex(&spammer), "spam"])).await?;
    let left = client.query([json!({})]).await?;
    ensure!(left.iter().all(|event| event.pubkey != hex(&spammer)) && !left.is_empty(), "{left:?}");
    client.refused(&Draft::note("more spam").sign(&spammer), "blocked").await?;
    relay.stop()?;
    relay.restart()?;
    let mut client = Client::connect(&relay).await?;
    client.refused(&Draft::note("still spam").sign(&spammer), "blocked").await?;
    let banned = must(&relay, &operator, "listbannedpubkeys", json!([])).await?;
    assert_eq!(banned, json!([{"pubkey": hex(&spammer), "reason": "spam"}]));
    must(&relay, &operator, "unbanpubkey", json!([hex(&spammer)])).await?;
    client.store(&Draft::note("sorry").sign(&spammer)).await
}

#[tokio::test]
async fn a_reported_event_waits_for_the_operator_who_allows_or_bans_it() -> anyhow::Result<()> {
    let (operator, author, reporter) = (Keys::generate(), Keys::generate(), Keys::generate());
    let relay = start(&operator)?;
    let mut client = Client::connect(&relay).await?;
    let events = [Draft::note("fine").sign(&author), Draft::note("foul").sign(&author)];
    for event in &events {
        client.store(event).await?;
        let report = Draft::new(1984).tag(["e", &event.id, "spam"]).tag(["p", &event.pubkey]);
        client.store(&report.sign(&reporter)).await?;
    }
    let unseen = Draft::new(1984).tag(["e", &"0".repeat(64), "spam"]).sign(&reporter);
    client.store(&unseen).await?;
    let waiting = must(&relay, &operator, "listeventsneedingmoderation", json!([])).await?;
    ensure!(waiting.as_array().is_some_and(|list| list.len() == 2), "{waiting}");
    must(&relay, &operator, "allowevent", json!([events[0].id])).await?;
    must(&relay, &operator, "banevent", json!([events[1].id, "foul"])).await?;
    assert_eq!(must(&relay, &operator, "listeventsneedingmoderation", json!([])).await?, json!([]));
    let left = client.query_ids([json!({"kinds": [1]})]).await?;
    assert_eq!(left, [events[0].id.clone()]);
    client.refused(&events[1], "blocked").await?;
    let banned = must(&relay, &operator, "listbannedevents", json!([])).await?;
    assert_eq!(banned, json!([{"id": events[1].id, "reason": "foul"}]));
    Ok(())
}

#[tokio::test]
async fn kinds_are_allowed_and_disallowed() -> anyhow::Result<()> {
    let (operator, author) = (Keys::generate(), Keys::generate());
    let relay = start(&operator)?;
    let mut client = Client::connect(&relay).await?;
    must(&relay, &operator, "disallowkind", json!([7])).await?;
    client.refused(&Draft::new(7).sign(&author), "blocked").await?;
    must(&relay, &operator, "allowkind", json!([7])).await?;
    client.store(&Draft::new(7).sign(&author)).await?;
    client.store(&Draft::note("others still pass").sign(&author)).await?;
    must(&relay, &operator, "allowkind", json!([1])).await?;
    assert_eq!(must(&relay, &operator, "listallowedkinds", json!([])).await?, json!([1]));
    client.store(&Draft::note("allowed").sign(&author)).await?;
    client.refused(&Draft::new(8).sign(&author), "blocked").await?;
    Ok(())
}

#[tokio::test]
async fn what_the_relay_says_of_itself_is_changed() -> anyhow::Result<()> {
    let operator = Keys::generate();
    let mut relay = start(&operator)?;
    must(&relay, &operator, "changerelayname", json!(["Another"])).await?;
    must(&relay, &operator, "changerelaydescription", json!(["another relay"])).await?;
    must(&relay, &operator, "changerelayicon", json!(["https://example.com/icon.png"])).await?;
    relay.stop()?;
    relay.restart()?;
    let said = document(&relay).await?;
    assert_eq!(
        [&said["name"], &said["description"], &said["icon"]],
        ["Another", "another relay", "https://example.com/icon.png"]
    );
    Ok(())
}

#[tokio::test]
async fn a_blocked_address_is_put_out_and_kept_out() -> anyhow::Result<()> {
    let operator = Keys::generate();
    let relay = start(&operator)?;
    let mut client = Client::connect(&relay).await?;
    must(&relay, &operator, "blockip", json!(["127.0.0.1", "abuse"])).await?;
    ensure!(client.is_closed().await?, "the connection from a blocked address stays open");
    ensure!(Client::connect(&relay).await.is_err(), "a blocked address may connect");
    assert_eq!(
        must(&relay, &operator, "listblockedips", json!([])).await?,
        json!([{"ip": "127.0.0.1/32", "reason": "abuse"}])
    );
    must(&relay, &operator, "unblockip", json!(["127.0.0.1"])).await?;
    Client::connect(&relay).await.map(drop)
}

#[tokio::test]
async fn a_role_admits_its_members_until_it_is_taken_away() -> anyhow::Result<()> {
    let (operator, member) = (Keys::generate(), Keys::generate());
    let relay = Relay::settings()
        .set("relay.pubkey", operator.public_key().to_hex())
        .set("admission.admit", r#"["listed"]"#)
        .start()?;
    let mut client = Client::connect(&relay).await?;
    let refused = call(&relay, &operator, "assignrole", json!([hex(&member), "king"])).await?;
    ensure!(refused.is_err(), "a role that is not there was given");
    must(&relay, &operator, "createrole", json!(["king", "King", "ruler", "37", "1"])).await?;
    must(&relay, &operator, "editrole", json!(["king", "King", "ruler of the relay", 38, 1])).await?;
    must(&relay, &operator, "assignrole", json!([hex(&member), "king"])).await?;
    client.store(&Draft::note("as a member").sign(&member)).await?;
    must(&relay, &operator, "unassignrole", json!([hex(&member), "king"])).await?;
    client.refused(&Draft::note("no longer").sign(&member), "restricted").await?;
    must(&relay, &operator, "assignrole", json!([hex(&member), "king"])).await?;
    must(&relay, &operator, "deleterole", json!(["king"])).await?;
    client.refused(&Draft::note("nor with the role gone").sign(&member), "restricted").await?;
    Ok(())
}
