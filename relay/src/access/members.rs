//! Who is admitted by what the store holds: a web of trust, and payments. Worked out anew now and then by a thread of its own.

use std::collections::HashSet;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Access, trust, zap};
use crate::config::Way;
use crate::nostr::Pubkey;
use crate::store::{Store, StoreError};

/// Keys that the store speaks for.
#[derive(Debug, Default)]
pub struct Members {
    trusted: HashSet<Pubkey>,
    paid: HashSet<Pubkey>,
}

impl Members {
    pub fn trusts(&self, pubkey: &Pubkey) -> bool {
        self.trusted.contains(pubkey)
    }

    pub fn has_paid(&self, pubkey: &Pubkey) -> bool {
        self.paid.contains(pubkey)
    }
}

/// Keeps the members of an `Access` fresh until it is dropped.
#[derive(Debug)]
pub struct Refresher {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Refresher {
    /// Works them out once before it returns, so that a relay that has just started shuts nobody out. `None` when
    /// nobody is admitted by what the store holds.
    pub fn start(access: &Arc<Access>, store: Arc<dyn Store>) -> anyhow::Result<Option<Self>> {
        if !access.config.admit.iter().any(|way| matches!(way, Way::Trusted | Way::Paid)) {
            return Ok(None);
        }
        access.refresh(&*store)?;
        let (stop, stopped) = sync_channel(1);
        let period = Duration::from_secs(access.config.refresh_s);
        let access: Weak<Access> = Arc::downgrade(access);
        let thread = std::thread::Builder::new().name("members".to_owned()).spawn(move || {
            while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                let Some(access) = access.upgrade() else { return };
                if let Err(error) = access.refresh(&*store) {
                    tracing::error!(%error, "the members could not be worked out, the ones of before stay");
                }
            }
        })?;
        Ok(Some(Self { stop: Some(stop), thread: Some(thread) }))
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic over there has been reported by its thread.
            let _ = thread.join();
        }
    }
}

impl Access {
    fn refresh(&self, store: &dyn Store) -> Result<(), StoreError> {
        let mut members = Members::default();
        if self.config.admit.contains(&Way::Trusted) {
            let named = self.config.trust_roots.iter().filter_map(|key| Pubkey::from_hex(key));
            let roots: Vec<Pubkey> = named.chain(self.operator).collect();
            members.trusted = trust::web(store, &roots, &self.config)?;
        }
        if self.config.admit.contains(&Way::Paid)
            && let (Some(operator), Some(zapper)) = (self.operator, Pubkey::from_hex(&self.config.zapper))
        {
            members.paid = zap::payers(store, &operator, &zapper, self.config.fee_msat)?;
        }
        tracing::debug!(trusted = members.trusted.len(), paid = members.paid.len(), "members worked out");
        self.members.store(Arc::new(members));
        Ok(())
    }
}
