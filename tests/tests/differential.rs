//! The relay against its naive twin: whatever is stored, every answer equals a plain scan over all events, and
//! every live delivery a plain trial of every filter.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mercato_tests::Relay;
use mercato_tests::client::Client;
use mercato_tests::data::{real_events, to_jsonl};
use mercato_tests::event::{Event, now_s};
use mercato_tests::naive::{self, Fate, Store};
use mercato_tests::random::{Rng, World};
use mercato_tests::relay::{Settings, run_verb};
use mercato_tests::said::{Said, prefix};
use serde_json::{Value, json};

/// More than any answer here has.
const MAX_LIMIT: usize = 5_000;
/// How long each of the random tests goes on.
const RANDOM: Duration = Duration::from_secs(8);

fn settings() -> Settings {
    Relay::settings().set("limits.max_limit", MAX_LIMIT)
}

/// A relay that was started on what `mercato import` made of `events`; and the twin that holds the same.
fn imported(events: &[Event]) -> anyhow::Result<(Relay, Store)> {
    let folder = tempfile::tempdir()?;
    let path = format!("store.path={}", Relay::store_in(folder.path()).display());
    run_verb(&["import", "--set", &path], &to_jsonl(events))?;
    let mut twin = Store::default();
    for event in events {
        twin.insert(event);
    }
    Ok((Relay::start_in(folder, settings())?, twin))
}

/// Checks one filter: the same events, whole, in the same order.
async fn compare(client: &mut Client, twin: &Store, filter: &Value) -> anyhow::Result<usize> {
    let (served, expected) = (client.query([filter.clone()]).await?, twin.answer(filter, MAX_LIMIT, now_s()));
    let ids = |events: &[Event]| events.iter().map(|event| event.id.clone()).collect::<Vec<_>>();
    ensure!(ids(&served) == ids(&expected), "{filter}: {:#?} instead of {:#?}", ids(&served), ids(&expected));
    ensure!(served == expected, "{filter}: an event came back changed");
    Ok(served.len())
}

/// Filters for everything by which `events` can be found.
fn every_filter(events: &[Event]) -> Vec<Value> {
    let mut tags: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for tag in events.iter().flat_map(|event| &event.tags) {
        if let [name, value, ..] = tag.as_slice()
            && matches!(name.as_bytes(), [letter] if letter.is_ascii_alphabetic())
        {
            tags.entry(format!("#{name}")).or_default().insert(value);
        }
    }
    let authors: BTreeSet<&str> = events.iter().map(|event| event.pubkey.as_str()).collect();
    let kinds: BTreeSet<u16> = events.iter().map(|event| event.kind).collect();
    let mut filters = vec![json!({}), json!({"authors": authors}), json!({"kinds": kinds})];
    filters.extend(events.iter().map(|event| json!({"ids": [event.id]})));
    filters.extend(authors.iter().map(|author| json!({"authors": [author]})));
    filters.extend(kinds.iter().map(|kind| json!({"kinds": [kind]})));
    for (name, values) in &tags {
        // A thousand values stand for all of them.
        filters.extend(values.iter().take(1_000).map(|value| json!({name: [value]})));
        filters.push(json!({name: values.iter().take(200).collect::<Vec<_>>(), "limit": 20}));
    }
    for event in events.iter().step_by(7) {
        let time = event.created_at;
        filters.push(json!({"authors": [event.pubkey], "kinds": [event.kind], "until": time}));
        filters.push(json!({"kinds": [event.kind], "since": time, "limit": 3}));
        filters.push(json!({"since": time, "until": time + 86_400}));
    }
    filters
}

#[tokio::test]
async fn real_events_are_found_by_whatever_they_can_be_found() -> anyhow::Result<()> {
    let files = ["real_events.jsonl", "dvm_events.jsonl"];
    let real: Option<Vec<Vec<Event>>> = files.into_iter().map(real_events).collect();
    let events = real.map(|files| files.concat()).unwrap_or_else(|| generated(500));
    ensure!(!events.is_empty(), "there is nothing to import");
    let (relay, twin) = imported(&events)?;
    let mut client = Client::connect(&relay).await?;
    let mut found = 0;
    let filters = every_filter(&events);
    for filter in &filters {
        found += compare(&mut client, &twin, filter).await?;
    }
    eprintln!("{} events, {} filters, {found} answers", events.len(), filters.len());
    ensure!(found > events.len(), "hardly anything was found");
    Ok(())
}

fn generated(count: usize) -> Vec<Event> {
    let mut world = World::new(Rng::from_environment(), now_s() - 1_000);
    (0..count).map(|_| world.event()).collect()
}

#[tokio::test]
async fn events_imported_beside_a_running_relay_are_served_at_once() -> anyhow::Result<()> {
    let relay = settings().start()?;
    let mut client = Client::connect(&relay).await?;
    let events = generated(100);
    let path = format!("store.path={}", Relay::store_in(relay.folder()).display());
    run_verb(&["import", "--set", &path], &to_jsonl(&events))?;
    let mut twin = Store::default();
    for event in &events {
        twin.insert(event);
    }
    compare(&mut client, &twin, &json!({})).await.map(drop)
}

#[tokio::test]
async fn what_is_exported_is_what_was_stored() -> anyhow::Result<()> {
    let (mut relay, twin) = imported(&generated(300))?;
    relay.stop()?;
    let path = format!("store.path={}", Relay::store_in(relay.folder()).display());
    let exported = run_verb(&["export", "--set", &path], b"")?;
    let mut expected = twin.answer(&json!({}), MAX_LIMIT, now_s());
    expected.reverse();
    let lines: anyhow::Result<Vec<Event>> =
        exported.lines().map(|line| Event::from_json(&serde_json::from_str(line)?)).collect();
    assert_eq!(lines?, expected);
    Ok(())
}

/// Whether the relay's answer to an event is the twin's.
fn check_fate(event: &Event, fate: Fate, accepted: bool, text: &str) -> anyhow::Result<()> {
    let expected = match fate {
        Fate::Stored | Fate::Passed => (true, None),
        Fate::Duplicate => (true, Some("duplicate")),
        Fate::Replaced => (false, Some("replaced")),
        Fate::Deleted => (false, Some("deleted")),
    };
    ensure!(
        (accepted, prefix(text)) == expected,
        "{fate:?} was expected, not {accepted} {text:?}: {}",
        event.to_json()
    );
    Ok(())
}

#[tokio::test]
async fn stored_answers_to_random_filters_equal_a_naive_scan() -> anyhow::Result<()> {
    let relay = settings().start()?;
    let mut client = Client::connect(&relay).await?;
    let mut world = World::new(Rng::from_environment(), now_s() - 1_000);
    let mut twin = Store::default();
    let (begun, mut asked, mut found) = (Instant::now(), 0, 0);
    while begun.elapsed() < RANDOM && world.events.len() < 3_000 {
        for _ in 0..20 {
            let event = world.event();
            let verdict = client.publish(&event).await?;
            check_fate(&event, twin.insert(&event), verdict.accepted, &verdict.text)?;
        }
        for _ in 0..20 {
            found += compare(&mut client, &twin, &world.filter()).await?;
            asked += 1;
        }
        compare_several(&mut client, &twin, &mut world).await?;
    }
    eprintln!("{} events, {asked} filters, {found} answers", twin.events.len());
    ensure!(found > asked, "hardly anything was found");
    Ok(())
}

/// Several filters in one REQ: every event that one of them answers, once.
async fn compare_several(client: &mut Client, twin: &Store, world: &mut World) -> anyhow::Result<()> {
    let filters = [world.filter(), world.filter(), world.filter()];
    let mut expected: HashSet<String> = HashSet::new();
    for filter in &filters {
        expected.extend(twin.answer(filter, MAX_LIMIT, now_s()).into_iter().map(|event| event.id));
    }
    let served = client.query_ids(filters.clone()).await?;
    let distinct: HashSet<String> = served.iter().cloned().collect();
    ensure!(distinct.len() == served.len(), "an event came twice: {filters:?}");
    ensure!(distinct == expected, "{filters:?}: {distinct:?} instead of {expected:?}");
    Ok(())
}

#[tokio::test]
async fn live_delivery_to_random_filters_equals_trying_each() -> anyhow::Result<()> {
    const SUBSCRIPTIONS: usize = 100;
    let relay = settings().start()?;
    let (mut publisher, mut listener) = (Client::connect(&relay).await?, Client::connect(&relay).await?);
    let mut world = World::new(Rng::from_environment(), now_s() - 1_000);
    // Something for the filters to name.
    let mut twin = Store::default();
    for _ in 0..50 {
        twin.insert(&world.event());
    }
    for event in &twin.events {
        publisher.store(event).await?;
    }
    let (begun, mut delivered) = (Instant::now(), 0);
    while begun.elapsed() < RANDOM && world.events.len() < 3_000 {
        let mut open: Vec<(String, Vec<Value>)> = Vec::new();
        for number in 0..SUBSCRIPTIONS {
            let filters = if number % 5 == 0 { vec![world.filter(), world.filter()] } else { vec![world.filter()] };
            let id = format!("s{number}");
            listener.request(&id, &filters).await?;
            listener.stored(&id).await?;
            open.push((id, filters));
        }
        let mut expected: BTreeSet<(String, String)> = BTreeSet::new();
        for _ in 0..40 {
            let event = world.event();
            let verdict = publisher.publish(&event).await?;
            let fate = twin.insert(&event);
            check_fate(&event, fate, verdict.accepted, &verdict.text)?;
            if fate == Fate::Stored {
                let wanting =
                    open.iter().filter(|(_, filters)| filters.iter().any(|filter| naive::matches(filter, &event)));
                expected.extend(wanting.map(|(id, _)| (id.clone(), event.id.clone())));
            }
        }
        delivered += expected.len();
        heard(&mut listener, &mut publisher, &mut world, expected).await?;
    }
    eprintln!("{} events, {delivered} deliveries", world.events.len());
    ensure!(delivered > world.events.len(), "hardly anything was delivered");
    Ok(())
}

/// Reads what came until an event that everybody gets; it must be what was expected, each once.
async fn heard(
    listener: &mut Client,
    publisher: &mut Client,
    world: &mut World,
    mut expected: BTreeSet<(String, String)>,
) -> anyhow::Result<()> {
    listener.subscribe("fence", [json!({"kinds": [20_000]})]).await?;
    let fence = world.fence();
    publisher.store(&fence).await?;
    loop {
        match listener.next().await? {
            Said::Event { event, .. } if event.id == fence.id => {
                // It may also match a subscription without conditions.
                break;
            }
            Said::Event { subscription, event } => {
                let pair = (subscription, event.id.clone());
                ensure!(expected.remove(&pair), "{} got what it should not, or twice: {}", pair.0, event.to_json());
            }
            other => anyhow::bail!("{other:?}"),
        }
    }
    ensure!(expected.is_empty(), "not delivered: {expected:?}");
    // What a filter without conditions got of the fence.
    listener.send(json!(["REQ", "drain", {"ids": []}])).await?;
    loop {
        match listener.next().await.context("draining")? {
            said if said.is_eose("drain") => return Ok(()),
            Said::Event { event, .. } if event.id == fence.id => {}
            other => anyhow::bail!("{other:?}"),
        }
    }
}
