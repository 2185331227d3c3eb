//! Hands over what differs: down by REQ, up by EVENT.

use std::time::Duration;

use super::descent::Descent;
use super::tally::Tally;
use crate::negentropy::reconcile::Difference;
use crate::nostr::EventId;
use crate::peer::fetch::fetch;
use crate::peer::pipeline::{Pipeline, Settled};
use crate::peer::question::Questions;
use crate::peer::socket::Peer;
use crate::store::Store;
use crate::store::rocks::RocksStore;

/// Events on their way up at once.
const WINDOW: usize = 100;

pub struct Transfer<'a> {
    peer: &'a Peer,
    questions: Questions<'a>,
    pipeline: Pipeline,
    /// `None`: nothing comes down.
    down: Option<Descent<'a>>,
    /// Where what goes up comes from; `None`: nothing goes up.
    up: Option<&'a RocksStore>,
    tally: Tally,
}

impl<'a> Transfer<'a> {
    /// `patience` is how long the relay may take for an answer; `None`: for ever.
    pub fn new(
        peer: &'a Peer,
        patience: Option<Duration>,
        down: Option<Descent<'a>>,
        up: Option<&'a RocksStore>,
    ) -> Self {
        let questions = Questions::new(peer, "R", patience);
        let pipeline = Pipeline::new(WINDOW).with_patience(patience);
        Self { peer, questions, pipeline, down, up, tally: Tally::default() }
    }

    /// What the messages so far, as many as `rounds`, have brought to light at last.
    pub async fn hand_over(&mut self, found: &Difference, rounds: u32) -> anyhow::Result<()> {
        self.tally.rounds = rounds;
        self.tally.have += found.have.len() as u64;
        self.tally.need += found.need.len() as u64;
        if let Some(down) = &mut self.down {
            // Events may have gone since they were compared: what does not come is not waited for.
            fetch(&mut self.questions, &found.need, down).await?;
            down.store().await?;
        }
        match self.up {
            Some(store) => self.up(store, &found.have).await,
            None => Ok(()),
        }
    }

    /// Returns once everything is on disk.
    pub fn finish(self) -> anyhow::Result<Tally> {
        let down = self.down.map(Descent::finish).transpose()?.unwrap_or_default();
        let (bytes_up, bytes_down) = (self.peer.bytes_out(), self.peer.bytes_in());
        let Tally { stored, known, refused_here, .. } = down;
        Ok(Tally { stored, known, refused_here, bytes_up, bytes_down, ..self.tally })
    }

    async fn up(&mut self, store: &RocksStore, ids: &[EventId]) -> anyhow::Result<()> {
        for id in ids {
            // Gone since they were compared.
            let Some(record) = store.get(id)? else { continue };
            while self.pipeline.is_full() {
                self.settle().await?;
            }
            self.pipeline.offer(self.peer, *id, record.body(), 0).await?;
        }
        while !self.pipeline.is_empty() {
            self.settle().await?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> anyhow::Result<()> {
        let Settled { id, verdict } = self.pipeline.settle(self.peer).await?;
        match verdict.accepted || verdict.text.starts_with("duplicate:") {
            true => self.tally.taken += 1,
            false => self.tally.refuse_there(&id, &verdict.text),
        }
        Ok(())
    }
}
