//! What the market says of the scheduler's effects, as drafts: they are signed when all of a commit is known.

use mercato_scheduler::{Effect, Input};

use super::clock::Moment;
use super::keys::Author;
use super::{Announcement, Market, Output, announce, assertion, job_id, tape};
use crate::nostr::EventId;

impl Market {
    /// Drafts the event that tells of `effect`.
    pub(super) fn announce(&mut self, now: Moment, effect: &Effect, snapshot: Option<tape::Head>, output: &mut Output) {
        let (request, created_at) = match effect {
            Effect::AnnounceLease { job, .. } => {
                (self.uncommitted.request(&EventId(job.0), &*self.store), now.wall_s())
            }
            Effect::AnnounceState { view } => {
                (None, self.stamps.next(view, now.wall_s(), &*self.store, &self.keys.public()))
            }
            Effect::AnnounceWithdrawal { .. }
            | Effect::AnnounceVerdict { .. }
            | Effect::AnnounceEnd { .. }
            | Effect::AnnouncePayment { .. }
            | Effect::OrderValidation { .. } => (None, now.wall_s()),
        };
        let state_of = match effect {
            Effect::AnnounceState { view } => Some(view.job),
            Effect::AnnounceLease { .. }
            | Effect::AnnounceWithdrawal { .. }
            | Effect::AnnounceVerdict { .. }
            | Effect::AnnounceEnd { .. }
            | Effect::AnnouncePayment { .. }
            | Effect::OrderValidation { .. } => None,
        };
        let draft = announce::draft(effect, request.as_deref(), snapshot.as_ref(), now);
        output.announcements.push(Announcement { draft, created_at, state_of, author: Author::Relay });
    }

    /// Orders validators, in the same commit as what is to be looked at.
    pub(super) fn order(&mut self, now: Moment, effect: &Effect, output: &mut Output) {
        let Effect::OrderValidation { job, .. } = effect else { return };
        let mut draft = announce::draft(effect, None, None, now);
        // Another relay that comes by it has not to schedule it as well.
        draft.tags.push(announce::tag("scheduler", [self.keys.public().to_hex()]));
        let (created_at, author) = (now.wall_s(), Author::Relay);
        let announcement = Announcement { draft, created_at, state_of: None, author };
        // Its id is needed now, and leases carry it. Signed again with the rest of the commit it has the same id.
        let event = announcement.clone().sign(&self.keys);
        self.uncommitted.put(&event, &*self.store);
        output.announcements.push(announcement);
        self.step_surely(now, Input::Examine { job: *job, by: job_id(&event.id) }, output);
    }

    /// Asserts what is known of those whose reputation changed.
    pub(super) fn tell_news(&mut self, now: Moment, output: &mut Output) {
        let told = self.news.take(now.market_ms);
        let drafts = told.iter().filter_map(|key| assertion::draft(self.scheduler.state(), key));
        let (created_at, author) = (now.wall_s(), Author::Reputation);
        output.announcements.extend(drafts.map(|draft| Announcement { draft, created_at, state_of: None, author }));
    }
}
