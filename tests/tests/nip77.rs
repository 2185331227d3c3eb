//! NIP-77: what is reconciled is what a REQ would answer, and nobody can do harm with it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mercato_tests::client::{Client, PATIENCE};
use mercato_tests::data::{real_events, to_jsonl};
use mercato_tests::event::{Draft, Event, now_s};
use mercato_tests::random::{Rng, World};
use mercato_tests::reconcile::{all, hex, neg, reconcile, storage, unhex};
use mercato_tests::relay::{Relay, Shared, run_verb};
use negentropy::Negentropy;
use nostr::Keys;
use serde_json::json;

static RELAY: Shared = Shared::new();

/// The text of a NEG-ERR, which must come next.
async fn refused(client: &mut Client, id: &str) -> anyhow::Result<String> {
    match neg(client, id).await? {
        Err(text) => Ok(text),
        Ok(message) => anyhow::bail!("a NEG-ERR was expected, not {} bytes", message.len() / 2),
    }
}

#[tokio::test]
async fn random_stores_and_filters_differ_by_what_a_req_says() -> anyhow::Result<()> {
    let relay = Relay::settings().set("limits.max_limit", 5_000).start()?;
    let mut client = Client::connect(&relay).await?;
    let mut rng = Rng::from_environment();
    let mut world = World::new(rng.split(), now_s() - 10_000);
    for _ in 0..600 {
        let event = world.event();
        client.publish(&event).await?;
    }
    for round in 0..40 {
        let mut filter = match round {
            // Kept by a tree, with and without times.
            0 => json!({}),
            1..8 => json!({"since": now_s() - 10_000 + rng.below(5_000), "until": now_s() - rng.below(5_000)}),
            _ => world.filter(),
        };
        let stored = client.query([filter.clone()]).await?;
        let mine: Vec<&Event> = stored.iter().filter(|_| rng.percent(60)).collect();
        let own: Vec<Event> = (0..rng.below(50)).map(|n| Draft::note(n.to_string()).sign(&Keys::generate())).collect();
        let set = storage(mine.iter().copied().chain(&own));
        if let Some(members) = filter.as_object_mut().filter(|_| rng.percent(50)) {
            // Orders of members and defaults do not matter.
            members.entry("since").or_insert(json!(0));
        }
        let (have, need) = reconcile(&mut client, "sync", &filter, &set, [4_096, 60_000][round % 2]).await?;
        let mine: BTreeSet<_> = mine.iter().map(|event| event.id.clone()).collect();
        let lacking = stored.iter().map(|event| event.id.clone()).filter(|id| !mine.contains(id)).collect();
        assert_eq!(need, lacking, "{filter}");
        assert_eq!(have, own.iter().map(|event| event.id.clone()).collect(), "{filter}");
    }
    Ok(())
}

#[tokio::test]
async fn real_events_are_reconciled_whole_with_and_without_a_tree() -> anyhow::Result<()> {
    let Some(events) = real_events("real_events.jsonl") else { return Ok(()) };
    for filters in ["[]", "[\"{}\"]"] {
        let relay = Relay::settings().set("negentropy.filters", filters).start()?;
        let set = format!("store.path={}", Relay::store_in(relay.folder()).display());
        run_verb(&["import", "--set", &set], &to_jsonl(&events))?;
        let mut client = Client::connect(&relay).await?;
        let stored = run_verb(&["export", "--set", &set], b"")?;
        let public = stored.lines().filter_map(|line| Event::from_json(&serde_json::from_str(line).ok()?).ok());
        let now = now_s().to_string();
        let expected: BTreeSet<String> = public
            .filter(|event| ![4, 1059, 21059].contains(&event.kind))
            .filter(|event| event.value("expiration").is_none_or(|end| end > now.as_str()))
            .map(|event| event.id)
            .collect();
        assert!(expected.len() > 100);
        assert_eq!(all(&mut client, &json!({})).await?, expected, "{filters}");
    }
    Ok(())
}

#[tokio::test]
async fn private_events_are_reconciled_with_their_parties_only() -> anyhow::Result<()> {
    for filters in ["[]", "[\"{}\"]"] {
        let relay = Relay::settings().set("negentropy.filters", filters).start()?;
        let mut client = Client::connect(&relay).await?;
        let (alice, bob, eve) = (Keys::generate(), Keys::generate(), Keys::generate());
        let to = |kind, whom: &Keys| Draft::new(kind).tag(["p", &whom.public_key().to_hex()]);
        let note = Draft::note("for all").sign(&alice);
        let (message, wrap) = (to(4, &bob).sign(&alice), to(1059, &bob).sign(&Keys::generate()));
        for event in [&note, &message, &wrap] {
            client.store(event).await?;
        }
        let ids = |events: &[&Event]| events.iter().map(|event| event.id.clone()).collect::<BTreeSet<_>>();
        for filter in [json!({}), json!({"since": 1}), json!({"kinds": [4, 1059, 1]})] {
            let mut stranger = Client::connect(&relay).await?;
            assert_eq!(all(&mut stranger, &filter).await?, ids(&[&note]), "{filters} {filter}");
            for (keys, expected) in
                [(&eve, ids(&[&note])), (&alice, ids(&[&note, &message])), (&bob, ids(&[&note, &message, &wrap]))]
            {
                let mut party = Client::connect(&relay).await?;
                party.authenticate(keys).await?;
                assert_eq!(all(&mut party, &filter).await?, expected, "{filters} {filter}");
            }
        }
        let mut stranger = Client::connect(&relay).await?;
        stranger.send(json!(["NEG-OPEN", "n", {"kinds": [4, 1059]}, "61"])).await?;
        assert!(refused(&mut stranger, "n").await?.starts_with("auth-required: "));
        for filter in [json!({"ids": [wrap.id]}), json!({"#p": [bob.public_key().to_hex()]})] {
            assert!(all(&mut stranger, &filter).await?.is_empty(), "{filter}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_leased_request_is_in_nobody_elses_set_while_it_is_open() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let (customer, mut client) = (Keys::generate(), Client::connect(&relay).await?);
    let request = Draft::new(5_050).tag(["i", "question", "text"]).tag(["nonce", &now_s().to_string()]).sign(&customer);
    client.store(&request).await?;
    let author = json!({"authors": [customer.public_key().to_hex()]});
    for filter in [json!({}), author.clone(), json!({"kinds": [5050]})] {
        assert!(!all(&mut client, &filter).await?.contains(&request.id), "{filter}");
    }
    assert!(all(&mut client, &json!({"ids": [request.id]})).await?.contains(&request.id), "by name, as for a REQ");
    let mut own = Client::connect(&relay).await?;
    own.authenticate(&customer).await?;
    for filter in [json!({}), author] {
        assert!(all(&mut own, &filter).await?.contains(&request.id), "{filter}");
    }
    Ok(())
}

#[tokio::test]
async fn what_expires_leaves_the_set_before_it_is_swept() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let event = Draft::note("short").tag(["expiration", &(now_s() + 2).to_string()]).sign(&Keys::generate());
    client.store(&event).await?;
    assert!(all(&mut client, &json!({})).await?.contains(&event.id));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!all(&mut client, &json!({})).await?.contains(&event.id));
    Ok(())
}

#[tokio::test]
async fn a_set_is_as_it_was_when_it_was_opened() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    for filter in [json!({}), json!({"kinds": [1, 30_000]})] {
        let before = all(&mut client, &filter).await?;
        let ours = storage([]);
        let mut side = Negentropy::borrowed(&ours, 4_096)?;
        client.send(json!(["NEG-OPEN", "old", filter, hex(&side.initiate()?)])).await?;
        let first = neg(&mut client, "old").await?.map_err(anyhow::Error::msg)?;
        client.store(&Draft::note(filter.to_string()).sign(&Keys::generate())).await?;
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let mut next = side.reconcile_with_ids(&unhex(&first), &mut have, &mut need)?;
        while let Some(message) = next {
            client.send(json!(["NEG-MSG", "old", hex(&message)])).await?;
            let answer = neg(&mut client, "old").await?.map_err(anyhow::Error::msg)?;
            next = side.reconcile_with_ids(&unhex(&answer), &mut have, &mut need)?;
        }
        let need: BTreeSet<String> = need.into_iter().map(|id| hex(id.as_bytes())).collect();
        // Other tests publish meanwhile too.
        assert!(need.is_superset(&before) || need.len() >= before.len().saturating_sub(5));
        assert!(all(&mut client, &filter).await?.len() > need.len());
    }
    Ok(())
}

#[tokio::test]
async fn what_is_no_message_is_refused_by_name_and_ends_the_sync() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let cases = [
        json!(["NEG-OPEN", "n", {}, "zz"]),
        json!(["NEG-OPEN", "n", {}, ""]),
        json!(["NEG-OPEN", "n", {}, "7b"]),
        json!(["NEG-OPEN", "n", {}, "61ff"]),
        json!(["NEG-OPEN", "n", {}, "6100000f"]),
        json!(["NEG-OPEN", "n", {}, "61000002ffffffffffffffff7f"]),
        json!(["NEG-OPEN", "n", {}, "610021"]),
        json!(["NEG-OPEN", "n", {}, 5]),
        json!(["NEG-OPEN", "n", {}]),
        json!(["NEG-OPEN", "n", {}, "61", "more"]),
        json!(["NEG-OPEN", "n", {"colour": "red"}, "61"]),
        json!(["NEG-OPEN", "n", [], "61"]),
        json!(["NEG-MSG", "n"]),
        json!(["NEG-MSG", "n", "6"]),
    ];
    for case in cases {
        client.send(json!(["NEG-OPEN", "n", {}, "61"])).await?;
        assert_eq!(neg(&mut client, "n").await?, Ok("61".to_owned()));
        client.send(case.clone()).await?;
        let text = refused(&mut client, "n").await?;
        assert!(text.starts_with("invalid: "), "{case}: {text}");
        client.send(json!(["NEG-MSG", "n", "61"])).await?;
        assert!(refused(&mut client, "n").await?.starts_with("closed: "), "{case}");
    }
    for message in [json!(["NEG-OPEN"]), json!(["NEG-MSG"]), json!(["NEG-CLOSE"]), json!(["NEG-OPEN", "", {}, "61"])] {
        client.send(message).await?;
        assert!(client.notice().await?.starts_with("invalid: "));
    }
    client.send(json!(["NEG-CLOSE", "never opened"])).await?;
    // A version to come is answered with ours.
    client.send(json!(["NEG-OPEN", "new", {}, "62abcdef"])).await?;
    assert_eq!(neg(&mut client, "new").await?, Ok("61".to_owned()));
    relay.check_alive()
}

#[tokio::test]
async fn an_id_that_is_opened_again_is_a_new_sync_and_closing_ends_one() -> anyhow::Result<()> {
    let relay = Relay::start(Relay::settings())?;
    let mut client = Client::connect(&relay).await?;
    client.store(&Draft::note("one").sign(&Keys::generate())).await?;
    let everything = hex(&Negentropy::owned(storage([]), 0)?.initiate()?);
    for _ in 0..3 {
        client.send(json!(["NEG-OPEN", "again", {"kinds": [7]}, "61"])).await?;
        neg(&mut client, "again").await?.map_err(anyhow::Error::msg)?;
        client.send(json!(["NEG-OPEN", "again", {"kinds": [1]}, everything])).await?;
        assert!(neg(&mut client, "again").await?.map_err(anyhow::Error::msg)?.len() > 64);
    }
    client.send(json!(["NEG-CLOSE", "again"])).await?;
    client.send(json!(["NEG-MSG", "again", everything])).await?;
    assert!(refused(&mut client, "again").await?.starts_with("closed: "));
    Ok(())
}

#[tokio::test]
async fn bounds_are_told_of_and_kept() -> anyhow::Result<()> {
    let relay = Relay::settings()
        .set("limits.max_sync_events", 50)
        .set("negentropy.filters", "[]")
        .set("negentropy.max_sessions", 3)
        .set("negentropy.idle_s", 2)
        .start()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    for n in 0..60 {
        client.store(&Draft::note(n.to_string()).at(now_s() - n).sign(&keys)).await?;
    }
    client.send(json!(["NEG-OPEN", "big", {}, "61"])).await?;
    assert_eq!(refused(&mut client, "big").await?, "blocked: too many query results");
    assert_eq!(all(&mut client, &json!({"limit": 50})).await?.len(), 50);
    for id in ["a", "b", "c"] {
        client.send(json!(["NEG-OPEN", id, {"kinds": [7]}, "61"])).await?;
        neg(&mut client, id).await?.map_err(anyhow::Error::msg)?;
    }
    client.send(json!(["NEG-OPEN", "d", {"kinds": [7]}, "61"])).await?;
    assert!(refused(&mut client, "d").await?.starts_with("blocked: "));
    // They end by themselves, and make room.
    for id in ["a", "b", "c"] {
        assert!(refused(&mut client, id).await?.starts_with("closed: "), "{id}");
    }
    client.send(json!(["NEG-OPEN", "d", {"kinds": [7]}, "61"])).await?;
    neg(&mut client, "d").await?.map_err(anyhow::Error::msg)?;
    Ok(())
}

#[tokio::test]
async fn a_relay_that_does_not_sync_says_so() -> anyhow::Result<()> {
    let relay = Relay::settings().set("negentropy.enabled", false).start()?;
    let mut client = Client::connect(&relay).await?;
    client.send(json!(["NEG-OPEN", "n", {}, "61"])).await?;
    assert!(refused(&mut client, "n").await?.starts_with("blocked: "));
    Ok(())
}

#[tokio::test]
async fn the_memory_of_all_syncs_is_bounded_and_comes_back() -> anyhow::Result<()> {
    let settings = Relay::settings().set("negentropy.max_session_mib", 1).set("negentropy.filters", "[]");
    let relay = settings.start()?;
    let set = format!("store.path={}", Relay::store_in(relay.folder()).display());
    let keys = Keys::generate();
    let events: Vec<Event> = (0..9_000).map(|n| Draft::note(n.to_string()).at(now_s() - n).sign(&keys)).collect();
    run_verb(&["import", "--set", &set], &to_jsonl(&events))?;
    let mut first = Client::connect(&relay).await?;
    first.send(json!(["NEG-OPEN", "n", {}, "61"])).await?;
    neg(&mut first, "n").await?.map_err(anyhow::Error::msg)?;
    let mut second = Client::connect(&relay).await?;
    second.send(json!(["NEG-OPEN", "n", {}, "61"])).await?;
    assert!(refused(&mut second, "n").await?.starts_with("blocked: "));
    // Whoever leaves gives it back, however he leaves.
    drop(first);
    let begun = Instant::now();
    loop {
        second.send(json!(["NEG-OPEN", "n", {}, "61"])).await?;
        if neg(&mut second, "n").await?.is_ok() {
            return Ok(());
        }
        assert!(begun.elapsed() < PATIENCE, "the memory never comes back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn garbage_floods_and_clients_that_leave_do_no_harm() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut rng = Rng::from_environment();
    for round in 0..30 {
        let mut client = Client::connect(&relay).await?;
        for n in 0..30 {
            let bytes: Vec<u8> = (0..rng.below(200)).map(|_| rng.below(256) as u8).collect();
            let message = hex(&[&[0x61][..], &bytes].concat());
            client.send(json!(["NEG-OPEN", n.to_string(), {}, message])).await?;
            client.send(json!(["NEG-MSG", n.to_string(), message])).await?;
        }
        if round % 2 == 0 {
            // Ten thousand ranges, as many as a message holds.
            let ranges = format!("61{}", "020001".repeat(10_000));
            client.send(json!(["NEG-OPEN", "many", {}, ranges])).await?;
        }
    }
    let mut client = Client::connect(&relay).await?;
    client.store(&Draft::note("still here").sign(&Keys::generate())).await?;
    assert!(!all(&mut client, &json!({})).await?.is_empty());
    relay.check_alive()
}
