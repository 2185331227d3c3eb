//! A group while it is being built: what each command does to the open transaction.

use std::ops::ControlFlow;
use std::time::Instant;

use super::answer::Answer;
use super::delivery::{Group, Handed, Stored};
use super::{Command, Imported, MarketSeat, Queued, Reply};
use crate::clock::{now_s, steady_ms};
use crate::market::{Announcement, Delivery, Market, Output};
use crate::nostr::kind::{self, Retention};
use crate::nostr::{Event, EventId, Filter, Pubkey};
use crate::peer::feed::Feed;
use crate::policy::{Reach, Readers};
use crate::store::{Admission, Record, Scan, Store, StoreError, Transaction};
use crate::sweep::Sweeper;
use crate::vanish;

/// Events removed by one command, so that its commit stays small.
const DELETED_AT_ONCE: u64 = 5_000;

/// The answer to an event that is known.
pub(super) const HAVE: &str = "duplicate: have this event";

/// A group while it is being built. The first fault ends up in `fault`; the rest is then moot.
pub(super) struct Open<'a> {
    pub(super) txn: Box<dyn Transaction + 'a>,
    pub(super) store: &'a dyn Store,
    pub(super) readers: &'a Readers,
    pub(super) feed: &'a Feed,
    pub(super) group: &'a mut Group,
    /// Signed after the last command.
    pub(super) announcements: Vec<Announcement>,
    /// Whether somebody asks to vanish in this group.
    pub(super) has_vanished: bool,
    pub(super) fault: Option<StoreError>,
}

impl Open<'_> {
    pub(super) fn carry_out(&mut self, queued: Queued, market: &mut Option<MarketSeat>) {
        match queued.command {
            Command::Publish { event, reply } => self.publish(event, reply, queued.since, market),
            Command::Import { event, reply } => {
                let outcome = self.import(event, market);
                self.group.answers.push(Answer::Import { reply, outcome });
            }
            Command::Mirror { event, reply } => {
                let outcome = self.mirror(event);
                self.group.answers.push(Answer::Import { reply, outcome });
            }
            Command::Delete { filter, reply } => {
                let removed = self.delete(filter);
                self.group.answers.push(Answer::Delete { reply, removed });
            }
            Command::Stop => {}
            Command::Connected(pubkey) => {
                if let Some(seat) = market {
                    self.keep_output(seat.market.on_connected(seat.clock.now(), &pubkey));
                }
            }
            Command::Listening { pubkey, connection, kinds } => {
                if let Some(seat) = market {
                    self.keep_output(seat.market.on_listening(seat.clock.now(), &pubkey, connection, kinds));
                }
            }
            Command::Disconnected(pubkey) => {
                if let Some(seat) = market {
                    self.keep_output(seat.market.on_disconnected(seat.clock.now(), &pubkey));
                }
            }
            Command::Settled(settled) => {
                if let Some(seat) = market {
                    self.keep_output(seat.market.on_settled(seat.clock.now(), &settled));
                }
            }
        }
    }

    fn publish(&mut self, event: Box<Event>, reply: Reply, since: Instant, market: &mut Option<MarketSeat>) {
        let id = event.id;
        // The market's answer to an event comes after it, in the store as for a subscriber.
        let verdict = match self.judge(&event, market) {
            Ok(Judged::Have) => Ok(HAVE),
            Ok(Judged::Keep { mut output }) => {
                // A leaseholder found at once is in the audience already.
                output.deliveries.retain(|delivery| delivery.job != id);
                // The result that decided its job was never withheld from anybody.
                output.releases.retain(|release| release.event != id);
                self.keep(event);
                self.keep_output(output);
                Ok("")
            }
            Err(text) => Err(text),
        };
        self.group.answers.push(Answer::Event { reply, id, since, verdict });
    }

    fn judge(&mut self, event: &Event, market: &mut Option<MarketSeat>) -> Result<Judged, String> {
        if event.retention() == Retention::Ephemeral {
            // Nothing is kept to know it by, but a ring of linked relays would hand it round for ever.
            if !self.feed.is_idle() && !self.feed.note(event.id) {
                return Ok(Judged::Have);
            }
        } else {
            match self.admit(event) {
                Admission::Fresh => {}
                Admission::Duplicate => return Ok(Judged::Have),
                Admission::Replaced => return Err("replaced: have newer event".to_owned()),
                Admission::Deleted => return Err("deleted: user requested deletion".to_owned()),
            }
        }
        let output = match market {
            Some(seat) => seat.market.on_event(seat.clock.now(), event)?,
            None => Output::default(),
        };
        Ok(Judged::Keep { output })
    }

    fn admit(&mut self, event: &Event) -> Admission {
        self.txn.admit(event).unwrap_or_else(|fault| {
            self.fault.get_or_insert(fault);
            Admission::Duplicate
        })
    }

    /// Stores an event, unless it is ephemeral, and has it delivered after the commit.
    fn keep(&mut self, event: Box<Event>) {
        let sequence = match event.retention() {
            Retention::Ephemeral => Ok(self.txn.next_sequence()),
            Retention::Regular | Retention::Replaceable | Retention::Addressable => self.txn.insert(&event),
        };
        self.vanish(&event);
        match sequence {
            Ok(sequence) => {
                let reach = self.readers.reach(&event.view());
                self.group.publications.push(Stored { event, sequence, reach, is_news: true });
            }
            Err(fault) => drop(self.fault.get_or_insert(fault)),
        }
    }

    pub(super) fn keep_output(&mut self, output: Output) {
        for delivery in output.deliveries {
            let sequence = self.txn.next_sequence();
            let Delivery { job: id, to } = delivery;
            self.group.deliveries.push(Handed { id, reach: Reach::Only(vec![to]), sequence });
        }
        for release in output.releases {
            let sequence = self.txn.next_sequence();
            self.group.deliveries.push(Handed { id: release.event, reach: Reach::Others(release.told), sequence });
        }
        for entry in &output.journal {
            self.note(|txn| txn.append_journal(entry));
        }
        self.group.inquiries.extend(output.inquiries);
        self.announcements.extend(output.announcements);
    }

    /// Signs and stores what the market says, once it is known what of it this commit leaves standing.
    pub(super) fn announce(&mut self, market: &Market) {
        for event in market.sign(std::mem::take(&mut self.announcements)) {
            let admission = self.admit(&event);
            if admission == Admission::Fresh {
                self.keep(Box::new(event));
            } else {
                tracing::error!(id = %event.id, ?admission, "an event of the market itself was not kept");
            }
        }
    }

    fn import(&mut self, event: Box<Event>, market: &mut Option<MarketSeat>) -> Imported {
        if event.retention() == Retention::Ephemeral {
            return Imported::Refused("ephemeral");
        }
        if let Err(outcome) = self.admit_copy(&event) {
            return outcome;
        }
        let inserted = self.txn.insert(&event);
        self.vanish(&event);
        if let Some(seat) = market {
            self.keep_output(seat.market.on_import(seat.clock.now(), &event));
        }
        match inserted {
            Ok(sequence) => {
                let reach = self.readers.reach(&event.view());
                self.group.publications.push(Stored { event, sequence, reach, is_news: false });
            }
            Err(fault) => drop(self.fault.get_or_insert(fault)),
        }
        Imported::Stored
    }

    /// Carries out a request to vanish (NIP-62), whose text the door has seen to be for this relay. Most authors are gone
    /// with its commit; the rest of the others follows in the next groups.
    fn vanish(&mut self, request: &Event) {
        if request.kind == kind::VANISH {
            self.note(|txn| txn.vanish(&request.pubkey, request.created_at));
            self.remove_vanished(&request.pubkey, request.created_at);
            self.has_vanished = true;
        }
    }

    /// Removes more of what is left of those who asked to vanish. False when there was nothing.
    pub(super) fn go_on_vanishing(&mut self) -> bool {
        let vanishing = self.store.vanishing();
        let Some((author, until)) = vanishing.unwrap_or_else(|fault| {
            self.fault.get_or_insert(fault);
            None
        }) else {
            return false;
        };
        if self.remove_vanished(&author, until) < vanish::AT_ONCE {
            self.note(|txn| txn.vanished(&author));
        }
        true
    }

    /// How many events were found, of those committed before.
    fn remove_vanished(&mut self, author: &Pubkey, until: u64) -> usize {
        let ids = vanish::left(self.store, author, until).unwrap_or_else(|fault| {
            self.fault.get_or_insert(fault);
            Vec::new()
        });
        self.remove(&ids);
        ids.len()
    }

    fn mirror(&mut self, event: Box<Event>) -> Imported {
        if event.retention() != Retention::Ephemeral
            && let Err(outcome) = self.admit_copy(&event)
        {
            return outcome;
        }
        self.keep(event);
        Imported::Stored
    }

    /// Whether a copy of an event that was taken elsewhere is to be stored; else what becomes of it.
    fn admit_copy(&mut self, event: &Event) -> Result<(), Imported> {
        match self.admit(event) {
            Admission::Fresh => Ok(()),
            Admission::Duplicate => Err(Imported::Duplicate),
            Admission::Replaced => Err(Imported::Refused("replaced")),
            Admission::Deleted => Err(Imported::Refused("deleted")),
        }
    }

    fn delete(&mut self, filter: Filter) -> u64 {
        let mut ids = Vec::new();
        let mut scan = Scan { room: DELETED_AT_ONCE, ..Scan::new(filter) };
        let mut collect = |record: Record| {
            ids.push(record.position.id);
            ControlFlow::Continue(())
        };
        let scanned = self.store.scan(&mut scan, u32::MAX, &mut collect);
        self.note(|_| scanned.map(drop));
        self.remove(&ids)
    }

    pub(super) fn sweep(&mut self, sweeper: &mut Sweeper) {
        match sweeper.due(self.store, now_s(), steady_ms()) {
            Ok(ids) => drop(self.remove(&ids)),
            Err(fault) => drop(self.fault.get_or_insert(fault)),
        }
    }

    fn remove(&mut self, ids: &[EventId]) -> u64 {
        let mut removed = 0;
        for id in ids {
            self.note(|txn| txn.remove(id).map(|was_here| removed += u64::from(was_here)));
        }
        removed
    }

    pub(super) fn replace_journal(&mut self, entries: &[Vec<u8>]) {
        self.note(|txn| txn.clear_journal());
        for entry in entries {
            self.note(|txn| txn.append_journal(entry));
        }
    }

    fn note(&mut self, act: impl FnOnce(&mut dyn Transaction) -> Result<(), StoreError>) {
        if self.fault.is_none()
            && let Err(fault) = act(&mut *self.txn)
        {
            self.fault = Some(fault);
        }
    }
}

enum Judged {
    Have,
    Keep { output: Output },
}
