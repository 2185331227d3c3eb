//! Live delivery, group by group, in the order of storing.

use std::sync::mpsc::Receiver;
use std::time::Instant;

use super::answer::Answer;
use crate::live::{Live, Publication};
use crate::market::Inquiry;
use crate::metrics::WriterMeters;
use crate::nostr::{Event, EventId};
use crate::policy::Reach;
use crate::store::{Record, Store};

/// What one commit makes true, told once it has.
pub(super) struct Group {
    pub(super) answers: Vec<Answer>,
    pub(super) publications: Vec<Stored>,
    pub(super) deliveries: Vec<Handed>,
    pub(super) inquiries: Vec<Inquiry>,
    pub(super) committed: Instant,
}

impl Group {
    /// An empty one.
    pub(super) fn begun(at: Instant) -> Self {
        let (answers, publications, deliveries, inquiries) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { answers, publications, deliveries, inquiries, committed: at }
    }
}

/// A stored event that somebody may see from now on: a request a new leaseholder, a withheld result everybody.
pub(super) struct Handed {
    pub(super) id: EventId,
    pub(super) reach: Reach,
    /// When, in the order of storing: subscriptions opened later find it among the stored events.
    pub(super) sequence: u64,
}

pub(super) struct Stored {
    pub(super) event: Box<Event>,
    pub(super) sequence: u64,
    /// As it was when the event was judged: a later leaseholder gets a delivery of its own.
    pub(super) reach: Reach,
    /// Whether subscribers hear of it: not of imports. Links to other relays do of everything.
    pub(super) is_news: bool,
}

/// Live delivery, group by group, in the order of storing.
pub(super) fn deliver(live: &Live, store: &dyn Store, groups: &Receiver<Group>, meters: &WriterMeters) {
    while let Ok(Group { publications, deliveries, committed, .. }) = groups.recv() {
        let mut outgoing = Vec::with_capacity(publications.len() + deliveries.len());
        let handed: Vec<(Record, &Handed)> =
            deliveries.iter().filter_map(|handed| Some((stored(store, &handed.id)?, handed))).collect();
        feed(live, &publications);
        feed_released(live, &handed);
        let news = publications.into_iter().filter(|stored| stored.is_news);
        let (events, reaches): (Vec<_>, Vec<_>) =
            news.map(|stored| ((stored.event, stored.sequence), stored.reach)).unzip();
        outgoing.extend(events.iter().zip(reaches).map(|((event, sequence), reach)| Publication {
            view: event.view(),
            body: event.body().clone(),
            sequence: *sequence,
            reach,
        }));
        outgoing.extend(handed.iter().map(|(record, handed)| Publication {
            view: record.view(),
            body: record.body(),
            sequence: handed.sequence,
            reach: handed.reach.clone(),
        }));
        meters.deliveries.inc_by(live.publish(&outgoing) as u64);
        meters.delivery_lag.observe(committed.elapsed());
    }
}

/// Tells links to other relays of everything but leased requests, which are nobody else's, and withheld results.
fn feed(live: &Live, publications: &[Stored]) {
    for stored in publications {
        match &stored.reach {
            Reach::Everyone | Reach::Only(_) | Reach::Others(_) => live.feed().publish(&stored.event, stored.sequence),
            Reach::Named(_) | Reach::Withheld(_) => {}
        }
    }
}

/// Tells them of results that are withheld no more.
fn feed_released(live: &Live, handed: &[(Record, &Handed)]) {
    for (record, handed) in handed.iter().filter(|(_, handed)| matches!(handed.reach, Reach::Others(_))) {
        match record.event() {
            Ok(event) => live.feed().publish(&event, handed.sequence),
            Err(error) => tracing::error!(%error, id = %handed.id, "a released result could not be read"),
        }
    }
}

fn stored(store: &dyn Store, id: &EventId) -> Option<Record> {
    store.get(id).unwrap_or_else(|error| {
        // The lease carries the request too, and the job's end names the result: both can still be found.
        tracing::error!(%error, %id, "an event could not be read for delivery");
        None
    })
}
