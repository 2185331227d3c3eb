//! Whatever is done to both, the store on disk, its twin in memory and a plain loop give one answer.

use mercato::nostr::kind::{DELETION, VANISH};
use mercato::nostr::{Event, EventId, Filter, Pubkey};
use mercato::store::memory::MemoryStore;
use mercato::store::rocks::{RocksOptions, RocksStore};
use mercato::store::{Admission, Position, Record, Scan, Store, Transaction};
use proptest::collection::{btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::support::{author, pubkey, run, run_heads, run_positions};

const AUTHORS: u8 = 3;
const KINDS: [u16; 10] = [0, 1, 1, 1, 7, VANISH, 1059, 10002, 30000, 30001];
const VALUES: [&str; 3] = ["", "x", "y"];

#[derive(Debug, Clone)]
enum TagPlan {
    Value(char, &'static str),
    Author(u8),
    Expiration(u64),
    /// An `e` tag with the id of another event.
    Event(Index),
    /// An `a` tag.
    Address(u16, u8, &'static str),
}

#[derive(Debug, Clone)]
struct EventPlan {
    author: u8,
    created_at: u64,
    kind: u16,
    tags: Vec<TagPlan>,
}

#[derive(Debug, Clone)]
enum Step {
    Offer(Index),
    Remove(Index),
    Vanish(u8, u64),
    Vanished(u8),
    TakeSequence,
}

#[derive(Debug, Clone)]
struct Group {
    steps: Vec<Step>,
    is_committed: bool,
    /// Sort the log into files afterwards, so that both memory and files are read.
    is_flushed: bool,
}

#[derive(Debug, Clone)]
struct Question {
    ids: Option<Vec<Index>>,
    authors: Option<Vec<u8>>,
    kinds: Option<Vec<u16>>,
    values: Vec<(char, Vec<&'static str>)>,
    recipients: Option<Vec<u8>>,
    events: Option<Vec<Index>>,
    since: Option<u64>,
    until: Option<u64>,
    room: Option<u64>,
    ascending: bool,
    max_sequence: Option<u64>,
    now: u64,
    budget: u32,
}

fn tag() -> impl Strategy<Value = TagPlan> {
    prop_oneof![
        4 => (select(vec!['t', 'd', 'K']), select(VALUES.to_vec())).prop_map(|(n, v)| TagPlan::Value(n, v)),
        2 => (0..AUTHORS).prop_map(TagPlan::Author),
        1 => (0..30u64).prop_map(TagPlan::Expiration),
        1 => any::<Index>().prop_map(TagPlan::Event),
    ]
}

fn target() -> impl Strategy<Value = TagPlan> {
    prop_oneof![
        any::<Index>().prop_map(TagPlan::Event),
        (select(KINDS.to_vec()), 0..AUTHORS, select(VALUES.to_vec())).prop_map(|(k, a, d)| TagPlan::Address(k, a, d)),
    ]
}

fn event_plan() -> impl Strategy<Value = EventPlan> {
    let content = prop_oneof![
        5 => (select(KINDS.to_vec()), vec(tag(), 0..4)),
        1 => (Just(DELETION), vec(target(), 0..4)),
    ];
    (0..AUTHORS, 0..12u64, content).prop_map(|(author, created_at, (kind, tags))| EventPlan {
        author,
        created_at,
        kind,
        tags,
    })
}

fn group() -> impl Strategy<Value = Group> {
    let step = prop_oneof![
        12 => any::<Index>().prop_map(Step::Offer),
        1 => any::<Index>().prop_map(Step::Remove),
        1 => (0..AUTHORS, 0..6u64).prop_map(|(author, until)| Step::Vanish(author, until)),
        1 => (0..AUTHORS).prop_map(Step::Vanished),
        1 => Just(Step::TakeSequence),
    ];
    (vec(step, 1..12), prop::bool::weighted(0.9), prop::bool::weighted(0.2))
        .prop_map(|(steps, is_committed, is_flushed)| Group { steps, is_committed, is_flushed })
}

fn question() -> impl Strategy<Value = Question> {
    let value = (select(vec!['t', 'd', 'K']), btree_set(select(VALUES.to_vec()), 0..3))
        .prop_map(|(name, values)| (name, values.into_iter().collect()));
    let time = || of(0..14u64);
    let conditions = (
        prop::option::weighted(0.15, vec(any::<Index>(), 0..20)),
        of(vec(0..AUTHORS, 1..3)),
        of(vec(select([&KINDS[..], &[DELETION]].concat()), 1..4)),
        vec(value, 0..2),
        prop::option::weighted(0.2, vec(0..AUTHORS, 1..3)),
        prop::option::weighted(0.1, vec(any::<Index>(), 1..5)),
    );
    let bounds = (time(), time(), of(0..10u64), any::<bool>(), of(0..60u64), 0..31u64, 1..20u32);
    (conditions, bounds).prop_map(
        |(
            (ids, authors, kinds, values, recipients, events),
            (since, until, room, ascending, max_sequence, now, budget),
        )| {
            Question {
                ids,
                authors,
                kinds,
                values,
                recipients,
                events,
                since,
                until,
                room,
                ascending,
                max_sequence,
                now,
                budget,
            }
        },
    )
}

/// Signs the plans; a tag can name any event that names none itself.
fn build(plans: &[EventPlan]) -> Vec<Event> {
    let names_none = |plan: &&EventPlan| !plan.tags.iter().any(|tag| matches!(tag, TagPlan::Event(_)));
    let sign = |plan: &EventPlan, targets: &[Event]| {
        let tags: Vec<Vec<String>> = plan.tags.iter().filter_map(|tag| write_tag(tag, targets)).collect();
        Event::sign(&author(plan.author), plan.created_at, plan.kind, &tags, "")
    };
    let targets: Vec<Event> = plans.iter().filter(names_none).map(|plan| sign(plan, &[])).collect();
    plans.iter().map(|plan| sign(plan, &targets)).collect()
}

fn write_tag(tag: &TagPlan, targets: &[Event]) -> Option<Vec<String>> {
    Some(match tag {
        TagPlan::Value(name, value) => vec![name.to_string(), (*value).to_owned()],
        TagPlan::Author(author) => vec!["p".to_owned(), pubkey(*author)],
        TagPlan::Expiration(end) => vec!["expiration".to_owned(), end.to_string()],
        TagPlan::Event(_) if targets.is_empty() => return None,
        TagPlan::Event(index) => vec!["e".to_owned(), index.get(targets).id.to_hex()],
        TagPlan::Address(kind, author, identifier) => {
            vec!["a".to_owned(), format!("{kind}:{}:{identifier}", pubkey(*author))]
        }
    })
}

fn key(n: u8) -> Pubkey {
    Pubkey::from_hex(&pubkey(n)).unwrap()
}

fn apply(transaction: &mut dyn Transaction, step: &Step, events: &[Event]) -> (Option<Admission>, u64) {
    match step {
        Step::Offer(index) => {
            let event = index.get(events);
            let admission = transaction.admit(event).unwrap();
            let sequence = if admission == Admission::Fresh { transaction.insert(event).unwrap() } else { 0 };
            (Some(admission), sequence)
        }
        Step::Remove(index) => (None, transaction.remove(&index.get(events).id).unwrap().into()),
        Step::Vanish(n, until) => {
            transaction.vanish(&key(*n), *until).unwrap();
            (None, 0)
        }
        Step::Vanished(n) => {
            transaction.vanished(&key(*n)).unwrap();
            (None, 0)
        }
        Step::TakeSequence => (None, transaction.next_sequence()),
    }
}

fn ask(question: &Question, events: &[Event]) -> Scan {
    fn list<T: Ord>(values: impl IntoIterator<Item = T>) -> Vec<T> {
        let mut values: Vec<T> = values.into_iter().collect();
        values.sort_unstable();
        values.dedup();
        values
    }
    let id = |index: &Index| index.get(events).id;
    let mut filter = Filter {
        ids: question.ids.as_ref().map(|ids| list(ids.iter().map(id).chain([EventId([9; 32])]))),
        authors: question.authors.as_ref().map(|authors| list(authors.iter().map(|n| key(*n)))),
        kinds: question.kinds.clone().map(list),
        since: question.since,
        until: question.until,
        ..Filter::default()
    };
    for (name, values) in &question.values {
        filter.tags.insert(*name as u8, list(values.iter().map(|value| value.as_bytes().into())));
    }
    if let Some(authors) = &question.recipients {
        filter.tags.insert(b'p', list(authors.iter().map(|n| pubkey(*n).into_bytes().into())));
    }
    if let Some(events) = &question.events {
        filter.tags.insert(b'e', list(events.iter().map(|index| id(index).to_hex().into_bytes().into())));
    }
    Scan {
        ascending: question.ascending,
        max_sequence: question.max_sequence.unwrap_or(u64::MAX),
        room: question.room.unwrap_or(u64::MAX),
        now: question.now,
        ..Scan::new(filter)
    }
}

/// The answer by a plain loop over all records.
fn naive(all: &[Record], scan: &Scan) -> Vec<Record> {
    let mut found: Vec<Record> = all
        .iter()
        .filter(|r| scan.filter.matches(&r.view()) && r.sequence <= scan.max_sequence && !r.is_expired(scan.now))
        .cloned()
        .collect();
    found.sort_by_key(|r| (std::cmp::Reverse(r.position.created_at()), r.position.id));
    if scan.ascending {
        found.reverse();
    }
    found.truncate(usize::try_from(scan.room).unwrap_or(usize::MAX));
    found
}

/// Whether one index holds all that the filter asks for.
fn is_exact(filter: &Filter) -> bool {
    filter.kinds.is_some() && filter.ids.is_none() && filter.tags.len() + usize::from(filter.authors.is_some()) <= 1
}

fn compare(disk: &RocksStore, memory: &MemoryStore, events: &[Event], questions: &[Question]) {
    let all = run(memory, Scan::new(Filter::default()), u32::MAX);
    for question in questions {
        let scan = ask(question, events);
        let expected = naive(&all, &scan);
        assert_eq!(run(disk, scan.clone(), question.budget), expected, "on disk: {scan:?}");
        assert_eq!(run(memory, scan.clone(), question.budget), expected, "in memory: {scan:?}");
        let heads: Vec<Position> = expected.iter().map(|record| record.position).collect();
        assert_eq!(run_heads(disk, scan.clone(), question.budget), heads, "heads on disk: {scan:?}");
        assert_eq!(run_heads(memory, scan.clone(), question.budget), heads, "heads in memory: {scan:?}");
        let unbound = Scan { max_sequence: u64::MAX, ascending: false, ..scan };
        let expected: Vec<Position> = naive(&all, &unbound).iter().map(|record| record.position).collect();
        let positions = run_positions(disk, unbound.clone(), question.budget);
        assert_eq!(positions.is_some(), is_exact(&unbound.filter), "{unbound:?}");
        assert!(positions.is_none_or(|positions| positions == expected), "positions on disk: {unbound:?}");
    }
    for event in events {
        assert_eq!(disk.get(&event.id).unwrap(), memory.get(&event.id).unwrap());
        assert_eq!(
            disk.is_deleted(&event.id, &event.pubkey).unwrap(),
            memory.is_deleted(&event.id, &event.pubkey).unwrap()
        );
    }
    for now in [0, 7, 30] {
        assert_eq!(disk.expired(now, 5).unwrap(), memory.expired(now, 5).unwrap());
    }
    assert_eq!(disk.vanishing().unwrap(), memory.vanishing().unwrap());
    assert_eq!(disk.last_sequence(), memory.last_sequence());
    assert_eq!(disk.stats().unwrap().events, all.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn disk_memory_and_a_plain_loop_agree(
        plans in vec(event_plan(), 1..60),
        groups in vec(group(), 1..10),
        questions in vec(question(), 30),
    ) {
        let events = build(&plans);
        let folder = tempfile::tempdir().unwrap();
        let options = RocksOptions { durable: false, ..RocksOptions::default() };
        let disk = RocksStore::open(folder.path(), options).unwrap();
        let memory = MemoryStore::new();
        for group in &groups {
            let (mut a, mut b) = (disk.begin().unwrap(), memory.begin().unwrap());
            for step in &group.steps {
                prop_assert_eq!(apply(a.as_mut(), step, &events), apply(b.as_mut(), step, &events));
            }
            if group.is_committed {
                a.commit().unwrap();
                b.commit().unwrap();
            } else {
                drop((a, b));
            }
            if group.is_flushed {
                disk.flush().unwrap();
            }
        }
        compare(&disk, &memory, &events, &questions);
        drop(disk);
        let disk = RocksStore::open(folder.path(), options).unwrap();
        compare(&disk, &memory, &events, &questions);
    }
}
