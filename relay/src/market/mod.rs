//! The market: events become inputs of the scheduler, and its effects become events that the relay signs.
//!
//! The main path, all of it on the writer's thread and before anything is stored: [`Market::on_event`] reads the event
//! (`request`, `advert`, `feedback`), asks the scheduler (`intake`), and turns what it decided into an [`Output`]:
//! journal entries (`journal`), signed events (`announce`) and deliveries. The writer commits the event and the output
//! as one, so that after a crash either all of it happened or nothing. `docs/market.md` is the protocol.
//!
//! What a restart needs is in the journal (the scheduler's state) and in the stored events (adverts, job states,
//! requests); everything else here is derived from these two.

mod advert;
mod announce;
mod answer;
mod assertion;
mod audience;
mod audit;
mod catalogue;
mod clock;
mod feedback;
mod input;
mod inquirer;
mod intake;
pub mod journal;
mod keys;
mod money;
mod news;
mod order;
mod payment;
mod presence;
mod refusal;
mod request;
mod requirement;
mod signer;
mod stamp;
mod subject;
mod tag;
mod tape;
mod till;
mod uncommitted;
mod walk_in;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use mercato_scheduler::tape::Line;
use mercato_scheduler::{
    Config, CustomerId, Dispatch, Effect, Fact, Input, Job, JobId, ProviderId, Refusal, RestoreError, Scheduler,
};

pub use announce::Announcement;
pub use audience::Audiences;
pub use audit::{Audit, Report};
pub use clock::{MarketClock, Moment};
pub use keys::{Author, KeyError, MarketKeys, PublicKeys};
pub use payment::inquiry::{Inquiry, Settled};
pub use payment::{Claim, Zap};
pub use presence::Presence;
pub(crate) use signer::Signer;
pub(crate) use tag::Tags;
pub use walk_in::job_kinds;

use crate::config::MarketConfig;
use crate::metrics::MarketMeters;
use crate::nostr::{Event, EventId, Pubkey};
use crate::payments::Desk;
use crate::store::{Store, StoreError};
use catalogue::Catalogue;
use journal::{Entry, EntryError};
use news::News;
use stamp::Stamps;
use tape::{Note, Tape};
use uncommitted::Uncommitted;

/// The journal is replaced only when it has more entries than this.
const JOURNAL_MIN: usize = 10_000;
/// ... and than this for each row of the state.
const JOURNAL_PER_ROW: usize = 4;

/// The scheduler of one relay, and what it needs to know of Nostr.
///
/// The writer owns it. When a commit fails, what this market believes never happened: throw it away and
/// [`restore`](Self::restore) another.
pub struct Market {
    scheduler: Scheduler,
    config: MarketConfig,
    keys: MarketKeys,
    store: Arc<dyn Store>,
    audiences: Arc<Audiences>,
    presence: Presence,
    /// Who has begun to listen for job kinds, and when that counts. Each has a connection here, so they are bounded.
    hearings: BTreeSet<(u64, Pubkey)>,
    catalogue: Catalogue,
    /// Times of the newest state event of each job.
    stamps: Stamps,
    /// Requests that the store does not show yet.
    uncommitted: Uncommitted,
    /// What the scheduler was told, for everybody; `None`: the operator keeps no tape.
    tape: Option<Tape>,
    /// Whose reputation changed, and is to be told.
    news: News,
    /// Where others are asked about payments; `None`: nobody is.
    desk: Option<Arc<Desk>>,
    /// Entries in the store's journal once everything given out is committed.
    journal_entries: usize,
    meters: MarketMeters,
}

/// What one call asks of the writer, to be committed together with the event that caused it, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Entries for the end of the scheduler's journal.
    pub journal: Vec<Vec<u8>>,
    /// What the relay says, for [`Market::sign`] when all of a commit is known.
    pub announcements: Vec<Announcement>,
    /// Requests to show to new leaseholders, once all of it is committed.
    pub deliveries: Vec<Delivery>,
    /// Results and requests to show to everybody, once all of it is committed.
    pub releases: Vec<Release>,
    /// What to ask others, once all of it is committed.
    pub inquiries: Vec<Inquiry>,
}

/// A request becomes visible to a new leaseholder: its authenticated connections with a matching subscription get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// The request.
    pub job: EventId,
    /// The leaseholder.
    pub to: Pubkey,
}

/// A result that was withheld, or a request that was leased to nobody, is for everybody from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Which.
    pub event: EventId,
    /// Who could read it before: its author and the customer; the customer and whom the request names.
    pub told: Vec<Pubkey>,
}

/// Why there is no market. None of it heals by trying again.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    /// The operator's settings do not go together.
    #[error("market configuration: {0}")]
    Config(&'static str),
    /// An entry cannot be read.
    #[error("entry {position} of the market's journal: {source}")]
    Entry {
        /// Its place in the journal, from 0.
        position: usize,
        /// What is wrong with it.
        source: EntryError,
    },
    /// The entries do not follow from each other.
    #[error("market: {0}")]
    Journal(#[from] RestoreError),
    /// The adverts cannot be read.
    #[error("market: {0}")]
    Store(#[from] StoreError),
}

impl Market {
    /// The market that a journal adds up to, with everybody disconnected. The writer commits the output, which tells of
    /// the restart, before anything else; then it may say who is connected already with [`resume`](Self::resume).
    ///
    /// # Errors
    /// When the journal or the stored adverts cannot be read, or the configuration contradicts itself.
    pub fn restore(
        config: &MarketConfig,
        keys: MarketKeys,
        audiences: Arc<Audiences>,
        journal: impl Iterator<Item = Vec<u8>>,
        now: impl Into<Moment>,
        store: Arc<dyn Store>,
    ) -> Result<(Self, Output), MarketError> {
        let (records, tape) = decode(journal)?;
        let journal_entries = records.len();
        let scheduler = Scheduler::restore(scheduler_config(config)?, records.into_iter())?;
        let mut market = Self {
            scheduler,
            config: config.clone(),
            keys,
            audiences,
            presence: Presence::default(),
            hearings: BTreeSet::new(),
            catalogue: Catalogue::default(),
            stamps: Stamps::default(),
            uncommitted: Uncommitted::default(),
            news: News::default(),
            store,
            tape,
            desk: None,
            journal_entries,
            meters: MarketMeters::default(),
        };
        market.restore_audiences();
        let now = market.moment(now.into());
        let mut output = Output::default();
        market.resume_tape(now, &mut output);
        market.step_surely(now, Input::Restarted, &mut output);
        market.restore_catalogue(now, &mut output)?;
        Ok((market, output))
    }

    /// Takes over who is connected from a market that was thrown away while its clients stayed.
    pub fn resume(&mut self, now: impl Into<Moment>, presence: Presence) -> Output {
        let (now, mut output) = (self.moment(now.into()), Output::default());
        self.presence = presence;
        for pubkey in self.presence.connected() {
            self.greet(now, &pubkey, &mut output);
            self.hear(now, &pubkey, &mut output);
        }
        output
    }

    /// What it counts in.
    pub fn meters(&self) -> &MarketMeters {
        &self.meters
    }

    /// Counts on where another market stopped.
    pub fn count_in(&mut self, meters: MarketMeters) {
        self.meters = meters;
    }

    /// Who is connected, for `resume` of the next market.
    pub fn into_presence(self) -> Presence {
        self.presence
    }

    /// Judges an event that the store would keep (or deliver, if ephemeral), before it does.
    ///
    /// # Errors
    /// The text to refuse it with, machine prefix included. Nothing has changed then.
    pub fn on_event(&mut self, now: impl Into<Moment>, event: &Event) -> Result<Output, String> {
        let (now, mut output) = (self.moment(now.into()), Output::default());
        if event.pubkey == self.keys.public() || event.pubkey == self.keys.public_of(Author::Reputation) {
            return Ok(output);
        }
        self.take(now, event, &mut output)?;
        self.see(now, event, &mut output);
        Ok(output)
    }

    /// Takes note of an event of the past: of adverts only, a job that was is not one to do.
    pub fn on_import(&mut self, now: impl Into<Moment>, event: &Event) -> Output {
        let (now, mut output) = (self.moment(now.into()), Output::default());
        if let Err(text) = self.take_import(now, event, &mut output) {
            tracing::debug!(id = %event.id, text, "an imported advert does not count");
        }
        output
    }

    /// An authenticated connection opened.
    pub fn on_connected(&mut self, now: impl Into<Moment>, pubkey: &Pubkey) -> Output {
        let (now, mut output) = (self.moment(now.into()), Output::default());
        if self.presence.connect(*pubkey) {
            self.greet(now, pubkey, &mut output);
        }
        output
    }

    /// An authenticated connection closed.
    pub fn on_disconnected(&mut self, now: impl Into<Moment>, pubkey: &Pubkey) -> Output {
        let (now, mut output) = (self.moment(now.into()), Output::default());
        if self.presence.disconnect(pubkey) {
            self.step_surely(now, Input::Offline { provider: provider_id(pubkey) }, &mut output);
        }
        output
    }

    /// Acts on what is due.
    pub fn on_tick(&mut self, now: impl Into<Moment>) -> Output {
        let (now, mut output) = (self.moment(now.into()), Output::default());
        while let Some(provider) = self.catalogue.pop_expired(now.wall_s()) {
            self.advertise(now, &provider, &mut output);
        }
        self.heed(now, &mut output);
        self.step_surely(now, Input::Tick, &mut output);
        if self.tape.as_ref().and_then(Tape::due_ms).is_some_and(|due_ms| due_ms <= now.market_ms) {
            self.publish_tape(now, &mut output);
        }
        self.tell_news(now, &mut output);
        output
    }

    /// Somebody has set the wall clock, by which adverts end: those that have ended by mistake count again.
    ///
    /// # Errors
    /// When the store cannot be read; nothing has changed then but adverts that were read before the fault.
    pub fn on_clock_set(&mut self, now: impl Into<Moment>) -> Result<Output, StoreError> {
        let (now, mut output) = (self.moment(now.into()), Output::default());
        self.restore_catalogue(now, &mut output)?;
        Ok(output)
    }

    /// When to call `on_tick`, by the market's time; `None` when nothing waits. Adverts end by the wall clock, so ask anew
    /// now and then: somebody may set it.
    pub fn next_deadline_ms(&self, now: impl Into<Moment>) -> Option<u64> {
        let now = self.moment(now.into());
        let expiry_ms = self.catalogue.next_expiry_s().map(|at_s| now.to_market_ms(at_s.saturating_mul(1_000)));
        let heard_ms = self.hearings.first().map(|(at_ms, _)| *at_ms);
        let tape_ms = self.tape.as_ref().and_then(Tape::due_ms);
        let own = [self.scheduler.next_deadline_ms(), self.news.due_ms()];
        own.into_iter().chain([expiry_ms, heard_ms, tape_ms]).flatten().min()
    }

    /// When the journal has grown far beyond the state: entries to replace it with. Ask last in a transaction, when
    /// everything given out so far is in it or committed: they stand for that too.
    pub fn compaction(&mut self) -> Option<Vec<Vec<u8>>> {
        let state = self.scheduler.state();
        let rows = 2 + state.jobs().len() + state.providers().len() + state.customers().len();
        if self.journal_entries <= JOURNAL_MIN.max(JOURNAL_PER_ROW * rows) {
            return None;
        }
        let rows = self.scheduler.checkpoint();
        let tape = self.tape.iter().map(|tape| journal::encode_note(&Note::Stands(Box::new(tape.clone()))));
        let entries: Vec<_> = rows.iter().map(journal::encode).chain(tape).collect();
        self.journal_entries = entries.len();
        Some(entries)
    }

    /// The events of one commit, in order. Of a job that changed several times only the last state is told: the others
    /// would be replaced before anybody could see them.
    pub fn sign(&self, announcements: Vec<Announcement>) -> Vec<Event> {
        let mut last = HashMap::new();
        for (at, announcement) in announcements.iter().enumerate() {
            last.extend(announcement.state_of.map(|job| (job, at)));
        }
        let is_told = |(at, announcement): &(usize, Announcement)| {
            announcement.state_of.is_none_or(|job| last.get(&job) == Some(at))
        };
        let told = announcements.into_iter().enumerate().filter(is_told);
        told.map(|(_, announcement)| announcement.sign(&self.keys)).collect()
    }

    /// The scheduler, for reading.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// A clock for this market and those that take its place.
    pub fn clock(&self) -> MarketClock {
        MarketClock::showing(self.scheduler.state().now_ms())
    }

    /// The moment as the market has it: its time never goes back, not even if the wall clock was set back while there was
    /// no market.
    fn moment(&self, now: Moment) -> Moment {
        Moment { market_ms: now.market_ms.max(self.scheduler.state().now_ms()), ..now }
    }

    /// Gives the scheduler an input and adds what it caused to `output`.
    fn step(&mut self, now: Moment, input: Input, output: &mut Output) -> Result<(), Refusal> {
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

    /// Begins the tape, goes on with it, or ends it, as the operator has it now.
    fn resume_tape(&mut self, now: Moment, output: &mut Output) {
        let config = self.scheduler.config().clone();
        match (self.config.tape, &self.tape) {
            (true, Some(_)) => self.speak(now, Line::Restored { config }, output),
            (true, None) => {
                self.note(Note::Stands(Box::default()), output);
                let rows = self.scheduler.checkpoint();
                self.speak(now, Line::Began { config, rows: rows.len() as u64 }, output);
                rows.into_iter().for_each(|row| self.speak(now, Line::Row(row), output));
            }
            (false, Some(_)) => self.note(Note::Stopped, output),
            (false, None) => {}
        }
    }

    /// Adds a line to the tape. A page is published as soon as it is full, so that none is longer than a line beyond that.
    fn speak(&mut self, now: Moment, line: Line, output: &mut Output) {
        if let Some(tape) = &self.tape {
            let note = tape.speak(now, line, &self.scheduler, &self.keys);
            self.note(note, output);
        }
        if self.tape.as_ref().is_some_and(Tape::is_full) {
            self.publish_tape(now, output);
        }
    }

    fn reveal(&mut self, now: Moment, job: JobId, output: &mut Output) {
        let notes = self.tape.as_ref().map_or_else(Vec::new, |tape| tape.reveal(now, job));
        notes.into_iter().for_each(|note| self.note(note, output));
    }

    fn publish_tape(&mut self, now: Moment, output: &mut Output) {
        if let Some(tape) = &self.tape {
            let draft = tape.draft();
            output.announcements.push(Announcement {
                draft,
                created_at: now.wall_s(),
                state_of: None,
                author: Author::Relay,
            });
            self.note(Note::Published, output);
        }
    }

    fn note(&mut self, note: Note, output: &mut Output) {
        self.journal_entries += 1;
        output.journal.push(journal::encode_note(&note));
        Tape::apply(&mut self.tape, note);
    }

    /// For inputs that the relay gives by itself: nobody is there to be told of a refusal, and there should be none.
    fn step_surely(&mut self, now: Moment, input: Input, output: &mut Output) {
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

    /// Lets everybody read the results of a job.
    fn release_results(&self, job: JobId, output: &mut Output) {
        let row = self.scheduler.state().jobs().get(&job);
        for submission in row.into_iter().flat_map(|job| &job.submissions) {
            let event = EventId(submission.result.0);
            if let Some(told) = self.audiences.release(&event) {
                output.releases.push(Release { event, told: told.into_iter().collect() });
            }
        }
    }

    /// Orders validators, in the same commit as what is to be looked at.
    fn order(&mut self, now: Moment, effect: &Effect, output: &mut Output) {
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

    /// Lets everybody read the offers for a job, those that were changed too.
    fn release_offers(&self, job: JobId, output: &mut Output) {
        let row = self.scheduler.state().jobs().get(&job);
        for offer in row.into_iter().flat_map(|job| &job.bidding.bids).flat_map(|bid| &bid.said) {
            let event = EventId(offer.0);
            if let Some(told) = self.audiences.release(&event) {
                output.releases.push(Release { event, told: told.into_iter().collect() });
            }
        }
    }

    /// Drafts the event that tells of `effect`.
    fn announce(&mut self, now: Moment, effect: &Effect, snapshot: Option<tape::Head>, output: &mut Output) {
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

    /// Asserts what is known of those whose reputation changed.
    fn tell_news(&mut self, now: Moment, output: &mut Output) {
        let told = self.news.take(now.market_ms);
        let drafts = told.iter().filter_map(|key| assertion::draft(self.scheduler.state(), key));
        let (created_at, author) = (now.wall_s(), Author::Reputation);
        output.announcements.extend(drafts.map(|draft| Announcement { draft, created_at, state_of: None, author }));
    }

    fn restore_audiences(&self) {
        let jobs = self.scheduler.state().jobs().values();
        let restricted = jobs.filter_map(|job| Some((EventId(job.id.0), audience_of(job)?)));
        // While validators are at work, and once they have rejected a result, it is for everybody.
        let compares = |job: &&Job| job.is_open() && job.compares() && job.examination.is_none();
        let comparing = self.scheduler.state().jobs().values().filter(compares);
        let withheld = comparing.flat_map(|job| {
            let results = job.submissions.iter().filter(|submission| submission.verdict.is_none());
            results.map(|submission| (EventId(submission.result.0), readers_of(job, submission.provider)))
        });
        let bidding = self.scheduler.state().jobs().values().filter(|job| job.bidding.until_ms.is_some());
        let sealed = bidding.flat_map(|job| &job.bidding.bids).flat_map(|bid| {
            let own = HashSet::from([Pubkey(bid.provider.0)]);
            bid.said.iter().map(move |offer| (EventId(offer.0), own.clone()))
        });
        self.audiences.replace(restricted.collect(), withheld.chain(sealed).collect());
    }

    /// Reads the adverts of every provider that has any. They may have changed while the relay was away, or have been
    /// imported.
    fn restore_catalogue(&mut self, now: Moment, output: &mut Output) -> Result<(), StoreError> {
        let rows = self.scheduler.state().providers().values();
        let known = rows.filter(|row| row.advert.is_some()).map(|row| Pubkey(row.id.0));
        let mut advertised: BTreeSet<Pubkey> = known.collect();
        self.catalogue.load_all(&*self.store, now.wall_s(), self.config.max_providers, &mut advertised)?;
        for provider in advertised {
            self.advertise(now, &provider, output);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Market {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.scheduler.state();
        f.debug_struct("Market")
            .field("keys", &self.keys)
            .field("jobs", &state.jobs().len())
            .field("providers", &state.providers().len())
            .finish_non_exhaustive()
    }
}

/// The scheduler that a journal adds up to, for reading beside a running relay.
///
/// # Errors
/// When the journal cannot be read, or the configuration contradicts itself.
pub fn read_journal(config: &MarketConfig, journal: impl Iterator<Item = Vec<u8>>) -> Result<Scheduler, MarketError> {
    let (records, _) = decode(journal)?;
    Ok(Scheduler::restore(scheduler_config(config)?, records.into_iter())?)
}

/// The scheduler's records, and the end of the tape.
fn decode(
    journal: impl Iterator<Item = Vec<u8>>,
) -> Result<(Vec<mercato_scheduler::Record>, Option<Tape>), MarketError> {
    let (mut records, mut tape) = (Vec::new(), None);
    for (position, entry) in journal.enumerate() {
        match journal::decode(&entry).map_err(|source| MarketError::Entry { position, source })? {
            Entry::Record(record) => records.push(record),
            Entry::Tape(note) => Tape::apply(&mut tape, note),
        }
    }
    Ok((records, tape))
}

/// Who may see an open leased job; `None`: everybody.
fn audience_of(job: &Job) -> Option<HashSet<Pubkey>> {
    let takes_offers = job.bidding.until_ms.is_some();
    if !job.is_open() || job.request.dispatch == Dispatch::Open || takes_offers {
        return None;
    }
    let past = job.attempts.iter().map(|attempt| attempt.provider);
    let delivered = job.submissions.iter().map(|submission| submission.provider);
    let leaseholders = past.chain(delivered).chain(job.leases.iter().map(|lease| lease.provider));
    let providers = job.request.providers.iter().copied().chain(leaseholders).map(|provider| Pubkey(provider.0));
    Some(providers.chain([Pubkey(job.customer.0)]).collect())
}

/// Who may read a provider's result while others still work on the job.
fn readers_of(job: &Job, provider: ProviderId) -> HashSet<Pubkey> {
    HashSet::from([Pubkey(provider.0), Pubkey(job.customer.0)])
}

fn job_id(id: &EventId) -> JobId {
    JobId(id.0)
}

fn provider_id(pubkey: &Pubkey) -> ProviderId {
    ProviderId(pubkey.0)
}

fn customer_id(pubkey: &Pubkey) -> CustomerId {
    CustomerId(pubkey.0)
}

/// The operator's settings in the scheduler's terms.
fn scheduler_config(config: &MarketConfig) -> Result<Config, MarketError> {
    let ms = |seconds: u64| seconds.saturating_mul(1_000);
    let shortest_accept_s = config.min_accept_timeout_s.min(config.accept_timeout_s).min(config.max_accept_timeout_s);
    let own = Config {
        accept_timeout_ms: ms(config.accept_timeout_s),
        accept_timeout_derived: config.derive_accept_timeout,
        // Whoever lowers the usual time or the longest alone means that.
        accept_timeout_min_ms: ms(shortest_accept_s),
        accept_timeout_max_ms: ms(config.max_accept_timeout_s),
        run_timeout_ms: ms(config.run_timeout_s),
        run_timeout_derived: config.derive_run_timeout,
        backups: config.backups,
        // Whoever lowers the longest alone means that.
        run_timeout_min_ms: ms(config.min_run_timeout_s.min(config.max_run_timeout_s)),
        run_timeout_max_ms: ms(config.max_run_timeout_s),
        pay_timeout_ms: ms(config.pay_timeout_s),
        job_timeout_ms: ms(config.job_timeout_s),
        job_timeout_max_ms: ms(config.max_job_timeout_s),
        disconnect_grace_ms: ms(config.disconnect_grace_s),
        restart_grace_ms: ms(config.restart_grace_s),
        liveness_window_ms: ms(config.liveness_s),
        // Often enough that the window is right to a few per cent, seldom enough not to fill the journal.
        seen_resolution_ms: ms(config.liveness_s) / 30,
        auction_max_ms: ms(config.max_auction_s),
        validation_timeout_ms: ms(config.validation_timeout_s),
        retry_base_ms: ms(config.retry_s),
        retry_max_ms: ms(config.max_retry_s),
        attempts_default: config.attempts,
        attempts_max: config.max_attempts,
        // Whoever lowers the attempts alone means that.
        replicas_max: config.max_replicas.min(config.max_attempts),
        open_after_ms: (config.open_after_s > 0).then(|| ms(config.open_after_s)),
        default_slots: config.slots,
        slots_max: config.max_slots,
        jobs_max: config.max_open_jobs,
        jobs_per_customer_max: config.max_open_jobs_per_customer,
        providers_max: config.max_providers,
        ended_retention_ms: ms(config.ended_retention_s),
        ended_max: config.max_ended_jobs,
        half_life_ms: ms(config.reputation_half_life_days.saturating_mul(86_400)),
        customers_max: config.max_customers,
    };
    own.flaw().map_or(Ok(own), |flaw| Err(MarketError::Config(flaw)))
}
