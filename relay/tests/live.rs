//! Live delivery against its naive twin, which tries every filter on every event.

use std::net::SocketAddr;
use std::sync::Arc;

use mercato::connection::Connection;
use mercato::live::{Live, Publication};
use mercato::nostr::{Event, EventId, Filter, Pubkey};
use mercato::outbox::Frame;
use mercato::policy::Reach;
use proptest::prelude::*;
use secp256k1::Keypair;

fn key(number: u8) -> Keypair {
    Keypair::from_secret_bytes([number + 1; 32]).expect("a small number is a valid key")
}

fn pubkey(number: u8) -> Pubkey {
    Pubkey(key(number).x_only_public_key().0.to_byte_array())
}

fn event((author, kind, created_at, tags): (u8, u16, u64, Vec<(char, u8)>)) -> Event {
    let tags: Vec<_> = tags.into_iter().map(|(name, value)| vec![name.to_string(), format!("v{value}")]).collect();
    Event::sign(&key(author), created_at, kind, &tags, "")
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let tags = proptest::collection::vec((prop_oneof![Just('e'), Just('t'), Just('T')], 0..3u8), 0..4);
    proptest::collection::vec((0..3u8, 0..3u16, 0..5u64, tags).prop_map(event), 1..20)
}

/// A filter over the small world of `events`; ids are picked from the events themselves.
fn filters() -> impl Strategy<Value = Filter> {
    let some = |range: std::ops::Range<u8>| proptest::option::of(proptest::collection::btree_set(range, 0..3));
    let tags = proptest::collection::btree_map(
        prop_oneof![Just(b'e'), Just(b't'), Just(b'T')],
        proptest::collection::btree_set(0..3u8, 0..3),
        0..3,
    );
    let times = (proptest::option::of(0..5u64), proptest::option::of(0..5u64));
    (some(0..3), 0..20u8, some(0..3), tags, times).prop_map(|(authors, strangers, kinds, tags, (since, until))| {
        let mut authors: Option<Vec<Pubkey>> = authors.map(|set| set.into_iter().map(pubkey).collect());
        if let Some(authors) = &mut authors {
            authors.extend((100..100 + strangers).map(pubkey));
            authors.sort();
        }
        let value = |value: u8| format!("v{value}").into_bytes().into_boxed_slice();
        Filter {
            authors,
            kinds: kinds.map(|kinds| kinds.into_iter().map(u16::from).collect()),
            tags: tags.into_iter().map(|(name, values)| (name, values.into_iter().map(value).collect())).collect(),
            since,
            until,
            ..Filter::default()
        }
    })
}

fn connection() -> Arc<Connection> {
    Arc::new(Connection::new(0, SocketAddr::from(([127, 0, 0, 1], 1)), 1 << 30))
}

fn publication(event: &Event, sequence: u64, reach: Reach) -> Publication<'_> {
    Publication { view: event.view(), body: event.body().clone(), sequence, reach }
}

/// What has arrived: the number of the subscription and the event's id.
fn received(connection: &Connection) -> Vec<(String, EventId)> {
    let mut frames = Vec::new();
    connection.outbox.close(mercato::outbox::Closing::Shutdown);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    while runtime.block_on(connection.outbox.take(&mut frames, 1 << 20)).is_none() {}
    let mut all: Vec<_> = frames
        .into_iter()
        .map(|frame| match frame {
            Frame::Event { prefix, body, .. } => {
                let event = Event::parse(std::str::from_utf8(&body).expect("UTF-8")).expect("an event");
                (prefix.to_string(), event.id)
            }
            Frame::Text(text) => panic!("live delivery says nothing but events, not {text}"),
        })
        .collect();
    all.sort();
    all
}

proptest! {
    #[test]
    fn every_subscription_gets_exactly_what_a_naive_match_says(
        events in events(),
        sets in proptest::collection::vec((proptest::collection::vec(filters(), 1..3), any::<bool>()), 1..30),
        by_id in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4),
    ) {
        let (live, client) = (Live::new(0), connection());
        let mut kept: Vec<(String, Arc<[Filter]>)> = Vec::new();
        let mut gone = Vec::new();
        for (number, (filters, stays)) in sets.into_iter().enumerate() {
            let (prefix, filters) = (number.to_string(), Arc::from(filters));
            let (slot, _) = live.subscribe(&client, prefix.as_str().into(), Arc::clone(&filters));
            if stays { kept.push((prefix, filters)) } else { gone.push(slot) }
        }
        gone.into_iter().for_each(|slot| live.unsubscribe(slot));
        // After removals, so that freed places are used again.
        for index in by_id {
            let filter = Filter { ids: Some(vec![index.get(&events).id]), ..Filter::default() };
            let (prefix, filters): (_, Arc<[Filter]>) = (format!("id{}", kept.len()), Arc::from([filter]));
            live.subscribe(&client, prefix.as_str().into(), filters.clone());
            kept.push((prefix, filters));
        }
        let publications: Vec<_> =
            events.iter().zip(1..).map(|(event, sequence)| publication(event, sequence, Reach::Everyone)).collect();
        live.publish(&publications);

        let mut expected: Vec<(String, EventId)> = Vec::new();
        for event in &events {
            for (prefix, filters) in &kept {
                if filters.iter().any(|filter| filter.matches(&event.view())) {
                    expected.push((prefix.clone(), event.id));
                }
            }
        }
        expected.sort();
        prop_assert_eq!(received(&client), expected);
    }
}

#[test]
fn an_event_with_a_reach_is_delivered_to_nobody_else() {
    let (live, request) = (Live::new(0), event((0, 5050, 1, vec![])));
    let (stranger, holder, asker) = (connection(), connection(), connection());
    holder.authenticate(pubkey(1));
    let by_kind: Arc<[Filter]> = Arc::from([Filter { kinds: Some(vec![5050]), ..Filter::default() }]);
    let by_id: Arc<[Filter]> = Arc::from([Filter { ids: Some(vec![request.id]), ..Filter::default() }]);
    live.subscribe(&stranger, "s".into(), by_kind.clone());
    live.subscribe(&holder, "h".into(), by_kind);
    live.subscribe(&asker, "a".into(), by_id);
    live.publish(&[publication(&request, 1, Reach::Named(vec![pubkey(0), pubkey(1)]))]);
    live.publish(&[publication(&request, 1, Reach::Only(vec![pubkey(1)]))]);
    assert_eq!(received(&stranger), []);
    assert_eq!(received(&holder).len(), 2);
    assert_eq!(received(&asker).len(), 1, "who names an event may have it, once");
}

#[test]
fn a_subscription_learns_where_live_delivery_stands() {
    let (live, client) = (Live::new(7), connection());
    let all: Arc<[Filter]> = Arc::from([Filter::default()]);
    assert_eq!(live.subscribe(&client, "a".into(), all.clone()).1, 7);
    live.publish(&[publication(&event((0, 1, 1, vec![])), 9, Reach::Everyone)]);
    assert_eq!(live.subscribe(&client, "b".into(), all).1, 9);
}
