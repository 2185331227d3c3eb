//! The market's place in the writer, and the way to build it anew.

use std::sync::Arc;

use crate::clock::now_ms;
use crate::market::{Market, MarketClock, Moment, Output};
use crate::metrics::MarketMeters;
use crate::payments::Desk;

/// The market with the way to build it anew from the store.
pub struct MarketSeat {
    pub(super) market: Market,
    pub(super) restore: Restore,
    pub(super) clock: MarketClock,
    /// Where its questions about payments go; `None`: nowhere.
    pub(super) desk: Option<Arc<Desk>>,
    /// What the restart itself caused, to be committed first.
    pub(super) pending: Vec<Output>,
}

/// Folds the store's journal at this moment.
pub type Restore = Box<dyn Fn(Moment) -> anyhow::Result<(Market, Output)> + Send>;

impl MarketSeat {
    /// `restore` is called now, and again after a failed commit.
    pub fn new(restore: Restore) -> anyhow::Result<Self> {
        let (market, output) = restore(Moment::from(now_ms()))?;
        let clock = market.clock();
        Ok(Self { market, restore, clock, desk: None, pending: vec![output] })
    }

    /// Leaves the market's questions there.
    pub fn asking(mut self, desk: Option<Arc<Desk>>) -> Self {
        self.desk = desk;
        self
    }

    /// What its market counts in, whichever that is.
    pub fn meters(&self) -> &MarketMeters {
        self.market.meters()
    }
}
