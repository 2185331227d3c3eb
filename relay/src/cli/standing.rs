//! Who may read what, for a verb that works on the store without a market of its own.

use std::sync::Arc;

use crate::clock::now_ms;
use crate::config::Config;
use crate::market::{Audiences, Market, MarketKeys};
use crate::policy::Readers;
use crate::store::Store;

/// Folds the market's journal, as a relay does when it starts, to know which requests are leased at present.
pub fn readers(config: &Config, store: Arc<dyn Store>) -> anyhow::Result<Arc<Readers>> {
    let audiences = Arc::new(Audiences::default());
    let journal = store.journal()?;
    if !journal.is_empty() {
        // It signs nothing here: what the restart would tell is dropped.
        let keys = MarketKeys::ephemeral()?;
        Market::restore(&config.market, keys, audiences.clone(), journal.into_iter(), now_ms(), store)?;
    }
    Ok(Arc::new(Readers::new(audiences)))
}
