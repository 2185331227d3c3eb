//! NIP-01: events, filters, subscriptions. One test for each claim; each has its own authors, so that all
//! can share one relay.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use mercato_tests::client::Client;
use mercato_tests::event::{Draft, Event, now_s};
use mercato_tests::random::Rng;
use mercato_tests::relay::Shared;
use mercato_tests::said::{Said, prefix};
use mercato_tests::{Keys, Relay};
use serde_json::{Value, json};

static RELAY: Shared = Shared::new();

/// Publishes notes at these times by one author; the author and the events in the order given.
async fn notes(client: &mut Client, times: &[u64]) -> anyhow::Result<(String, Vec<Event>)> {
    let keys = Keys::generate();
    let mut events = Vec::new();
    for (number, time) in times.iter().enumerate() {
        let event = Draft::note(format!("note {number}")).at(*time).sign(&keys);
        client.store(&event).await?;
        events.push(event);
    }
    Ok((keys.public_key().to_hex(), events))
}

fn ids(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.id.as_str()).collect()
}

#[tokio::test]
async fn an_event_is_answered_ok_true_and_served_unchanged() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let hard = "quotes \" \\ / newline \n tab \t bell \u{7} delete \u{7f} crab \u{1F980} separator \u{2028} \u{0}";
    let event = Draft::note(hard).tag(["t", hard]).tag(["empty"]).tag(["x", "", "y"]).sign(&Keys::generate());
    let verdict = client.publish(&event).await?;
    ensure!(verdict.accepted && verdict.text.is_empty(), "{verdict:?}");
    let served = client.query([json!({"ids": [event.id]})]).await?;
    assert_eq!(served, [event]);
    Ok(())
}

#[tokio::test]
async fn an_event_sent_twice_is_a_duplicate_and_still_ok() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let event = Draft::note("again").sign(&Keys::generate());
    client.store(&event).await?;
    let verdict = client.publish(&event).await?;
    ensure!(verdict.accepted && prefix(&verdict.text) == Some("duplicate"), "{verdict:?}");
    assert_eq!(client.query([json!({"ids": [event.id]})]).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn an_event_written_in_other_escapes_keeps_its_id_and_is_served_in_canonical_ones() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let event = Draft::note("a/b \u{1F980} é").tag(["t", "é"]).sign(&Keys::generate());
    let spelled =
        event.to_json().to_string().replace('/', "\\/").replace('\u{1F980}', "\\ud83e\\udd80").replace('é', "\\u00E9");
    client.send_text(format!(" [ \"EVENT\" ,\n{spelled}\t] ")).await?;
    ensure!(client.verdict(&event.id).await?.accepted, "refused");
    assert_eq!(client.query([json!({"#t": ["é"], "ids": [event.id]})]).await?, [event]);
    Ok(())
}

#[tokio::test]
async fn a_broken_signature_id_or_hash_is_refused_as_invalid() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let good = Draft::note("good").sign(&Keys::generate());
    let other = Draft::note("other").sign(&Keys::generate());
    let forged = [
        Event { sig: other.sig.clone(), ..good.clone() },
        Event { content: "changed".to_owned(), ..good.clone() },
        Event { id: other.id.clone(), ..good.clone() },
        Event { pubkey: other.pubkey.clone(), ..good.clone() },
        Event { created_at: good.created_at + 1, ..good.clone() },
        Event { kind: 2, ..good.clone() },
        Event { tags: vec![vec!["t".to_owned()]], ..good.clone() },
    ];
    for event in forged {
        client.refused(&event, "invalid").await?;
    }
    client.store(&good).await
}

#[tokio::test]
async fn who_has_heard_ok_finds_the_event_among_the_stored_ones() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let (mut client, mut other) = (Client::connect(&relay).await?, Client::connect(&relay).await?);
    let keys = Keys::generate();
    for number in 0..200 {
        let event = Draft::note(format!("{number}")).sign(&keys);
        client.store(&event).await?;
        // It may not come after EOSE, as if it were news.
        assert_eq!(other.query_ids([json!({"ids": [event.id]})]).await?, [event.id], "after {number}");
    }
    Ok(())
}

#[tokio::test]
async fn stored_events_end_with_eose_and_come_newest_first() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let now = now_s();
    let (author, events) = notes(&mut client, &[now - 3, now - 1, now - 2]).await?;
    let served = client.query([json!({"authors": [author]})]).await?;
    assert_eq!(ids(&served), [&*events[1].id, &*events[2].id, &*events[0].id]);
    Ok(())
}

#[tokio::test]
async fn of_events_of_one_second_the_lower_id_comes_first() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let (author, events) = notes(&mut client, &[now_s() - 5; 8]).await?;
    let mut sorted = ids(&events);
    sorted.sort_unstable();
    assert_eq!(client.query_ids([json!({"authors": [author]})]).await?, sorted);
    assert_eq!(client.query_ids([json!({"authors": [author], "limit": 3})]).await?, sorted[..3]);
    Ok(())
}

#[tokio::test]
async fn limit_keeps_the_newest_and_zero_keeps_none() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let now = now_s();
    let (author, events) = notes(&mut client, &[now - 3, now - 2, now - 1]).await?;
    let newest = client.query_ids([json!({"authors": [author], "limit": 2})]).await?;
    assert_eq!(newest, [&*events[2].id, &*events[1].id]);
    assert!(client.query([json!({"authors": [author], "limit": 0})]).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn limit_does_not_bind_live_events() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let none = client.subscribe("s", [json!({"authors": [keys.public_key().to_hex()], "limit": 0})]).await?;
    assert!(none.is_empty());
    for number in 0..3 {
        let event = Draft::note(format!("{number}")).sign(&keys);
        client.store(&event).await?;
        assert_eq!(client.live("s").await?, event);
    }
    Ok(())
}

#[tokio::test]
async fn since_and_until_are_inclusive() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let now = now_s();
    let times: Vec<u64> = (0..5).map(|back| now - 100 + back).collect();
    let (author, events) = notes(&mut client, &times).await?;
    let mut between = async |since: usize, until: usize| {
        client.query_ids([json!({"authors": [author], "since": times[since], "until": times[until]})]).await
    };
    assert_eq!(between(1, 3).await?, [&*events[3].id, &*events[2].id, &*events[1].id]);
    assert_eq!(between(2, 2).await?, [&*events[2].id]);
    assert!(between(3, 1).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn ids_authors_and_kinds_each_select() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let author = keys.public_key().to_hex();
    let (note, reaction) = (Draft::note("n").at(now_s() - 1).sign(&keys), Draft::new(7).content("+").sign(&keys));
    let stranger = Draft::note("s").sign(&Keys::generate());
    for event in [&note, &reaction, &stranger] {
        client.store(event).await?;
    }
    let cases = [
        (json!({"ids": [note.id]}), vec![&note]),
        (json!({"ids": [note.id, stranger.id], "authors": [author]}), vec![&note]),
        (json!({"authors": [author]}), vec![&reaction, &note]),
        (json!({"authors": [author], "kinds": [7]}), vec![&reaction]),
        (json!({"authors": [author], "kinds": [1, 7]}), vec![&reaction, &note]),
        (json!({"authors": [author], "kinds": [65535]}), vec![]),
        (json!({"authors": [author], "kinds": []}), vec![]),
        (json!({"ids": []}), vec![]),
    ];
    for (filter, expected) in cases {
        let served = client.query([filter.clone()]).await?;
        assert_eq!(served.iter().collect::<Vec<_>>(), expected, "{filter}");
    }
    Ok(())
}

#[tokio::test]
async fn single_letter_tags_of_both_cases_select_by_their_first_value() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let author = keys.public_key().to_hex();
    let lower = Draft::note("l").at(now_s() - 1).tag(["t", "one", "second"]).tag(["t", "two"]).sign(&keys);
    let upper = Draft::note("u").tag(["T", "one"]).tag(["tt", "one"]).sign(&keys);
    client.store(&lower).await?;
    client.store(&upper).await?;
    let cases = [
        (json!({"#t": ["one"]}), vec![&lower]),
        (json!({"#T": ["one"]}), vec![&upper]),
        (json!({"#t": ["two", "none"]}), vec![&lower]),
        (json!({"#t": ["two"], "#T": ["one"]}), vec![]),
        (json!({"#t": ["second"]}), vec![]),
        (json!({"#t": ["on"]}), vec![]),
        (json!({"#t": ["ONE"]}), vec![]),
        (json!({"#t": []}), vec![]),
    ];
    for (mut filter, expected) in cases {
        filter["authors"] = json!([author]);
        let served = client.query([filter.clone()]).await?;
        assert_eq!(served.iter().collect::<Vec<_>>(), expected, "{filter}");
    }
    Ok(())
}

#[tokio::test]
async fn several_filters_are_alternatives_without_doubles() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let now = now_s();
    let (author, events) = notes(&mut client, &[now - 4, now - 3, now - 2]).await?;
    let (other, others) = notes(&mut client, &[now - 1]).await?;
    let filters =
        [json!({"authors": [author]}), json!({"authors": [other, author], "limit": 2}), json!({"ids": [events[0].id]})];
    let served = client.subscribe("s", filters).await?;
    let distinct: HashSet<&str> = ids(&served).into_iter().collect();
    assert_eq!(distinct.len(), served.len(), "an event came twice");
    let expected: HashSet<&str> = ids(&events).into_iter().chain(ids(&others)).collect();
    assert_eq!(distinct, expected);
    Ok(())
}

#[tokio::test]
async fn a_live_event_that_fits_two_filters_comes_once() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let author = json!([keys.public_key().to_hex()]);
    client.subscribe("s", [json!({"authors": author}), json!({"authors": author, "kinds": [1]})]).await?;
    let events = [Draft::note("1").sign(&keys), Draft::note("2").sign(&keys)];
    for event in &events {
        client.store(event).await?;
        assert_eq!(client.live("s").await?, *event);
    }
    Ok(())
}

#[tokio::test]
async fn a_replaceable_event_gives_way_to_a_newer_one_only() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    for kind in [0, 3, 10_002] {
        let keys = Keys::generate();
        let author = keys.public_key().to_hex();
        let of = |age: u64| Draft::new(kind).at(now_s() - 100 + age).content(format!("{age}")).sign(&keys);
        let (old, middle, new) = (of(1), of(2), of(3));
        client.store(&middle).await?;
        let text = client.refused(&old, "replaced").await?;
        assert_eq!(text, "replaced: have newer event");
        client.store(&new).await?;
        client.refused(&middle, "replaced").await?;
        assert_eq!(client.query([json!({"authors": [author], "kinds": [kind]})]).await?, [new]);
    }
    Ok(())
}

#[tokio::test]
async fn of_two_replaceable_events_of_one_second_the_lower_id_stays() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    for low_first in [true, false] {
        let keys = Keys::generate();
        let author = keys.public_key().to_hex();
        let time = now_s() - 10;
        let mut pair =
            [Draft::new(0).at(time).content("a").sign(&keys), Draft::new(0).at(time).content("b").sign(&keys)];
        pair.sort_by(|a, b| a.id.cmp(&b.id));
        let [low, high] = pair;
        if low_first {
            client.store(&low).await?;
            client.refused(&high, "replaced").await?;
        } else {
            client.store(&high).await?;
            client.store(&low).await?;
        }
        assert_eq!(client.query_ids([json!({"authors": [author]})]).await?, [low.id]);
    }
    Ok(())
}

#[tokio::test]
async fn an_addressable_event_is_replaced_under_its_own_identifier_only() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let author = keys.public_key().to_hex();
    let of = |age: u64, name: &str| Draft::new(30_023).at(now_s() - 100 + age).tag(["d", name]).sign(&keys);
    let (old, new, longer) = (of(1, "a"), of(2, "a"), of(1, "ab"));
    let nameless = Draft::new(30_023).at(now_s() - 99).sign(&keys);
    let empty = Draft::new(30_023).at(now_s() - 98).tag(["d", ""]).sign(&keys);
    for event in [&old, &new, &longer, &nameless, &empty] {
        client.store(event).await?;
    }
    client.refused(&old, "replaced").await?;
    let served: HashSet<String> = client.query_ids([json!({"authors": [author]})]).await?.into_iter().collect();
    assert_eq!(served, HashSet::from([new.id.clone(), longer.id, empty.id]));
    assert_eq!(client.query_ids([json!({"authors": [author], "#d": ["a"]})]).await?, [new.id]);
    Ok(())
}

#[tokio::test]
async fn an_ephemeral_event_is_delivered_and_not_kept() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let author = keys.public_key().to_hex();
    client.subscribe("s", [json!({"authors": [author]})]).await?;
    let event = Draft::new(20_001).content("now").sign(&keys);
    client.store(&event).await?;
    assert_eq!(client.live("s").await?, event);
    assert!(client.query([json!({"authors": [author]})]).await?.is_empty());
    assert!(client.query([json!({"ids": [event.id]})]).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn close_ends_a_subscription() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let filter = json!({"authors": [keys.public_key().to_hex()]});
    client.subscribe("ended", [filter.clone()]).await?;
    client.subscribe("open", [filter]).await?;
    client.close("ended").await?;
    let event = Draft::note("later").sign(&keys);
    client.store(&event).await?;
    assert_eq!(client.live("open").await?, event);
    // Both would have been served together: the next thing heard is the answer to the next question.
    client.send(json!(["REQ", "fence", {"ids": []}])).await?;
    ensure!(client.next().await?.is_eose("fence"), "something came first");
    Ok(())
}

#[tokio::test]
async fn close_of_what_is_not_open_is_ignored() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    client.close("never").await?;
    client.send(json!(["REQ", "fence", {"ids": []}])).await?;
    ensure!(client.next().await?.is_eose("fence"), "something came first");
    Ok(())
}

#[tokio::test]
async fn a_req_of_the_same_id_takes_the_place_of_the_first() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let (first, second) = (Keys::generate(), Keys::generate());
    client.subscribe("s", [json!({"authors": [first.public_key().to_hex()]})]).await?;
    client.subscribe("s", [json!({"authors": [second.public_key().to_hex()]})]).await?;
    client.store(&Draft::note("nobody listens").sign(&first)).await?;
    let event = Draft::note("somebody does").sign(&second);
    client.store(&event).await?;
    assert_eq!(client.live("s").await?, event);
    Ok(())
}

#[tokio::test]
async fn subscriptions_of_one_name_on_two_connections_are_two() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let (mut one, mut two) = (Client::connect(&relay).await?, Client::connect(&relay).await?);
    let keys = Keys::generate();
    let filter = json!({"authors": [keys.public_key().to_hex()]});
    one.subscribe("s", [filter.clone()]).await?;
    two.subscribe("s", [filter]).await?;
    one.close("s").await?;
    let event = Draft::note("n").sign(&keys);
    one.store(&event).await?;
    assert_eq!(two.live("s").await?, event);
    Ok(())
}

#[tokio::test]
async fn an_author_gets_its_own_event_live() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    client.subscribe("s", [json!({"authors": [keys.public_key().to_hex()]})]).await?;
    let event = Draft::note("mine").sign(&keys);
    client.store(&event).await?;
    assert_eq!(client.live("s").await?, event);
    Ok(())
}

#[tokio::test]
async fn a_refused_event_reaches_no_subscription() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    client.subscribe("s", [json!({"authors": [keys.public_key().to_hex()]})]).await?;
    let new = Draft::new(0).sign(&keys);
    let old = Draft::new(0).at(now_s() - 10).sign(&keys);
    let forged = Event { content: "forged".to_owned(), ..Draft::note("true").sign(&keys) };
    client.store(&new).await?;
    client.refused(&old, "replaced").await?;
    client.refused(&forged, "invalid").await?;
    let verdict = client.publish(&new).await?;
    ensure!(verdict.accepted, "{verdict:?}");
    let last = Draft::note("last").sign(&keys);
    client.store(&last).await?;
    assert_eq!(client.live("s").await?, new);
    assert_eq!(client.live("s").await?, last);
    Ok(())
}

#[tokio::test]
async fn times_outside_of_the_limits_are_refused() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let late = Draft::note("late").at(now_s() + 2_000).sign(&keys);
    assert_eq!(client.refused(&late, "invalid").await?, "invalid: created_at too late");
    let early = Draft::note("early").at(now_s() - 94_608_000 - 100).sign(&keys);
    assert_eq!(client.refused(&early, "invalid").await?, "invalid: created_at too early");
    let ephemeral = Draft::new(20_001).at(now_s() - 100).sign(&keys);
    assert_eq!(client.refused(&ephemeral, "invalid").await?, "invalid: created_at too early");
    client.store(&Draft::note("soon").at(now_s() + 600).sign(&keys)).await
}

#[tokio::test]
async fn sizes_outside_of_the_limits_are_refused() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let large = Draft::note("x".repeat(65_600)).sign(&keys);
    ensure!(client.refused(&large, "invalid").await?.starts_with("invalid: event too large: "), "another text");
    let many = Draft::note("").tags(vec![vec!["t".to_owned()]; 2_001]).sign(&keys);
    assert_eq!(client.refused(&many, "invalid").await?, "invalid: too many tags: 2001");
    let long = Draft::note("").tag(["t", &"x".repeat(1_025)]).sign(&keys);
    ensure!(client.refused(&long, "invalid").await?.starts_with("invalid: tag value too large"), "another text");
    let edge = Draft::note("x".repeat(60_000)).tags(vec![vec!["t".to_owned()]; 300]).tag(["x", &"x".repeat(1_024)]);
    client.store(&edge.sign(&keys)).await
}

/// One subscriber of the race below: what it saw, stored and live, until it has seen `expected` events.
async fn listen(port: u16, filter: Value, delay: Duration, expected: usize) -> anyhow::Result<Vec<String>> {
    tokio::time::sleep(delay).await;
    let mut client = Client::connect_to(port).await?;
    client.request("race", &[filter]).await?;
    let (mut seen, mut eose) = (Vec::with_capacity(expected), false);
    while seen.len() < expected || !eose {
        match client.next().await.with_context(|| format!("after {} of {expected}", seen.len()))? {
            Said::Event { event, .. } => seen.push(event.id),
            Said::Eose { .. } => eose = true,
            other => anyhow::bail!("{other:?}"),
        }
    }
    // What came twice would be behind the last by now.
    client.send(json!(["REQ", "fence", {"ids": []}])).await?;
    loop {
        match client.next().await? {
            Said::Event { event, .. } => seen.push(event.id),
            said if said.is_eose("fence") => return Ok(seen),
            other => anyhow::bail!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_and_live_events_meet_without_gap_or_double() -> anyhow::Result<()> {
    const EVENTS: usize = 2_000;
    const SUBSCRIBERS: usize = 20;
    const PUBLISHERS: usize = 4;
    let relay = Relay::settings().set("limits.max_limit", 5_000).start()?;
    let mut rng = Rng::from_environment();
    let keys: Vec<Keys> = (0..PUBLISHERS).map(|_| Keys::generate()).collect();
    let authors: Vec<String> = keys.iter().map(|keys| keys.public_key().to_hex()).collect();
    let note = |number: usize| Draft::note(format!("{number}")).tag(["t", "race"]).sign(&keys[number % PUBLISHERS]);
    let events: Vec<Event> = (0..EVENTS).map(note).collect();
    let expected: HashSet<String> = events.iter().map(|event| event.id.clone()).collect();

    // Every way in which a filter can be indexed.
    let filters = [json!({"#t": ["race"]}), json!({"authors": authors}), json!({"kinds": [1]}), json!({})];
    let mut listening = Vec::new();
    for number in 0..SUBSCRIBERS {
        let delay = Duration::from_millis(rng.below(600));
        listening.push(tokio::spawn(listen(relay.port(), filters[number % filters.len()].clone(), delay, EVENTS)));
    }
    let mut publishing = Vec::new();
    for share in events.chunks(EVENTS / PUBLISHERS) {
        let (share, port) = (share.to_vec(), relay.port());
        publishing.push(tokio::spawn(async move {
            let mut client = Client::connect_to(port).await?;
            for window in share.chunks(10) {
                for event in window {
                    client.offer(event).await?;
                }
                for event in window {
                    ensure!(client.verdict(&event.id).await?.accepted, "refused");
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        }));
    }
    for publisher in publishing {
        publisher.await??;
    }
    for (number, listener) in listening.into_iter().enumerate() {
        let seen = listener.await?.with_context(|| format!("subscriber {number}"))?;
        let distinct: HashSet<String> = seen.iter().cloned().collect();
        assert_eq!(seen.len(), EVENTS, "subscriber {number} saw an event twice");
        assert_eq!(distinct, expected, "subscriber {number} missed an event");
    }
    Ok(())
}

#[tokio::test]
async fn a_pipelined_client_gets_every_answer_in_order() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let events: Vec<Event> = (0..200).map(|number| Draft::note(format!("{number}")).sign(&keys)).collect();
    for event in &events {
        client.offer(event).await?;
    }
    for event in &events {
        match client.next().await? {
            Said::Ok { id, accepted: true, .. } => assert_eq!(id, event.id),
            other => anyhow::bail!("{other:?}"),
        }
    }
    Ok(())
}
