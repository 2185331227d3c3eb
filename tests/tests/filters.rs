//! Random filters by the thousand: what is stored, counted and delivered live equals a naive twin, for real events and
//! generated ones.
//!
//! `MERCATO_FILTERS=100000` asks so many; `MERCATO_TWIN_URL=ws://127.0.0.1:7777` asks another relay the same, tells on
//! stderr how it differs, and fails where no freedom of relays explains that. That relay must be empty, and allow 5,000
//! events to a filter.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use mercato_tests::Relay;
use mercato_tests::client::Client;
use mercato_tests::data::{real_events, to_jsonl};
use mercato_tests::event::{Event, now_s};
use mercato_tests::naive::{self, Fate, Store};
use mercato_tests::random::{Rng, World};
use mercato_tests::relay::run_verb;
use mercato_tests::said::prefix;
use mercato_tests::wire::{Answer, Wire};
use serde_json::{Value, json};

/// Filters asked in an ordinary run.
const FILTERS: usize = 4_000;
/// Asked at once, and open at once.
const BATCH: usize = 500;
/// Published while a batch is open.
const NEWS: usize = 20;
const MAX_LIMIT: usize = 5_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_answers_counts_and_live_events_equal_a_naive_twin() -> anyhow::Result<()> {
    let wanted = std::env::var("MERCATO_FILTERS").ok().and_then(|text| text.parse().ok()).unwrap_or(FILTERS);
    let mut world = World::new(Rng::from_environment(), now_s() - 1_000).with_kinds(&[4, 1_059]);
    let history = history(&mut world);
    let (relay, mut twin) = imported(&history)?;
    let mut other = Other::connect(&history).await?;
    let viewer = world.somebody().context("nobody")?.clone();
    let me = viewer.public_key().to_hex();
    let mut wire = Wire::connect(&relay.url()).await?;
    wire.authenticate(&viewer).await?;
    wire.fence(&json!({"kinds": [20_000]})).await?;
    let mut publisher = Client::connect(&relay).await?;
    let (mut asked, mut found, mut delivered, mut fences) = (0, 0, 0, BTreeSet::new());
    while asked < wanted {
        let questions: Vec<Vec<Value>> = (0..BATCH).map(|at| filters(&mut world, at)).collect();
        asked += questions.iter().map(Vec::len).sum::<usize>();
        let answers = wire.ask(&questions).await?;
        for (question, answer) in questions.iter().zip(&answers) {
            found += compare(&twin, question, answer, |event| naive::is_visible(event, &me))?;
        }
        if let Some(other) = &mut other {
            other.compare(&questions).await?;
        }
        let news = publish(&mut publisher, &mut twin, &mut world).await?;
        if let Some(other) = &mut other {
            other.publish(&news).await?;
        }
        let fence = world.fence();
        fences.insert(fence.id.clone());
        publisher.store(&fence).await?;
        let mut expected = BTreeSet::new();
        for event in news.iter().filter(|event| naive::is_visible(event, &me)) {
            let wanting = |(_, filters): &(usize, &Vec<Value>)| filters.iter().any(|f| naive::matches(f, event));
            expected.extend(questions.iter().enumerate().filter(wanting).map(|(at, _)| (at, event.id.clone())));
        }
        let came: Vec<(usize, String)> =
            wire.live(&fence.id).await?.into_iter().filter(|(_, id)| !fences.contains(id)).collect();
        let distinct: BTreeSet<(usize, String)> = came.iter().cloned().collect();
        ensure!(distinct.len() == came.len(), "an event came twice on one subscription");
        delivered += came.len();
        if let Some((number, id)) = distinct.symmetric_difference(&expected).next() {
            let came = distinct.contains(&(*number, id.clone()));
            anyhow::bail!("{:?}: {id} came: {came}, which is wrong", questions[*number]);
        }
        wire.close(BATCH).await?;
    }
    eprintln!("{} events, {asked} filters, {found} answers, {delivered} deliveries", twin.events.len());
    ensure!(found > asked && delivered > asked / 100, "hardly anything was found");
    if let Some(other) = other {
        other.report();
        ensure!(other.unexplained == 0, "{} answers of the other relay are not to be explained", other.unexplained);
    }
    Ok(())
}

/// Real events where there are some, and generated ones; old ones, deletions and expired ones among them.
fn history(world: &mut World) -> Vec<Event> {
    let mut events = Vec::new();
    for name in ["real_events.jsonl", "dvm_events.jsonl"] {
        let real = real_events(name).unwrap_or_default();
        world.meet(&real);
        events.extend(real);
    }
    events.extend((0..400).map(|_| world.event()));
    events
}

fn imported(events: &[Event]) -> anyhow::Result<(Relay, Store)> {
    let folder = tempfile::tempdir()?;
    let path = format!("store.path={}", Relay::store_in(folder.path()).display());
    run_verb(&["import", "--set", &path], &to_jsonl(events))?;
    let mut twin = Store::default();
    for event in events {
        twin.insert(event);
    }
    let settings = Relay::settings()
        .set("limits.max_limit", MAX_LIMIT)
        .set("limits.max_subscriptions", BATCH + 10)
        .set("limits.created_at_past_s", 0);
    Ok((Relay::start_in(folder, settings)?, twin))
}

/// One filter, now and then several. One in three has no limit.
fn filters(world: &mut World, at: usize) -> Vec<Value> {
    (0..if at.is_multiple_of(5) { 3 } else { 1 }).map(|_| world.filter()).collect()
}

/// How many events were answered, if rightly.
fn compare(
    twin: &Store,
    filters: &[Value],
    answer: &Answer,
    visible: impl Fn(&Event) -> bool,
) -> anyhow::Result<usize> {
    let served = answer.stored.as_ref().map_err(|text| anyhow::anyhow!("{filters:?} was refused: {text}"))?;
    let now = now_s();
    let lists = filters.iter().map(|filter| twin.find(filter, MAX_LIMIT, now, &visible));
    let expected: Vec<&str> = lists.flatten().map(|event| event.id.as_str()).collect();
    if filters.len() == 1 {
        ensure!(*served == expected, "{filters:?}: {served:?} instead of {expected:?}");
    } else {
        let (distinct, expected): (BTreeSet<_>, BTreeSet<_>) =
            (served.iter().map(String::as_str).collect(), expected.into_iter().collect());
        ensure!(distinct.len() == served.len(), "{filters:?}: an event came twice");
        ensure!(distinct == expected, "{filters:?}: {distinct:?} instead of {expected:?}");
    }
    let count = twin.count(filters, now, &visible);
    ensure!(answer.count == Ok(count as u64), "{filters:?}: {:?} counted instead of {count}", answer.count);
    Ok(served.len())
}

fn asks_for_an_empty_value(filter: &Value) -> bool {
    let lists = filter.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with('#'));
    lists.flat_map(|(_, values)| values.as_array()).flatten().any(|value| value == "")
}

/// Whether another relay's answer is right, by a difference that relays are free to have: what has expired is served until
/// it is swept, and which of the events of one second a limit lets in is their own choice, though NIP-01 has it otherwise.
fn judge(twin: &Store, filters: &[Value], served: &[String], count: usize) -> anyhow::Result<Option<&'static str>> {
    let (ever, now) = (0, now_s());
    let find = |now| filters.iter().map(|filter| twin.find(filter, MAX_LIMIT, now, |_| true)).collect::<Vec<_>>();
    let ids = |lists: &[Vec<&Event>]| lists.iter().flatten().map(|event| event.id.clone()).collect::<BTreeSet<_>>();
    let distinct: BTreeSet<String> = served.iter().cloned().collect();
    ensure!(distinct.len() == served.len(), "an event came twice");
    let (strict, lists) = (find(now), find(ever));
    let counts = [now, ever].map(|now| twin.count(filters, now, |_| true));
    // Of several filters, what one limit lets in another may cover, or not.
    let depends = filters.len() > 1 && filters.iter().any(|filter| filter.get("limit").is_some());
    ensure!(depends || counts.contains(&count), "{count} counted instead of {counts:?}");
    if let ([list], true) = (&strict[..], distinct == ids(&strict)) {
        let is_exact = list.iter().map(|event| &event.id).eq(served);
        return Ok((!is_exact).then_some("the order of one second"));
    }
    if distinct == ids(&strict) || distinct == ids(&lists) {
        return Ok((distinct != ids(&strict)).then_some("expired events"));
    }
    // A limit ends in the second of the last event that it lets in.
    let ends: BTreeSet<u64> = lists.iter().filter_map(|list| Some(list.last()?.created_at)).collect();
    for id in distinct.symmetric_difference(&ids(&lists)) {
        let event = twin.events.iter().find(|event| event.id == *id).with_context(|| format!("{id} is not stored"))?;
        ensure!(filters.iter().any(|filter| naive::matches(filter, event)), "{id} does not match");
        ensure!(ends.contains(&event.created_at), "{id} came or lacks, and is not of the last second");
    }
    Ok(Some("which of one second a limit lets in"))
}

/// Publishes what is new to the relay and to the twin; the events that were to be stored.
async fn publish(publisher: &mut Client, twin: &mut Store, world: &mut World) -> anyhow::Result<Vec<Event>> {
    let mut stored = Vec::new();
    for _ in 0..NEWS {
        let event = world.event();
        let verdict = publisher.publish(&event).await?;
        let fate = twin.insert(&event);
        let expected = match fate {
            Fate::Stored | Fate::Passed => (true, None),
            Fate::Duplicate => (true, Some("duplicate")),
            Fate::Replaced => (false, Some("replaced")),
            Fate::Deleted => (false, Some("deleted")),
        };
        let given = (verdict.accepted, prefix(&verdict.text));
        ensure!(given == expected, "{fate:?} was expected, not {verdict:?}: {}", event.to_json());
        if fate == Fate::Stored {
            stored.push(event);
        }
    }
    Ok(stored)
}

/// Another relay that is asked the same.
struct Other {
    wire: Wire,
    /// What it holds: it may have taken other events.
    twin: Store,
    /// Every event it was given.
    offered: BTreeMap<String, Event>,
    asked: usize,
    unexplained: usize,
    /// By kind of difference: how often, and one example.
    differences: BTreeMap<String, (usize, String)>,
}

impl Other {
    /// `None` when no other relay is named.
    async fn connect(history: &[Event]) -> anyhow::Result<Option<Self>> {
        let Ok(url) = std::env::var("MERCATO_TWIN_URL") else { return Ok(None) };
        let wire = Wire::connect(&url).await?;
        let mut other = Self {
            wire,
            twin: Store::default(),
            offered: BTreeMap::new(),
            asked: 0,
            unexplained: 0,
            differences: BTreeMap::new(),
        };
        other.publish(history).await?;
        Ok(Some(other))
    }

    fn differs(&mut self, what: impl Into<String>, example: impl Into<String>) {
        let noted = self.differences.entry(what.into()).or_insert_with(|| (0, example.into()));
        noted.0 += 1;
    }

    /// What it says to an event may differ for good reasons; what it has of them all afterwards is what it is held to.
    async fn publish(&mut self, events: &[Event]) -> anyhow::Result<()> {
        let verdicts = self.wire.publish(events).await?;
        for (event, (accepted, text)) in events.iter().zip(verdicts) {
            self.offered.insert(event.id.clone(), event.clone());
            let fate = accepted.then(|| self.twin.insert(event));
            if fate.is_none_or(|fate| matches!(fate, Fate::Replaced | Fate::Deleted)) {
                let what: String = text.chars().take(40).collect();
                self.differs(format!("{fate:?} by its twin: {what}"), event.to_json().to_string());
            }
        }
        let ids: Vec<&String> = self.offered.keys().collect();
        let questions: Vec<Vec<Value>> = ids.chunks(100).map(|ids| vec![json!({ "ids": ids })]).collect();
        let answers = self.wire.ask(&questions).await?;
        self.wire.close(questions.len()).await?;
        let mut held = BTreeSet::new();
        for answer in answers {
            held.extend(answer.stored.map_err(|text| anyhow::anyhow!("ids are refused: {text}"))?);
        }
        self.twin.events = self.offered.values().filter(|event| held.contains(&event.id)).cloned().collect();
        Ok(())
    }

    async fn compare(&mut self, questions: &[Vec<Value>]) -> anyhow::Result<()> {
        let answers = self.wire.ask(questions).await?;
        self.wire.close(questions.len()).await?;
        for (filters, answer) in questions.iter().zip(&answers) {
            self.asked += 1;
            let count = answer.count.as_ref().map(|count| *count as usize);
            let (Ok(served), Ok(count)) = (&answer.stored, count) else {
                let text = answer.stored.as_ref().err().or(answer.count.as_ref().err()).map_or("", String::as_str);
                let what: String = text.chars().filter(|c| !c.is_ascii_digit()).take(60).collect();
                self.differs(format!("closed: {what}"), format!("{filters:?}"));
                continue;
            };
            match judge(&self.twin, filters, served, count) {
                Ok(None) => {}
                Ok(Some(difference)) => self.differs(difference, format!("{filters:?}: {served:?}")),
                // strfry takes an empty value for the beginning of every value.
                Err(_) if filters.iter().any(asks_for_an_empty_value) => {
                    self.differs("an empty tag value", format!("{filters:?}"));
                }
                Err(error) => {
                    self.unexplained += 1;
                    self.differs("NOT TO BE EXPLAINED", format!("{filters:?}: {error}"));
                }
            }
        }
        Ok(())
    }

    fn report(&self) {
        eprintln!("the other relay was asked {} questions", self.asked);
        for (what, (times, example)) in &self.differences {
            let example: String = example.chars().take(1_500).collect();
            eprintln!("{times} times: {what}\n    {example}");
        }
    }
}
