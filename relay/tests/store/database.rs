//! The store as the wider ecosystem's tools see it.

use std::sync::Arc;
use std::time::Duration;

use mercato::store::Store;
use mercato::store::memory::MemoryStore;
use mercato::store::nostr_database::Database;
use nostr::event::{EventBuilder, Tag};
use nostr::nips::nip01::{Coordinate, Metadata};
use nostr::nips::nip09::EventDeletionRequest;
use nostr::{Event, Filter, Keys, Kind, Timestamp};
use nostr_database::{DatabaseEventStatus, NostrDatabase, RejectedReason, SaveEventStatus};

/// Runs a check on both stores.
fn on_each<F: Future<Output = ()>>(check: impl Fn(Database) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(check(Database(Arc::new(MemoryStore::new()))));
    #[cfg(feature = "rocksdb")]
    {
        let folder = tempfile::tempdir().unwrap();
        let store = mercato::store::rocks::RocksStore::open(folder.path(), Default::default()).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        runtime.block_on(check(Database(store)));
    }
}

fn sign(builder: EventBuilder, keys: &Keys) -> Event {
    builder.sign_with_keys(keys).unwrap()
}

fn note(keys: &Keys, seconds: u64, content: &str) -> Event {
    sign(EventBuilder::text_note(content).custom_created_at(Timestamp::from_secs(seconds)), keys)
}

async fn save(database: &Database, event: &Event) -> SaveEventStatus {
    database.save_event(event).await.unwrap()
}

const fn rejected(reason: RejectedReason) -> SaveEventStatus {
    SaveEventStatus::Rejected(reason)
}

#[test]
fn an_event_comes_back_as_it_was_saved() {
    on_each(|database| async move {
        let event = note(&Keys::generate(), 1, "zwölf \"Boxkämpfer\" \u{1f94a}\n");
        assert_eq!(save(&database, &event).await, SaveEventStatus::Success);
        assert_eq!(save(&database, &event).await, rejected(RejectedReason::Duplicate));
        assert_eq!(database.event_by_id(&event.id).await.unwrap(), Some(event.clone()));
        assert_eq!(database.check_id(&event.id).await.unwrap(), DatabaseEventStatus::Saved);
        assert_eq!(database.query(Filter::new()).await.unwrap().to_vec(), [event]);
    });
}

#[test]
fn every_condition_of_their_filter_is_answered() {
    on_each(|database| async move {
        let (a, b) = (Keys::generate(), Keys::generate());
        let events = [
            note(&a, 10, "Alpha"),
            note(&b, 20, "Beta"),
            sign(EventBuilder::new(Kind::Reaction, "+").tag(Tag::hashtag("x")).custom_created_at(30.into()), &a),
        ];
        for event in &events {
            save(&database, event).await;
        }
        let [alpha, beta, reaction] = events;
        let cases = [
            (Filter::new(), vec![&reaction, &beta, &alpha]),
            (Filter::new().limit(2), vec![&reaction, &beta]),
            (Filter::new().limit(0), vec![]),
            (Filter::new().id(alpha.id), vec![&alpha]),
            (Filter::new().author(a.public_key()), vec![&reaction, &alpha]),
            (Filter::new().kind(Kind::TextNote), vec![&beta, &alpha]),
            (Filter::new().hashtag("x"), vec![&reaction]),
            (Filter::new().since(20.into()).until(29.into()), vec![&beta]),
            (Filter::new().search("ALPH"), vec![&alpha]),
            (Filter::new().search("a").limit(1), vec![&beta]),
        ];
        for (filter, expected) in cases {
            let found = database.query(filter.clone()).await.unwrap().to_vec();
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?}");
            assert_eq!(database.count(filter).await.unwrap(), expected.len());
        }
    });
}

#[test]
fn an_older_version_is_rejected_as_replaced() {
    on_each(|database| async move {
        let keys = Keys::generate();
        let profile = |name: &str, seconds: u64| {
            let builder = EventBuilder::metadata(&Metadata::new().name(name));
            sign(builder.custom_created_at(Timestamp::from_secs(seconds)), &keys)
        };
        assert_eq!(save(&database, &profile("new", 2)).await, SaveEventStatus::Success);
        assert_eq!(save(&database, &profile("old", 1)).await, rejected(RejectedReason::Replaced));
        assert_eq!(database.count(Filter::new()).await.unwrap(), 1);
    });
}

#[test]
fn a_deletion_of_ones_own_is_carried_out() {
    on_each(|database| async move {
        let keys = Keys::generate();
        let event = note(&keys, 1, "note");
        save(&database, &event).await;
        let deletion = sign(EventBuilder::delete(EventDeletionRequest::new().id(event.id)), &keys);
        assert_eq!(save(&database, &deletion).await, SaveEventStatus::Success);
        assert_eq!(database.check_id(&event.id).await.unwrap(), DatabaseEventStatus::Deleted);
        assert_eq!(database.check_id(&deletion.id).await.unwrap(), DatabaseEventStatus::Saved);
        assert_eq!(save(&database, &event).await, rejected(RejectedReason::Deleted));
        let unknown = note(&keys, 5, "never saved");
        assert_eq!(database.check_id(&unknown.id).await.unwrap(), DatabaseEventStatus::NotExistent);
    });
}

#[test]
fn a_deletion_of_anothers_is_rejected() {
    on_each(|database| async move {
        let (owner, other) = (Keys::generate(), Keys::generate());
        let event = note(&owner, 1, "note");
        save(&database, &event).await;
        let address = Coordinate::new(Kind::from(30000), owner.public_key()).identifier("d");
        for request in [EventDeletionRequest::new().id(event.id), EventDeletionRequest::new().coordinate(address)] {
            let deletion = sign(EventBuilder::delete(request), &other);
            assert_eq!(save(&database, &deletion).await, rejected(RejectedReason::InvalidDelete));
        }
        assert_eq!(database.count(Filter::new()).await.unwrap(), 1);
    });
}

#[test]
fn what_need_not_be_kept_is_rejected_with_its_reason() {
    on_each(|database| async move {
        let keys = Keys::generate();
        let ephemeral = sign(EventBuilder::new(Kind::from(20001), ""), &keys);
        assert_eq!(save(&database, &ephemeral).await, rejected(RejectedReason::Ephemeral));
        let past = Timestamp::now() - Duration::from_secs(10);
        let expired = sign(EventBuilder::text_note("").tag(Tag::expiration(past)), &keys);
        assert_eq!(save(&database, &expired).await, rejected(RejectedReason::Expired));
    });
}

#[test]
fn deletion_by_filter_and_wiping_remove_events() {
    on_each(|database| async move {
        let (a, b) = (Keys::generate(), Keys::generate());
        let events = [note(&a, 1, ""), note(&a, 2, ""), note(&b, 3, "")];
        for event in &events {
            save(&database, event).await;
        }
        database.delete(Filter::new().author(a.public_key())).await.unwrap();
        assert_eq!(database.query(Filter::new()).await.unwrap().to_vec(), events[2..]);
        database.wipe().await.unwrap();
        assert_eq!(database.count(Filter::new()).await.unwrap(), 0);
        assert_eq!(save(&database, &events[0]).await, SaveEventStatus::Success);
    });
}
