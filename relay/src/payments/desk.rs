//! Where the market leaves its questions, and looks up what is known already.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Address, Inquiry, Known, Signers};
use crate::nostr::Pubkey;

/// One for each relay.
#[derive(Debug)]
pub struct Desk {
    /// `None`: lightning servers are not asked.
    signers: Option<Arc<Signers>>,
    /// Who is paid into the wallet that may be asked.
    wallet_of: Vec<Pubkey>,
    queue: mpsc::Sender<Inquiry>,
}

impl Desk {
    pub fn new(signers: Option<Arc<Signers>>, wallet_of: Vec<Pubkey>, queue: mpsc::Sender<Inquiry>) -> Self {
        Self { signers, wallet_of, queue }
    }

    /// Whether lightning servers are asked who signs receipts.
    pub fn asks_servers(&self) -> bool {
        self.signers.is_some()
    }

    /// Whether a wallet knows this provider's invoices.
    pub fn asks_wallet_of(&self, provider: &Pubkey) -> bool {
        self.wallet_of.contains(provider)
    }

    /// Who signs an address's receipts, as far as it is known now.
    pub fn signer(&self, address: &Address) -> Known {
        self.signers.as_ref().map_or(Known::Nothing, |signers| signers.known(address))
    }

    /// Has it asked, when there is room. Never waits.
    pub fn ask(&self, inquiry: Inquiry) {
        if self.queue.try_send(inquiry).is_err() {
            tracing::warn!("too much is to be asked about payments: one more stays a claim");
        }
    }
}
