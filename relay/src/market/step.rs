//! One step of the scheduler, and all that follows from it: the journal, who may see what, the tape and the announcements.

use std::collections::HashSet;

use mercato_scheduler::tape::Line;
use mercato_scheduler::{Effect, Fact, Input, Refusal};

use super::clock::Moment;
use super::tape::Tape;
use super::visibility::{audience_of, readers_of};
use super::{Delivery, Market, Output, Release, assertion, journal};
use crate::nostr::{EventId, Pubkey};

impl Market {
    /// Gives the scheduler an input and adds what it caused to `output`.
    pub(super) fn step(&mut self, now: Moment, input: Input, output: &mut Output) -> Result<(), Refusal> {
        let (snapshot, was_settled) = (self.tape.as_ref().map(Tape::head), self.scheduler.is_settled());
        let line = snapshot.map(|_| Line::Step { at_ms: now.market_ms, input: input.clone() });
        let step = self.scheduler.step(now.market_ms, input)?;
        let did_nothing = step.records.is_empty() && step.effects.is_empty();
        if let Some(line) = line.filter(|_| !(did_nothing && was_settled && self.scheduler.is_settled())) {
            self.speak(now, line, output);
        }
        for record in &step.records {
            self.journal_entries += 1;
            output.journal.push(journal::encode(record));
            self.follow(now, &record.fact, output);
            self.news.note(assertion::concerned(&record.fact, self.scheduler.state()), now.market_ms);
        }
        for effect in &step.effects {
            if !matches!(effect, Effect::OrderValidation { .. }) {
                self.announce(now, effect, snapshot, output);
            }
        }
        // These are steps of their own, and the states that they tell are the newer ones.
        for effect in &step.effects {
            self.order(now, effect, output);
        }
        Ok(())
    }

    /// For inputs that the relay gives by itself: nobody is there to be told of a refusal, and there should be none.
    pub(super) fn step_surely(&mut self, now: Moment, input: Input, output: &mut Output) {
        if let Err(refusal) = self.step(now, input, output) {
            tracing::warn!(%refusal, "the scheduler refused what the relay told it");
        }
    }

    /// Keeps what is derived from the scheduler's state in step with it.
    fn follow(&mut self, now: Moment, fact: &Fact, output: &mut Output) {
        self.meters.note(fact, self.scheduler.state());
        match fact {
            Fact::ProviderForgotten { provider } => self.catalogue.forget(&Pubkey(provider.0)),
            Fact::Requested { job, .. } => {
                self.stamps.begin(*job);
                let row = self.scheduler.state().jobs().get(job);
                if let Some(audience) = row.and_then(audience_of) {
                    self.audiences.restrict(EventId(job.0), audience);
                }
            }
            Fact::Leased { job, provider, .. } => {
                let (job, to) = (EventId(job.0), Pubkey(provider.0));
                if self.audiences.admit(&job, to) {
                    output.deliveries.push(Delivery { job, to });
                }
            }
            Fact::BidsOpened { job, .. } => {
                // Who could do it must see it to make an offer, and only one who gets it may deliver.
                let event = EventId(job.0);
                if let Some(told) = self.audiences.open(&event) {
                    output.releases.push(Release { event, told: told.into_iter().collect() });
                }
            }
            Fact::Bade { provider, offer, .. } => {
                self.audiences.withhold(EventId(offer.0), HashSet::from([Pubkey(provider.0)]));
            }
            Fact::BidsClosed { job } => {
                self.reveal(now, *job, output);
                self.release_offers(*job, output);
                let row = self.scheduler.state().jobs().get(job);
                if let Some(audience) = row.and_then(audience_of) {
                    self.audiences.restrict(EventId(job.0), audience);
                }
            }
            Fact::Submitted { job, provider, result, .. } => {
                if let Some(job) = self.scheduler.state().jobs().get(job).filter(|job| job.compares()) {
                    self.audiences.withhold(EventId(result.0), readers_of(job, *provider));
                }
            }
            Fact::Ended { job, .. } => {
                self.reveal(now, *job, output);
                self.release_offers(*job, output);
                drop(self.audiences.open(&EventId(job.0)));
                self.release_results(*job, output);
            }
            Fact::Opened { job } => {
                let event = EventId(job.0);
                if let Some(told) = self.audiences.open(&event) {
                    output.releases.push(Release { event, told: told.into_iter().collect() });
                }
            }
            Fact::Examining { job, .. } => {
                // Nobody delivers now, so nobody can copy; and validators must read it.
                self.reveal(now, *job, output);
                self.release_results(*job, output);
            }
            Fact::Examined { .. }
            | Fact::Advertised { .. }
            | Fact::Listened { .. }
            | Fact::Waited { .. }
            | Fact::Believed { .. }
            | Fact::Unadvertised { .. }
            | Fact::Seen { .. }
            | Fact::Lapsed { .. }
            | Fact::CameOnline { .. }
            | Fact::WentOffline { .. }
            | Fact::Restarted { .. }
            | Fact::Ran { .. }
            | Fact::PaymentAsked { .. }
            | Fact::LeaseEnded { .. }
            | Fact::Forgotten { .. }
            | Fact::CountersRestored { .. }
            | Fact::ProviderRestored(_)
            | Fact::JobRestored(_)
            | Fact::HalfLifeSet { .. }
            | Fact::CustomerForgotten { .. }
            | Fact::CustomerRestored(_)
            | Fact::InputCame { .. }
            | Fact::InputFailed { .. }
            | Fact::Straggled { .. }
            | Fact::Rested { .. }
            | Fact::Woke { .. }
            | Fact::RunsRestored { .. }
            | Fact::Quoted { .. }
            | Fact::Paid { .. }
            | Fact::Confirmed { .. }
            | Fact::Billed { .. }
            | Fact::Settled { .. }
            | Fact::WentUnpaid { .. }
            | Fact::QueueRestored { .. } => {}
        }
    }
}
