//! The only writer: takes what waits, commits it as one group, then answers and delivers.
//!
//! The market is asked about every event before it is stored, and what it decides (journal entries,
//! leases, states) is committed in the same group: there is no moment at which a job is stored but
//! not scheduled, or leased but not told. Nobody hears of anything before it is on disk.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::clock::{StepWatch, now_ms, now_s, steady_ms};
use crate::connection::Connection;
use crate::live::{Live, Publication};
use crate::market::{Announcement, Delivery, Market, MarketClock, Moment, Output};
use crate::metrics::{MarketMeters, Outcome, WriterMeters};
use crate::nostr::kind::{self, Retention};
use crate::nostr::{Event, EventId, Filter, Pubkey, message};
use crate::outage::Outage;
use crate::outbox::Gathering;
use crate::peer::feed::Feed;
use crate::policy::{Reach, Readers};
use crate::store::{Admission, Changes, Follower, Record, Scan, Store, StoreError, Transaction};
use crate::sweep::Sweeper;
use crate::vanish;

/// Commands committed together at most: bounds the wait of the first behind the last.
const GROUP: usize = 1_000;
/// Committed groups that may wait for live delivery before the writer waits too.
const GROUPS_UNDELIVERED: usize = 64;
/// Events removed by one command, so that its commit stays small.
const DELETED_AT_ONCE: u64 = 5_000;
/// How long after a failure the removal of a vanished author's events is taken up again.
const VANISH_RETRY_MS: u64 = 1_000;
/// How often the jobs are counted for the metrics.
const CENSUS_PERIOD_MS: u64 = 5_000;

/// The answer to an event that is known.
const HAVE: &str = "duplicate: have this event";

/// What the writer is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Store and deliver an event that has passed the door.
    Publish { event: Box<Event>, reply: Reply },
    /// Store an event of the past: no market, no delivery.
    Import { event: Box<Event>, reply: oneshot::Sender<Imported> },
    /// Store and deliver an event of another relay: no market, its jobs are the other's to schedule.
    Mirror { event: Box<Event>, reply: oneshot::Sender<Imported> },
    /// Remove what matches, without a trace, up to a bound; once more until it answers 0.
    Delete { filter: Filter, reply: oneshot::Sender<Result<u64, String>> },
    /// A connection has proved to hold a key.
    Connected(Pubkey),
    /// Such a connection is gone.
    Disconnected(Pubkey),
    /// Commit what came before, then end.
    Stop,
}

/// Who is told what became of an event.
#[derive(Debug)]
pub enum Reply {
    Connection(Arc<Connection>),
    /// `Err` holds the text of an `OK false`.
    Call(oneshot::Sender<Result<(), String>>),
}

/// What became of an imported event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    Stored,
    Duplicate,
    /// Replaced, deleted, or of a kind that is not kept.
    Refused(&'static str),
    Failed(String),
}

/// The way to the writer. Sending waits while its queue is full, and holds up only who sends.
#[derive(Debug, Clone)]
pub struct WriterHandle {
    commands: mpsc::Sender<Queued>,
    meters: Arc<WriterMeters>,
}

/// A command and when its sender came with it, so that the wait for it can be told.
#[derive(Debug)]
struct Queued {
    command: Command,
    since: Instant,
}

impl WriterHandle {
    pub async fn send(&self, command: Command) {
        // After the writer has stopped there is no relay to answer.
        let _ = self.commands.send(Queued { command, since: Instant::now() }).await;
    }

    pub fn meters(&self) -> &WriterMeters {
        &self.meters
    }

    /// Commands that wait, and how many may.
    pub fn queue(&self) -> (usize, usize) {
        let max = self.commands.max_capacity();
        (max - self.commands.capacity(), max)
    }

    pub fn is_ended(&self) -> bool {
        self.commands.is_closed()
    }

    pub async fn stop(&self) {
        self.send(Command::Stop).await;
    }

    /// Resolves when the writer takes no more commands: after `stop`, or because it could not go on.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }
}

/// Starts the writer and live delivery. Join after `stop` to know that all it had accepted is on disk.
pub fn start(
    store: Arc<dyn Store>,
    market: Option<MarketSeat>,
    readers: Arc<Readers>,
    live: Arc<Live>,
    upkeep: Upkeep,
) -> std::io::Result<(WriterHandle, JoinHandle<()>)> {
    let (commands, queue) = mpsc::channel(upkeep.max_pending);
    let (groups, committed) = sync_channel(GROUPS_UNDELIVERED);
    let meters = Arc::new(WriterMeters::default());
    let delivery = {
        let (store, live, meters) = (store.clone(), live.clone(), meters.clone());
        let run = move || deliver(&live, &*store, &committed, &meters);
        std::thread::Builder::new().name("live".to_owned()).spawn(run)?
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (sweeper, followers) = (upkeep.sweeper, upkeep.followers);
    let mut writer = Writer {
        store,
        market,
        readers,
        live,
        followers,
        groups,
        sweeper,
        // A removal that the last stop cut short is taken up at once.
        next_vanish_ms: 0,
        next_census_ms: 0,
        steps: StepWatch::start(),
        outage: None,
        meters: meters.clone(),
    };
    let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
        runtime.block_on(writer.run(queue));
        drop(writer);
        // A panic over there has been reported by its thread.
        let _ = delivery.join();
    })?;
    Ok((WriterHandle { commands, meters }, thread))
}

/// How a writer keeps house.
#[derive(Debug)]
pub struct Upkeep {
    /// Commands that may wait; who sends more waits too.
    pub max_pending: usize,
    /// What removes events that have expired (NIP-40), as a relay must; an import keeps what it is given.
    pub sweeper: Option<Sweeper>,
    /// Sets that follow what is committed.
    pub followers: Vec<Arc<dyn Follower>>,
}

/// The market with the way to build it anew from the store.
pub struct MarketSeat {
    market: Market,
    restore: Restore,
    clock: MarketClock,
    /// What the restart itself caused, to be committed first.
    pending: Vec<Output>,
}

/// Folds the store's journal at this moment.
pub type Restore = Box<dyn Fn(Moment) -> anyhow::Result<(Market, Output)> + Send>;

impl MarketSeat {
    /// `restore` is called now, and again after a failed commit.
    pub fn new(restore: Restore) -> anyhow::Result<Self> {
        let (market, output) = restore(Moment::from(now_ms()))?;
        let clock = market.clock();
        Ok(Self { market, restore, clock, pending: vec![output] })
    }

    /// What its market counts in, whichever that is.
    pub fn meters(&self) -> &MarketMeters {
        self.market.meters()
    }
}

struct Writer {
    store: Arc<dyn Store>,
    market: Option<MarketSeat>,
    readers: Arc<Readers>,
    live: Arc<Live>,
    followers: Vec<Arc<dyn Follower>>,
    groups: SyncSender<Group>,
    sweeper: Option<Sweeper>,
    /// When, by the steady clock, to go on removing what vanished authors left; `u64::MAX`: nothing is left.
    next_vanish_ms: u64,
    next_census_ms: u64,
    steps: StepWatch,
    /// While the store takes no writes.
    outage: Option<Outage>,
    meters: Arc<WriterMeters>,
}

/// What one commit makes true, told once it has.
struct Group {
    answers: Vec<Answer>,
    publications: Vec<Stored>,
    deliveries: Vec<Handed>,
    committed: Instant,
}

/// A stored event that somebody may see from now on: a request a new leaseholder, a withheld result everybody.
struct Handed {
    id: EventId,
    reach: Reach,
    /// When, in the order of storing: subscriptions opened later find it among the stored events.
    sequence: u64,
}

enum Answer {
    Event { reply: Reply, id: EventId, since: Instant, verdict: Result<&'static str, String> },
    Import { reply: oneshot::Sender<Imported>, outcome: Imported },
    Delete { reply: oneshot::Sender<Result<u64, String>>, removed: u64 },
}

struct Stored {
    event: Box<Event>,
    sequence: u64,
    /// As it was when the event was judged: a later leaseholder gets a delivery of its own.
    reach: Reach,
    /// Whether subscribers hear of it: not of imports. Links to other relays do of everything.
    is_news: bool,
}

impl Writer {
    async fn run(&mut self, mut queue: mpsc::Receiver<Queued>) {
        let mut commands = Vec::with_capacity(GROUP);
        self.commit_group(&mut commands);
        loop {
            match tokio::time::timeout(self.next_wake(), queue.recv_many(&mut commands, GROUP)).await {
                Ok(0) => return,
                Ok(_) | Err(_) => {
                    let stop = commands.iter().any(|queued| matches!(queued.command, Command::Stop));
                    self.commit_group(&mut commands);
                    if stop {
                        return;
                    }
                }
            }
        }
    }

    /// How long nothing is due by itself.
    fn next_wake(&self) -> Duration {
        if let Some(outage) = &self.outage {
            // Tried again even if nobody comes: whoever asks whether the relay is ready must learn that it is.
            return outage.rest();
        }
        let own_ms = self.sweeper.as_ref().map_or(u64::MAX, Sweeper::next_ms).min(self.next_vanish_ms);
        let market_ms = self.market.as_ref().and_then(|seat| {
            let now = seat.clock.now();
            Some(seat.market.next_deadline_ms(now)?.saturating_sub(now.market_ms))
        });
        Duration::from_millis(own_ms.saturating_sub(steady_ms()).min(market_ms.unwrap_or(u64::MAX)))
    }

    /// Carries out `commands` and whatever is due as one commit.
    fn commit_group(&mut self, commands: &mut Vec<Queued>) {
        let begun = Instant::now();
        let mut group =
            Group { answers: Vec::new(), publications: Vec::new(), deliveries: Vec::new(), committed: begun };
        if !commands.is_empty() {
            self.meters.group.count(commands.len() as u64);
        }
        if self.outage.as_ref().is_some_and(|outage| !outage.rest().is_zero()) {
            self.turn_away(commands, &mut group);
            return self.tell(group);
        }
        self.heed_steps();
        self.meters.begin();
        let built = self.build(commands, &mut group);
        group.committed = Instant::now();
        self.meters.commit.observe(group.committed - begun);
        match built {
            Ok(changes) => {
                self.outage.take().into_iter().for_each(Outage::end);
                self.meters.set_store_failing(false);
                for follower in &self.followers {
                    follower.committed(&changes);
                }
                for stored in &group.publications {
                    self.meters.events.inc(stored.event.kind);
                }
                self.live.committed(self.store.last_sequence());
                self.tell(group);
                self.take_census();
            }
            Err(error) => self.fail(&error, commands, group),
        }
        self.meters.end();
    }

    /// Answers, then delivers.
    fn tell(&mut self, mut group: Group) {
        let gathering = Gathering::start();
        for answer in group.answers.drain(..) {
            answer.count(&self.meters);
            answer.tell();
        }
        drop(gathering);
        if !(self.live.is_idle() || group.publications.is_empty() && group.deliveries.is_empty()) {
            // Live delivery ends only after the writer.
            let _ = self.groups.send(group);
        }
    }

    /// Nothing of a group has happened.
    fn fail(&mut self, error: &StoreError, commands: &mut Vec<Queued>, mut group: Group) {
        self.meters.failed_commits.inc();
        self.meters.set_store_failing(true);
        for queued in commands.drain(..) {
            // Who is connected stays true whatever the disk does; the market that is about to go hands it on.
            drop(self.presence_of(&queued.command));
            group.answers.extend(Answer::for_unbegun(queued));
        }
        match &mut self.outage {
            Some(outage) => outage.go_on(error),
            None => self.outage = Some(Outage::begin(error)),
        }
        self.outage.iter_mut().for_each(|outage| outage.refuse(group.answers.len() as u64));
        for answer in group.answers.drain(..) {
            answer.fail(&self.meters, &error.to_string());
        }
        self.rebuild_market();
    }

    /// While the store takes no writes only what need not be stored goes on: ephemeral events, and who is connected.
    fn turn_away(&mut self, commands: &mut Vec<Queued>, group: &mut Group) {
        let (store, readers) = (self.store.clone(), self.readers.clone());
        let reason = self.outage.as_ref().map(|outage| outage.reason.clone()).unwrap_or_default();
        // Dropped without a commit: it only gives sequences away.
        let mut txn = store.begin().ok();
        for queued in commands.drain(..) {
            let presence = self.presence_of(&queued.command);
            self.market.iter_mut().for_each(|seat| seat.pending.extend(presence.clone()));
            match (queued, &mut txn) {
                (Queued { command: Command::Publish { event, reply }, since }, Some(txn))
                    if event.retention() == Retention::Ephemeral =>
                {
                    let feed = self.live.feed();
                    let is_known = !feed.is_idle() && !feed.note(event.id);
                    let verdict = Ok(if is_known { HAVE } else { "" });
                    group.answers.push(Answer::Event { reply, id: event.id, since, verdict });
                    if !is_known {
                        let reach = readers.reach(&event.view());
                        let sequence = txn.next_sequence();
                        group.publications.push(Stored { event, sequence, reach, is_news: true });
                    }
                }
                (queued, _) => {
                    if let Some(answer) = Answer::for_unbegun(queued) {
                        self.outage.iter_mut().for_each(|outage| outage.refuse(1));
                        answer.fail(&self.meters, &reason);
                    }
                }
            }
        }
    }

    /// When somebody has set the wall clock: adverts end by it, and what it takes for old is not removed at once.
    fn heed_steps(&mut self) {
        let Some(step_ms) = self.steps.look() else { return };
        let seconds = step_ms / 1_000;
        tracing::warn!(seconds, "the wall clock was set: jobs keep their time, events are judged by the new one");
        if step_ms > 0
            && let Some(sweeper) = &mut self.sweeper
        {
            sweeper.hold(steady_ms());
        }
        if let Some(seat) = &mut self.market {
            match seat.market.on_clock_set(seat.clock.now()) {
                Ok(output) => seat.pending.push(output),
                Err(error) => tracing::warn!(%error, "adverts could not be read again"),
            }
        }
    }

    /// Counts the jobs now and then: it looks at each of them.
    fn take_census(&mut self) {
        if let Some(seat) = &self.market
            && steady_ms() >= self.next_census_ms
        {
            self.next_census_ms = steady_ms() + CENSUS_PERIOD_MS;
            seat.market.meters().census(seat.market.scheduler().state());
        }
    }

    fn build(&mut self, commands: &mut Vec<Queued>, group: &mut Group) -> Result<Changes, StoreError> {
        let store = self.store.clone();
        let readers = self.readers.clone();
        let mut open = Open {
            txn: store.begin()?,
            store: &*store,
            readers: &readers,
            feed: self.live.feed(),
            group,
            announcements: Vec::new(),
            has_vanished: false,
            fault: None,
        };
        if self.outage.is_some() {
            open.txn.touch();
        }
        if let Some(seat) = &mut self.market {
            for output in std::mem::take(&mut seat.pending) {
                open.keep_output(output);
            }
            let now = seat.clock.now();
            if seat.market.next_deadline_ms(now).is_some_and(|deadline| deadline <= now.market_ms) {
                let output = seat.market.on_tick(now);
                open.keep_output(output);
            }
        }
        for queued in commands.drain(..) {
            open.carry_out(queued, &mut self.market);
        }
        if let Some(sweeper) = &mut self.sweeper
            && steady_ms() >= sweeper.next_ms()
        {
            open.sweep(sweeper);
        }
        let mut next_vanish_ms = if open.has_vanished { 0 } else { self.next_vanish_ms };
        if !open.has_vanished && steady_ms() >= self.next_vanish_ms {
            self.next_vanish_ms = steady_ms() + VANISH_RETRY_MS;
            next_vanish_ms = if open.go_on_vanishing() { 0 } else { u64::MAX };
        }
        if let Some(seat) = &self.market {
            open.announce(&seat.market);
        }
        if let Some(entries) = self.market.as_mut().and_then(|seat| seat.market.compaction()) {
            open.replace_journal(&entries);
        }
        let changes = match open.fault {
            Some(fault) => return Err(fault),
            None => open.txn.commit()?,
        };
        self.next_vanish_ms = next_vanish_ms;
        Ok(changes)
    }

    /// What a change of who is connected causes in the market.
    fn presence_of(&mut self, command: &Command) -> Option<Output> {
        let seat = self.market.as_mut()?;
        match command {
            Command::Connected(pubkey) => Some(seat.market.on_connected(seat.clock.now(), pubkey)),
            Command::Disconnected(pubkey) => Some(seat.market.on_disconnected(seat.clock.now(), pubkey)),
            Command::Publish { .. }
            | Command::Import { .. }
            | Command::Mirror { .. }
            | Command::Delete { .. }
            | Command::Stop => None,
        }
    }

    /// After a failed commit the market knows of things that never happened: it starts from disk again.
    fn rebuild_market(&mut self) {
        let Some(MarketSeat { market, restore, clock, .. }) = self.market.take() else { return };
        match restore(clock.now()) {
            Ok((mut restored, output)) => {
                restored.count_in(market.meters().clone());
                let resumed = restored.resume(clock.now(), market.into_presence());
                self.market = Some(MarketSeat { market: restored, restore, clock, pending: vec![output, resumed] });
            }
            Err(error) => {
                // Going on would schedule from a state that is not on disk.
                tracing::error!(%error, "the market could not be restored after a failed commit");
                panic!("the market could not be restored: {error}");
            }
        }
    }
}

/// A group while it is being built. The first fault ends up in `fault`; the rest is then moot.
struct Open<'a> {
    txn: Box<dyn Transaction + 'a>,
    store: &'a dyn Store,
    readers: &'a Readers,
    feed: &'a Feed,
    group: &'a mut Group,
    /// Signed after the last command.
    announcements: Vec<Announcement>,
    /// Whether somebody asks to vanish in this group.
    has_vanished: bool,
    fault: Option<StoreError>,
}

impl Open<'_> {
    fn carry_out(&mut self, queued: Queued, market: &mut Option<MarketSeat>) {
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
            Command::Disconnected(pubkey) => {
                if let Some(seat) = market {
                    self.keep_output(seat.market.on_disconnected(seat.clock.now(), &pubkey));
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
                output.releases.retain(|release| release.result != id);
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

    fn keep_output(&mut self, output: Output) {
        for delivery in output.deliveries {
            let sequence = self.txn.next_sequence();
            let Delivery { job: id, to } = delivery;
            self.group.deliveries.push(Handed { id, reach: Reach::Only(vec![to]), sequence });
        }
        for release in output.releases {
            let sequence = self.txn.next_sequence();
            self.group.deliveries.push(Handed { id: release.result, reach: Reach::Others(release.told), sequence });
        }
        for entry in &output.journal {
            self.note(|txn| txn.append_journal(entry));
        }
        self.announcements.extend(output.announcements);
    }

    /// Signs and stores what the market says, once it is known what of it this commit leaves standing.
    fn announce(&mut self, market: &Market) {
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
    fn go_on_vanishing(&mut self) -> bool {
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

    fn sweep(&mut self, sweeper: &mut Sweeper) {
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

    fn replace_journal(&mut self, entries: &[Vec<u8>]) {
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

impl Answer {
    /// For a command that was never begun.
    fn for_unbegun(queued: Queued) -> Option<Self> {
        let since = queued.since;
        match queued.command {
            Command::Publish { event, reply } => Some(Self::Event { reply, id: event.id, since, verdict: Ok("") }),
            Command::Import { reply, .. } | Command::Mirror { reply, .. } => {
                Some(Self::Import { reply, outcome: Imported::Stored })
            }
            Command::Delete { reply, .. } => Some(Self::Delete { reply, removed: 0 }),
            Command::Connected(_) | Command::Disconnected(_) | Command::Stop => None,
        }
    }

    fn count(&self, meters: &WriterMeters) {
        let Self::Event { since, verdict, .. } = self else { return };
        let outcome = match verdict {
            Ok("") => Outcome::Stored,
            Ok(_) => Outcome::Duplicate,
            Err(_) => Outcome::Refused,
        };
        meters.answered(outcome, *since);
    }

    fn tell(self) {
        // A caller that has gone away does not want its answer.
        match self {
            Self::Event { reply: Reply::Connection(connection), id, verdict, .. } => {
                let text = match &verdict {
                    Ok(text) => *text,
                    Err(text) => text,
                };
                connection.outbox.text(message::ok(&id, verdict.is_ok(), text));
            }
            Self::Event { reply: Reply::Call(call), verdict, .. } => drop(call.send(verdict.map(drop))),
            Self::Import { reply, outcome } => drop(reply.send(outcome)),
            Self::Delete { reply, removed } => drop(reply.send(Ok(removed))),
        }
    }

    /// A client is told to come back; who works for the operator, why.
    fn fail(self, meters: &WriterMeters, reason: &str) {
        let text = "error: the event could not be stored, try again later";
        match self {
            Self::Event { reply, id, since, .. } => {
                meters.answered(Outcome::Failed, since);
                Self::Event { reply, id, since, verdict: Err(text.to_owned()) }.tell();
            }
            Self::Import { reply, .. } => drop(reply.send(Imported::Failed(format!("error: {reason}")))),
            Self::Delete { reply, .. } => drop(reply.send(Err(format!("error: {reason}")))),
        }
    }
}

/// Live delivery, group by group, in the order of storing.
fn deliver(live: &Live, store: &dyn Store, groups: &Receiver<Group>, meters: &WriterMeters) {
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
