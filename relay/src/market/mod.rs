//! The market: events become inputs of the scheduler, and its effects become events that the relay signs.
//!
//! The main path, all of it on the writer's thread and before anything is stored: [`Market::on_event`] reads the event
//! (`request`, `advert`, `feedback`), asks the scheduler (`intake`, `step`), and turns what it decided into an [`Output`]:
//! journal entries (`journal`), events to sign (`telling`, `announce`) and deliveries (`visibility`). The writer commits the event and the output
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
mod settings;
mod signer;
mod stamp;
mod step;
mod subject;
mod tag;
mod tape;
mod taping;
mod telling;
mod till;
mod uncommitted;
mod visibility;
mod walk_in;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use mercato_scheduler::{CustomerId, Input, JobId, ProviderId, RestoreError, Scheduler};

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
use settings::scheduler_config;
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

fn job_id(id: &EventId) -> JobId {
    JobId(id.0)
}

fn provider_id(pubkey: &Pubkey) -> ProviderId {
    ProviderId(pubkey.0)
}

fn customer_id(pubkey: &Pubkey) -> CustomerId {
    CustomerId(pubkey.0)
}
