//! The writer's loop: gather a group, commit it, tell of it; and what happens while the store takes no writes.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::answer::Answer;
use super::delivery::{Group, Stored};
use super::group::{HAVE, Open};
use super::{Command, MarketSeat, Queued};
use crate::clock::{StepWatch, steady_ms};
use crate::live::Live;
use crate::market::Output;
use crate::metrics::WriterMeters;
use crate::nostr::kind::Retention;
use crate::outage::Outage;
use crate::outbox::Gathering;
use crate::policy::Readers;
use crate::store::{Changes, Follower, Store, StoreError};
use crate::sweep::Sweeper;

/// Commands committed together at most: bounds the wait of the first behind the last.
const GROUP: usize = 1_000;
/// How long after a failure the removal of a vanished author's events is taken up again.
const VANISH_RETRY_MS: u64 = 1_000;
/// How often the jobs are counted for the metrics.
const CENSUS_PERIOD_MS: u64 = 5_000;

pub(super) struct Writer {
    pub(super) store: Arc<dyn Store>,
    pub(super) market: Option<MarketSeat>,
    pub(super) readers: Arc<Readers>,
    pub(super) live: Arc<Live>,
    pub(super) followers: Vec<Arc<dyn Follower>>,
    pub(super) groups: SyncSender<Group>,
    pub(super) sweeper: Option<Sweeper>,
    /// When, by the steady clock, to go on removing what vanished authors left; `u64::MAX`: nothing is left.
    pub(super) next_vanish_ms: u64,
    pub(super) next_census_ms: u64,
    pub(super) steps: StepWatch,
    /// While the store takes no writes.
    pub(super) outage: Option<Outage>,
    pub(super) meters: Arc<WriterMeters>,
}

impl Writer {
    pub(super) async fn run(&mut self, mut queue: mpsc::Receiver<Queued>) {
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
        let mut group = Group::begun(begun);
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
        if let Some(desk) = self.market.as_ref().and_then(|seat| seat.desk.as_ref()) {
            group.inquiries.drain(..).for_each(|inquiry| desk.ask(inquiry));
        }
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

    /// What a change of who is connected, or of what is known to be paid, causes in the market.
    fn presence_of(&mut self, command: &Command) -> Option<Output> {
        let seat = self.market.as_mut()?;
        match command {
            Command::Connected(pubkey) => Some(seat.market.on_connected(seat.clock.now(), pubkey)),
            Command::Listening { pubkey, connection, kinds } => {
                Some(seat.market.on_listening(seat.clock.now(), pubkey, *connection, kinds.clone()))
            }
            Command::Disconnected(pubkey) => Some(seat.market.on_disconnected(seat.clock.now(), pubkey)),
            // What is proven stays so; after a failed commit the market that takes over asks again.
            Command::Settled(settled) => Some(seat.market.on_settled(seat.clock.now(), settled)),
            Command::Publish { .. }
            | Command::Import { .. }
            | Command::Mirror { .. }
            | Command::Delete { .. }
            | Command::Stop => None,
        }
    }

    /// After a failed commit the market knows of things that never happened: it starts from disk again.
    fn rebuild_market(&mut self) {
        let Some(MarketSeat { market, restore, clock, desk, .. }) = self.market.take() else { return };
        match restore(clock.now()) {
            Ok((mut restored, output)) => {
                restored.count_in(market.meters().clone());
                let resumed = restored.resume(clock.now(), market.into_presence());
                self.market =
                    Some(MarketSeat { market: restored, restore, clock, desk, pending: vec![output, resumed] });
            }
            Err(error) => {
                // Going on would schedule from a state that is not on disk.
                tracing::error!(%error, "the market could not be restored after a failed commit");
                panic!("the market could not be restored: {error}");
            }
        }
    }
}
